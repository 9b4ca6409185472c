//! The end of the server: signals, draining and stopping.

use std::fmt;
use std::io::{self, Write};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

use super::event_loop::EventLoop;
use super::timer_wheel::TICK_MILLIS;
use crate::clock::Millis;
use crate::connection::counters::Totals;
use crate::connection::ownership::Claim;
use crate::connection::service::Mode;

/// How long the answers under way may take after SIGINT or the end of the drain.
const STOP_MILLIS: u64 = 1_500;

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The server serves.
    NotYet,
    /// Idle connections keep their promise until this deadline.
    Draining(Millis),
    /// Everything is closed; what is left at this deadline is cut off.
    Stopping(Millis),
}

impl Ending {
    pub(super) fn deadline(self) -> Option<Millis> {
        match self {
            Ending::NotYet => None,
            Ending::Draining(deadline) | Ending::Stopping(deadline) => Some(deadline),
        }
    }
}

impl EventLoop {
    pub(super) fn handle_signal(&mut self, signal: i32) {
        match signal {
            SIGTERM => self.enter(Mode::Draining),
            SIGINT => self.enter(Mode::Stopping),
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

    /// Starts draining or stopping. A second SIGTERM or SIGINT never comes this far: it ends the
    /// process in the signal handler.
    pub(super) fn begin_ending(&mut self, mode: Mode, now: Millis) {
        if mode <= self.shared.service.mode() {
            return;
        }
        self.shared.service.enter(mode);
        if mode == Mode::Draining {
            // Their clients have connected and may have sent a request: closing the listener would
            // reset them.
            self.accept_all();
        }
        self.stop_accepting();
        let waiting = self.acceptor.active;
        if mode == Mode::Stopping {
            say(format_args!(
                "abide: stopping, closing {}",
                connections(waiting)
            ));
            self.ending = Ending::Stopping(Millis(now.0 + STOP_MILLIS));
        } else {
            say(format_args!(
                "abide: draining, waiting for {}",
                connections(waiting)
            ));
            self.ending =
                Ending::Draining(now.plus_secs(self.shared.service.config.shutdown.drain_secs));
        }
    }

    /// Moves the end forward as time passes.
    pub(super) fn advance_ending(&mut self, now: Millis) {
        match self.ending {
            Ending::Draining(deadline) if now >= deadline && self.acceptor.active > 0 => {
                say(format_args!(
                    "abide: the drain deadline has passed, closing {}",
                    connections(self.acceptor.active)
                ));
                self.shared.service.enter(Mode::Stopping);
                self.ending = Ending::Stopping(Millis(now.0 + STOP_MILLIS));
                self.stop_idle_connections();
            }
            // Again and again: a connection that was busy the last time may be idle now.
            Ending::Stopping(_) if now >= self.next_sweep => {
                self.next_sweep = Millis(now.0 + TICK_MILLIS);
                self.stop_idle_connections();
            }
            Ending::Stopping(_) => {}
            Ending::NotYet | Ending::Draining(_) => {}
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        let is_empty = self.acceptor.active == 0;
        match self.ending {
            Ending::NotYet => false,
            Ending::Draining(_) => is_empty,
            Ending::Stopping(deadline) => is_empty || self.shared.clock.now().monotonic >= deadline,
        }
    }

    /// Gives every idle connection a turn, in which it finds the mode changed.
    fn stop_idle_connections(&mut self) {
        for index in 0..self.acceptor.used() {
            if self.shared.slots.at(index).ownership.claim_idle() == Claim::Claimed {
                self.dispatch(index);
            }
        }
    }

    fn print_counters(&self) {
        let totals = Totals::sum(self.shared.counters.iter().map(AsRef::as_ref));
        let (accepted, active) = (self.acceptor.accepted, self.acceptor.active);
        say(format_args!(
            "connections_accepted_total {accepted}\nconnections_active {active}\n{totals}"
        ));
    }
}

/// Tells the person at the terminal. Nobody may be there: a standard error that cannot be written to
/// must not end the server, as `eprintln!` would.
fn say(notice: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{notice}");
}

fn connections(count: usize) -> String {
    match count {
        1 => "1 connection".to_owned(),
        _ => format!("{count} connections"),
    }
}
