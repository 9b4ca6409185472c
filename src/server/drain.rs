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
    /// Idle connections keep their promise until the deadline.
    Draining {
        /// New connections are accepted until then (`shutdown.accept_for`).
        accepts_until: Millis,
        /// When patience ends (`shutdown.drain`).
        deadline: Millis,
    },
    /// Everything is closed; what is left at this deadline is cut off.
    Stopping(Millis),
}

/// What the drain began with, for the report at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainStart {
    open: u64,
    accepted: u64,
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
        if mode == Mode::Stopping {
            self.stop_accepting();
            let open = connections(self.acceptor.open());
            say(format_args!("abide: stopping, closing {open}"));
            self.ending = Ending::Stopping(Millis(now.0 + STOP_MILLIS));
            return;
        }
        let shutdown = &self.shared.service.config.shutdown;
        self.ending = Ending::Draining {
            accepts_until: now.plus_secs(shutdown.accept_for_secs),
            deadline: now.plus_secs(shutdown.drain_secs),
        };
        self.drain_start = Some(DrainStart {
            open: self.acceptor.open() as u64,
            accepted: self.acceptor.accepted,
        });
        if shutdown.accept_for_secs == 0 {
            self.accept_the_last();
        }
        let open = connections(self.acceptor.open());
        say(format_args!("abide: draining, waiting for {open}"));
    }

    /// Closes the listeners. The clients that wait in their queues have connected and may have sent a
    /// request, so they are accepted first: closing would reset them.
    fn accept_the_last(&mut self) {
        self.accept_all();
        self.stop_accepting();
    }

    /// Moves the end forward as time passes.
    pub(super) fn advance_ending(&mut self, now: Millis) {
        match self.ending {
            Ending::Draining { accepts_until, .. }
                if self.is_accepting() && now >= accepts_until =>
            {
                self.accept_the_last();
            }
            Ending::Draining { deadline, .. } if now >= deadline && self.acceptor.open() > 0 => {
                let open = connections(self.acceptor.open());
                say(format_args!(
                    "abide: the drain deadline has passed, closing {open}"
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
            Ending::Stopping(_) | Ending::NotYet | Ending::Draining { .. } => {}
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        let is_empty = self.acceptor.open() == 0;
        match self.ending {
            Ending::NotYet => false,
            Ending::Draining { .. } => is_empty && !self.is_accepting(),
            Ending::Stopping(deadline) => is_empty || self.shared.clock.now().monotonic >= deadline,
        }
    }

    /// Says how many connections of a drain kept what they were promised, and how many its deadline
    /// took it from.
    pub(super) fn report_drain(&self) {
        let Some(start) = self.drain_start else {
            return;
        };
        let all = start.open + (self.acceptor.accepted - start.accepted);
        // What is in an exchange even now is cut off.
        let cut_off = self.exchanging_connections() as u64;
        let broken = self.totals().promises_broken + cut_off;
        let honoured = all.saturating_sub(broken);
        say(format_args!(
            "abide: drained, {honoured} of {all} promises honoured, {broken} broken by the deadline"
        ));
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
        let (accepted, open) = (self.acceptor.accepted, self.acceptor.open());
        // They are counted one after the other, while connections come and go.
        let idle = self.idle_connections().min(open);
        let active = open - idle;
        let totals = self.totals();
        say(format_args!(
            "connections_accepted_total {accepted}\nconnections_open {open}\n\
             connections_active {active}\nconnections_idle {idle}\n{totals}"
        ));
    }

    fn totals(&self) -> Totals {
        Totals::sum(self.shared.counters.iter().map(AsRef::as_ref))
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
