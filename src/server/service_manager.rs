//! Messages to the service manager that started the server, as sd_notify(3) defines them.
//!
//! | message                        | when                                                             |
//! |--------------------------------|------------------------------------------------------------------|
//! | READY                          | the server accepts and serves                                    |
//! | RELOADING, then READY          | around a reload; the status says if the reload was refused       |
//! | STOPPING                       | the end has begun                                                |
//! | EXTEND_TIMEOUT_USEC, STATUS    | each second until the end: a drain may outlast the usual timeout |
//! | WATCHDOG                       | four times per interval, as long as all event loops turn         |
//!
//! The socket is opened at the start and never blocks. A message that the service manager does not take is lost.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{self, Millis};

/// For how long the service manager should wait after each message while the server ends.
const EXTENSION: Duration = Duration::from_secs(15);

/// Milliseconds between two messages while the server ends.
const END_REPORT_MILLIS: u64 = 1_000;

/// Milliseconds between two statuses of a server that serves. They are sent only when the event loop is awake.
const STATUS_MILLIS: u64 = 10_000;

/// How often the watchdog is answered per interval.
const ANSWERS_PER_INTERVAL: u32 = 4;

/// The service manager that started the server.
#[derive(Debug)]
pub struct ServiceManager {
    socket: UnixDatagram,
    address: SocketAddr,
    /// The time after which the service manager ends a server whose watchdog is silent.
    watchdog: Option<Duration>,
    /// Why the last reload was refused; empty if it was not.
    refusal: Mutex<String>,
}

impl ServiceManager {
    /// The service manager that NOTIFY_SOCKET names, with the watchdog of WATCHDOG_USEC if that is meant for this
    /// process (WATCHDOG_PID); `None` if there is none.
    ///
    /// # Errors
    /// If the address is neither an absolute path nor an abstract name (`@`), or as socket(2).
    pub fn of_environment() -> io::Result<Option<ServiceManager>> {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let manager = ServiceManager::at(&name, watchdog_of_environment());
        manager.map(Some)
    }

    fn at(name: &OsString, watchdog: Option<Duration>) -> io::Result<ServiceManager> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => {
                let complaint = "the address is neither an absolute path nor an abstract name";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, complaint));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(ServiceManager {
            socket,
            address,
            watchdog,
            refusal: Mutex::default(),
        })
    }

    /// Tells that the server serves, with a `status` for people.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// Tells that a reload has ended, with its `refusal` if it was refused. Later statuses repeat that.
    pub fn note_reload(&self, refusal: Option<String>) {
        let status = match &refusal {
            None => "serving, reloaded".to_owned(),
            Some(reason) => format!("serving, reload refused: {reason}"),
        };
        *self.refusal() = refusal.map_or_else(String::new, |reason| one_line(&reason));
        self.ready(&status);
    }

    fn refusal(&self) -> MutexGuard<'_, String> {
        // No code panics while it holds this lock.
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells that a reload begins. [`note_reload`](ServiceManager::note_reload) tells that it has ended.
    pub fn reloading(&self) {
        let micros = clock::kernel_monotonic_micros();
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The longest time between two rounds of an event loop, if there is a watchdog.
    #[must_use]
    pub fn watchdog_period(&self) -> Option<Duration> {
        self.watchdog
            .map(|interval| interval / ANSWERS_PER_INTERVAL)
    }

    fn send(&self, message: &str) {
        if let Err(error) = self.socket.send_to_addr(message.as_bytes(), &self.address) {
            log::debug!("the service manager has not taken a message: {error}");
        }
    }
}

fn watchdog_of_environment() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let pid = number("WATCHDOG_PID");
    if env::var_os("WATCHDOG_PID").is_some() && pid != Some(u64::from(process::id())) {
        return None;
    }
    let micros = number("WATCHDOG_USEC").filter(|micros| *micros > 0)?;
    Some(Duration::from_micros(micros))
}

/// A message has a line for each assignment, so a value is one line.
fn one_line(text: &str) -> String {
    text.trim_end().replace('\n', "; ")
}

/// How far the server is, for the service manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceStage {
    /// The server serves.
    Serving,
    /// Idle connections stay open as promised.
    Draining,
    /// All connections are being closed.
    Stopping,
}

/// The reports of one event loop to the service manager.
#[derive(Debug)]
pub struct ServiceReports {
    manager: Arc<ServiceManager>,
    /// When the next status is due.
    next_status: Millis,
    /// When the watchdog is answered next.
    next_answer: Millis,
    /// The connections in the last status.
    reported: Option<usize>,
    is_stopping: bool,
}

impl ServiceReports {
    /// Reports to `manager` from now on.
    #[must_use]
    pub fn new(manager: Arc<ServiceManager>) -> ServiceReports {
        ServiceReports {
            manager,
            next_status: Millis(0),
            next_answer: Millis(0),
            reported: None,
            is_stopping: false,
        }
    }

