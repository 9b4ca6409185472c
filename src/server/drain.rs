//! The end of the server: signals, draining and stopping.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

use super::access_log::AccessLog;
use super::diagnostics::say;
use super::event_loop::EventLoop;
use super::interrupt::END_LIMIT_MILLIS;
use super::shared::{Census, LoopMessage, Shared};
use super::timer_wheel::TICK_MILLIS;
use crate::clock::Millis;
use crate::connection::counters::Totals;
use crate::connection::service::Mode;

/// How long the answers under way may take after SIGINT or the end of the drain.
const STOP_MILLIS: u64 = 1_200;

/// How long the workers may take after that, before the process ends without them.
const WORKERS_MILLIS: u64 = 300;

/// How long the workers may take if there has been no such hurry.
const WORKERS_PATIENCE: Duration = Duration::from_secs(1);

/// How long the access log and standard error may take at the end if nobody reads them: 100 and 200 ms.
const LOGS_MILLIS: u64 = 300;

const _: () = assert!(STOP_MILLIS + WORKERS_MILLIS + LOGS_MILLIS < END_LIMIT_MILLIS);

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The server serves.
    NotYet,
    /// Idle connections keep their promise until the deadline.
    Draining {
        /// Which connections are accepted.
        admission: Admission,
        /// When patience ends (`shutdown.drain`).
        deadline: Millis,
    },
    /// Everything is closed; what is left at this deadline is cut off.
    Stopping(Millis),
}

/// Which connections a drain accepts: one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// All, until then (`shutdown.accept_for`).
    Everyone(Millis),
    /// Those whose handshake had begun, until then (`shutdown.handshakes`).
    Begun(Millis),
    /// Those that have connected. A listener closes when its queue is empty.
    Connected,
}

impl EventLoop {
    pub(super) fn handle_signal(&mut self, signal: i32) {
        match signal {
            SIGTERM => self.enter_all(Mode::Draining),
            SIGINT => self.enter_all(Mode::Stopping),
            SIGUSR1 => {
                if let Some(access_log) = &self.shared.access_log {
                    access_log.reopen();
                }
            }
            SIGUSR2 => self.print_counters(),
            SIGHUP => {
                log::warn!("SIGHUP is reserved for reloading, which does not exist yet: ignored")
            }
            other => log::debug!("signal {other} ignored"),
        }
    }

    /// Has every event loop move to `mode`, this one at once.
    fn enter_all(&mut self, mode: Mode) {
        for other in self
            .all
            .iter()
            .filter(|other| other.number != self.shared.number)
        {
            other.report_and_wake(LoopMessage::Enter(mode));
        }
        self.enter(mode);
    }

    /// Starts draining or stopping. A repeated SIGTERM or SIGINT changes nothing here; whether a SIGINT
    /// ends the process at once is for [`interrupt`](super::interrupt) to say.
    pub(super) fn begin_ending(&mut self, mode: Mode, now: Millis) {
        if mode <= self.ending.mode() {
            return;
        }
        self.shared.service.enter(mode);
        if mode == Mode::Stopping {
            self.stop_accepting();
            let open = connections(self.open_in_all());
            self.say(format_args!("abide: stopping, closing {open}"));
            self.ending = Ending::Stopping(Millis(now.0 + STOP_MILLIS));
            return;
        }
        let shutdown = &self.shared.service.config.shutdown;
        self.ending = Ending::Draining {
            admission: Admission::Everyone(now.plus_secs(shutdown.accept_for_secs)),
            deadline: now
                .plus_secs(shutdown.accept_for_secs)
                .plus_secs(shutdown.drain_secs),
        };
        self.has_drained = true;
        self.advance_admission(now);
        let open = connections(self.open_in_all());
        self.say(format_args!("abide: draining, waiting for {open}"));
    }

    /// Moves the end of accepting forward as time passes.
    fn advance_admission(&mut self, now: Millis) {
        let Ending::Draining {
            admission,
            deadline,
        } = self.ending
        else {
            return;
        };
        let next = match admission {
            Admission::Everyone(until) if now >= until => {
                match self.shared.service.config.shutdown.handshakes_secs {
                    0 => Admission::Connected,
                    secs => {
                        self.refuse_new_handshakes();
                        // Connections in the queues are among those that are waited for.
                        self.accept_all();
                        Admission::Begun(now.plus_secs(secs))
                    }
                }
            }
            // The kernel divides new handshakes among the listeners of a port. When one closes, its part
            // goes to the others, so none closes before all of them drop what begins.
            Admission::Begun(until) if now >= until && self.every_loop_drops_syn() => {
                Admission::Connected
            }
            same => same,
        };
        self.ending = Ending::Draining {
            admission: next,
            deadline,
        };
        match next {
            Admission::Everyone(_) => {}
            Admission::Begun(_) => self.accept_the_last(true),
            Admission::Connected => self.accept_the_last(false),
        }
    }