    /// Sends what is due at `now`. `open` is the number of connections. `last_rounds` tells when each event loop was
    /// last awake: the watchdog is answered only while all of them turn.
    pub fn send_due(
        &mut self,
        stage: ServiceStage,
        open: usize,
        now: Millis,
        last_rounds: impl Iterator<Item = Millis>,
    ) {
        if stage != ServiceStage::Serving && !std::mem::replace(&mut self.is_stopping, true) {
            self.manager.send("STOPPING=1");
            self.next_status = now;
        }
        if now >= self.next_status {
            self.report(stage, open, now);
        }
        let Some(period) = self.manager.watchdog_period() else {
            return;
        };
        let period_millis = period.as_millis() as u64;
        if now >= self.next_answer && all_turn(last_rounds, period_millis, now) {
            self.next_answer = Millis(now.0 + period_millis);
            self.manager.send("WATCHDOG=1");
        }
    }

    fn report(&mut self, stage: ServiceStage, open: usize, now: Millis) {
        let connections = match open {
            1 => "1 connection".to_owned(),
            _ => format!("{open} connections"),
        };
        let (text, interval) = match stage {
            ServiceStage::Serving => {
                // The first status is that of `ready`.
                let is_first = self.reported.is_none();
                if self.reported.replace(open) != Some(open) && !is_first {
                    let refusal = self.manager.refusal().clone();
                    let refusal = match refusal.as_str() {
                        "" => String::new(),
                        reason => format!(", reload refused: {reason}"),
                    };
                    self.manager
                        .send(&format!("STATUS=serving {connections}{refusal}"));
                }
                self.next_status = Millis(now.0 + STATUS_MILLIS);
                return;
            }
            ServiceStage::Draining => ("draining, waiting for", END_REPORT_MILLIS),
            ServiceStage::Stopping => ("stopping, closing", END_REPORT_MILLIS),
        };
        self.next_status = Millis(now.0 + interval);
        let micros = EXTENSION.as_micros();
        let message = format!("STATUS={text} {connections}\nEXTEND_TIMEOUT_USEC={micros}");
        self.manager.send(&message);
    }
}

/// Whether every event loop was awake in the last two periods.
fn all_turn(
    mut last_rounds: impl Iterator<Item = Millis>,
    period_millis: u64,
    now: Millis,
) -> bool {
    last_rounds.all(|last| now.since(last) <= 2 * period_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A manager that listens at an abstract address of its own.
    fn listening(name: &str, watchdog: Option<Duration>) -> (UnixDatagram, ServiceReports) {
        let name = format!("abide-test-{}-{name}", process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let receiver = UnixDatagram::bind_addr(&address).unwrap();
        receiver.set_nonblocking(true).unwrap();
        let manager = ServiceManager::at(&format!("@{name}").into(), watchdog).unwrap();
        (receiver, ServiceReports::new(Arc::new(manager)))
    }

    fn received(receiver: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 512];
        std::iter::from_fn(|| {
            let count = receiver.recv(&mut buffer).ok()?;
            Some(String::from_utf8_lossy(&buffer[..count]).into_owned())
        })
        .collect()
    }

    #[test]
    fn the_watchdog_is_answered_only_while_all_event_loops_turn() {
        let (receiver, mut reports) = listening("watchdog", Some(Duration::from_millis(400)));
        let mut answers = |now: u64, last: [u64; 2]| {
            let last_rounds = last.into_iter().map(Millis);
            reports.send_due(ServiceStage::Serving, 0, Millis(now), last_rounds);
            received(&receiver)
        };
        assert_eq!(answers(1_000, [1_000, 900]), ["WATCHDOG=1"]);
        assert!(answers(1_099, [1_099, 1_000]).is_empty(), "not due");
        assert_eq!(answers(1_100, [1_100, 1_000]), ["WATCHDOG=1"]);
        assert!(
            answers(1_300, [1_300, 1_050]).is_empty(),
            "one loop is stuck"
        );
        assert_eq!(answers(1_310, [1_310, 1_305]), ["WATCHDOG=1"]);
    }

    #[test]
    fn the_end_asks_for_more_time_each_second() {
        let (receiver, mut reports) = listening("end", None);
        let mut sent = |stage, open, now| {
            reports.send_due(stage, open, Millis(now), std::iter::empty());
            received(&receiver)
        };
        assert!(sent(ServiceStage::Serving, 3, 5_000).is_empty());
        let first = sent(ServiceStage::Draining, 3, 5_100);
        let extended = "STATUS=draining, waiting for 3 connections\nEXTEND_TIMEOUT_USEC=15000000";
        assert_eq!(first, ["STOPPING=1", extended]);
        assert!(sent(ServiceStage::Draining, 2, 6_000).is_empty());
        assert_eq!(sent(ServiceStage::Draining, 2, 6_100).len(), 1);
        let last = sent(ServiceStage::Stopping, 1, 7_100);
        assert!(last[0].starts_with("STATUS=stopping, closing 1 connection\n"));
    }

    #[test]
    fn a_serving_server_reports_a_change_of_its_connections_now_and_then() {
        let (receiver, mut reports) = listening("status", None);
        let mut sent = |open, now| {
            reports.send_due(ServiceStage::Serving, open, Millis(now), std::iter::empty());
            received(&receiver)
        };
        assert!(sent(0, 0).is_empty() && sent(5, 9_999).is_empty());
        assert_eq!(sent(5, 10_000), ["STATUS=serving 5 connections"]);
        assert!(sent(5, 20_000).is_empty(), "nothing has changed");
    }

    #[test]
    fn an_address_that_is_no_address_is_refused() {
        for name in ["relative", "vsock:2:1234"] {
            assert!(ServiceManager::at(&name.into(), None).is_err(), "{name}");
        }
    }
}