    fn every_loop_drops_syn(&self) -> bool {
        let drops = |shared: &Arc<Shared>| shared.admissions.drops_syn.load(Ordering::Acquire);
        self.all.iter().all(drops)
    }

    /// Moves the end forward as time passes.
    pub(super) fn advance_ending(&mut self, now: Millis) {
        match self.ending {
            Ending::Draining { deadline, .. } if now >= deadline && !self.has_ended() => {
                self.stop_accepting();
                let open = connections(self.open_in_all());
                self.say(format_args!(
                    "abide: the drain deadline has passed, closing {open}"
                ));
                self.shared.service.enter(Mode::Stopping);
                self.ending = Ending::Stopping(Millis(now.0 + STOP_MILLIS));
                self.stop_idle_connections();
            }
            Ending::Draining { .. } => self.advance_admission(now),
            // Again and again: a connection that was busy the last time may be idle now.
            Ending::Stopping(_) if now >= self.next_sweep => {
                self.next_sweep = Millis(now.0 + TICK_MILLIS);
                self.stop_idle_connections();
            }
            Ending::Stopping(_) | Ending::NotYet => {}
        }
    }

    /// How long the end waits for workers that the disk holds up.
    pub(super) fn patience_with_workers(&self) -> Duration {
        match self.ending {
            Ending::Stopping(deadline) => {
                let now = self.shared.clock.now().monotonic;
                Duration::from_millis(Millis(deadline.0 + WORKERS_MILLIS).since(now))
            }
            Ending::NotYet | Ending::Draining { .. } => WORKERS_PATIENCE,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        // The event loops end together: the one that catches the signals has to stay for the others.
        let is_empty = self.open_in_all() == 0;
        match self.ending {
            Ending::NotYet => false,
            Ending::Draining { .. } => {
                is_empty && !self.all.iter().any(|shared| shared.is_accepting())
            }
            Ending::Stopping(deadline) => is_empty || self.shared.clock.now().monotonic >= deadline,
        }
    }

    fn open_in_all(&self) -> usize {
        self.all.iter().map(|shared| shared.open()).sum()
    }

    /// Gives every idle connection a turn, in which it finds the mode changed.
    fn stop_idle_connections(&mut self) {
        for index in 0..self.acceptor.used() {
            if let Ok(queued) = self.shared.slots.at(index).claim_idle() {
                self.dispatch(queued);
            }
        }
    }

    fn print_counters(&self) {
        let count = |count: fn(&Shared) -> u64| -> u64 {
            self.all.iter().map(|shared| count(shared)).sum()
        };
        let accepted = count(|shared| shared.admissions.accepted.load(Ordering::Relaxed));
        let dropped = count(|shared| shared.admissions.dropped.load(Ordering::Relaxed));
        let open = self.open_in_all();
        let Census {
            active,
            idle,
            lingering,
        } = self.all.iter().map(|shared| shared.census()).sum();
        let totals = Totals::sum(
            self.all
                .iter()
                .flat_map(|shared| &shared.counters)
                .map(AsRef::as_ref),
        );
        let access_log = self.shared.access_log.as_deref();
        let lines_dropped = access_log.map_or(0, AccessLog::lines_dropped);
        self.say(format_args!(
            "connections_accepted_total {accepted}\nconnections_dropped_total {dropped}\n\
             connections_open {open}\n\
             connections_active {active}\nconnections_idle {idle}\n\
             connections_lingering {lingering}\n\
             access_log_lines_dropped_total {lines_dropped}\n{totals}"
        ));
    }

    /// Tells the person at the terminal, if the server is a process and not a part of one.
    fn say(&self, notice: fmt::Arguments<'_>) {
        if self.catches_signals() {
            say(notice);
        }
    }
}

impl Ending {
    fn mode(self) -> Mode {
        match self {
            Ending::NotYet => Mode::Serving,
            Ending::Draining { .. } => Mode::Draining,
            Ending::Stopping(_) => Mode::Stopping,
        }
    }
}

/// Says how many connections of a drain had what they were promised, and from how many its deadline
/// took it. Those that were promised nothing are in neither number.
pub fn report(all: &[Arc<Shared>]) {
    let totals = Totals::sum(
        all.iter()
            .flat_map(|shared| &shared.counters)
            .map(AsRef::as_ref),
    );
    let honoured = totals.promises_honoured;
    // What is in an exchange even now is cut off.
    let exchanging: usize = all.iter().map(|shared| shared.census().active).sum();
    let broken = totals.promises_broken + exchanging as u64;
    say(format_args!(
        "abide: drained, promises honoured: {honoured}, broken by the deadline: {broken}"
    ));
}

fn connections(count: usize) -> String {
    match count {
        1 => "1 connection".to_owned(),
        _ => format!("{count} connections"),
    }
}
