//! Serving, draining, stopping: how far the server has come towards its end, and which step is next. For the event
//! loop alone.
//!
//! A [`Lifecycle`] takes the time and gives back [steps](LifecycleStep), which the event loop carries out
//! in order.
//!
//! A server that stops looks at all slots at each tick, for a second or so
//! ([`LifecycleStep::StopIdle`]).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::interrupt::END_LIMIT_MILLIS;
use super::shared::Shared;
use super::timer_wheel::TICK_MILLIS;
use crate::clock::Millis;
use crate::config::Shutdown;
use crate::connection::server_context::Mode;

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
pub enum LifeStage {
    /// The server serves.
    Serving,
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

/// A step of an event loop towards its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifecycleStep {
    /// Moves the context to this mode.
    Enter(Mode),
    /// Keeps new handshakes from beginning, on the listeners that can do that, and tells the other loops.
    RefuseNewHandshakes,
    /// Empties the accept queues, as far as descriptors and slots allow.
    AcceptAll,
    /// Empties the accept queues and closes the listeners; with `keep_filtered` not those that wait for
    /// handshakes to complete. The clients in a queue have connected and may have sent a request, so they
    /// are accepted first: closing would reset them. A listener that can take no more for the moment
    /// stays, and is asked again at each turn of the loop.
    AcceptTheLast {
        /// Whether listeners that drop new handshakes stay open.
        keep_filtered: bool,
    },
    /// Closes the listeners.
    StopAccepting,
    /// Gives every idle connection a turn, in which it finds the mode changed.
    StopIdle,
    /// Tells the person at the terminal.
    Announce(Announcement),
}

/// A notice about the end, which names the number of connections that are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announcement {
    /// A drain begins.
    Draining,
    /// The drain has taken too long.
    DrainOver,
    /// The server stops.
    Stopping,
}

/// How far one event loop has come.
#[derive(Debug)]
pub struct Lifecycle {
    stage: LifeStage,
    /// When idle connections are told again that the server stops.
    next_sweep: Millis,
    /// Whether the end began with a drain, which is reported on.
    has_drained: bool,
    shutdown: Shutdown,
}

impl Lifecycle {
    /// A server that serves, and ends with the times that `shutdown` says.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Lifecycle {
        Lifecycle {
            stage: LifeStage::Serving,
            next_sweep: Millis(0),
            has_drained: false,
            shutdown,
        }
    }

    /// How far the end has come.
    #[must_use]
    pub fn stage(&self) -> LifeStage {
        self.stage
    }

    /// Whether the end began with a drain.
    #[must_use]
    pub fn has_drained(&self) -> bool {
        self.has_drained
    }

    /// Starts draining or stopping. A repeated SIGTERM or SIGINT changes nothing here; whether a SIGINT
    /// ends the process at once is for [`interrupt`](super::interrupt) to say. `all` are the event loops.
    pub fn enter<T>(
        &mut self,
        mode: Mode,
        now: Millis,
        all: &[Arc<Shared<T>>],
    ) -> Vec<LifecycleStep> {
        if mode <= self.mode() {
            return Vec::new();
        }
        let mut steps = vec![LifecycleStep::Enter(mode)];
        if mode == Mode::Stopping {
            self.stage = LifeStage::Stopping(Millis(now.0 + STOP_MILLIS));
            steps.push(LifecycleStep::StopAccepting);
            steps.push(LifecycleStep::Announce(Announcement::Stopping));
            return steps;
        }
        let accept_until = now.plus_secs(self.shutdown.accept_for_secs);
        let deadline = accept_until.plus_secs(self.shutdown.drain_secs);
        self.has_drained = true;
        self.admit(
            (Admission::Everyone(accept_until), deadline),
            now,
            all,
            &mut steps,
        );
        steps.push(LifecycleStep::Announce(Announcement::Draining));
        steps
    }

    /// Moves the end forward as time passes.
    pub fn advance<T>(&mut self, now: Millis, all: &[Arc<Shared<T>>]) -> Vec<LifecycleStep> {
        let mut steps = Vec::new();
        match self.stage {
            LifeStage::Draining { deadline, .. }
                if now >= deadline && !self.has_ended(now, all) =>
            {
                self.stage = LifeStage::Stopping(Millis(now.0 + STOP_MILLIS));
                steps.extend([
                    LifecycleStep::StopAccepting,
                    LifecycleStep::Announce(Announcement::DrainOver),
                    LifecycleStep::Enter(Mode::Stopping),
                    LifecycleStep::StopIdle,
                ]);
            }
            LifeStage::Draining {
                admission,
                deadline,
            } => self.admit((admission, deadline), now, all, &mut steps),
            // Again and again: a connection that was busy the last time may be idle now.
            LifeStage::Stopping(_) if now >= self.next_sweep => {
                self.next_sweep = Millis(now.0 + TICK_MILLIS);
                steps.push(LifecycleStep::StopIdle);
            }
            LifeStage::Stopping(_) | LifeStage::Serving => {}
        }
        steps
    }

    /// Moves the end of accepting forward as time passes, in a drain that ends at `deadline`.
    fn admit<T>(
        &mut self,
        (admission, deadline): (Admission, Millis),
        now: Millis,
        all: &[Arc<Shared<T>>],
        steps: &mut Vec<LifecycleStep>,
    ) {
        let admission = match admission {
            Admission::Everyone(until) if now >= until => match self.shutdown.handshakes_secs {
                0 => Admission::Connected,
                secs => {
                    steps.push(LifecycleStep::RefuseNewHandshakes);
                    // Connections in the queues are among those that are waited for.
                    steps.push(LifecycleStep::AcceptAll);
                    Admission::Begun(now.plus_secs(secs))
                }
            },
            // The kernel divides new handshakes among the listeners of a port. When one closes, its part
            // goes to the others, so none closes before all of them drop what begins.
            Admission::Begun(until) if now >= until && every_loop_drops_syn(all) => {
                Admission::Connected
            }
            same => same,
        };
        self.stage = LifeStage::Draining {
            admission,
            deadline,
        };
        match admission {
            Admission::Everyone(_) => {}
            Admission::Begun(_) => steps.push(LifecycleStep::AcceptTheLast {
                keep_filtered: true,
            }),
            Admission::Connected => steps.push(LifecycleStep::AcceptTheLast {
                keep_filtered: false,
            }),
        }
    }

    /// Whether the server has ended at `now`. The event loops end together: the one that catches the
    /// signals has to stay for the others.
    #[must_use]
    pub fn has_ended<T>(&self, now: Millis, all: &[Arc<Shared<T>>]) -> bool {
        let is_empty = || all.iter().all(|shared| shared.open() == 0);
        match self.stage {
            LifeStage::Serving => false,
            LifeStage::Draining { .. } => {
                is_empty() && !all.iter().any(|shared| shared.is_accepting())
            }
            LifeStage::Stopping(deadline) => now >= deadline || is_empty(),
        }
    }

    /// How long the end waits, from `now` on, for workers that the disk holds up.
    #[must_use]
    pub fn patience_with_workers(&self, now: Millis) -> Duration {
        match self.stage {
            LifeStage::Stopping(deadline) => {
                Duration::from_millis(Millis(deadline.0 + WORKERS_MILLIS).since(now))
            }
            LifeStage::Serving | LifeStage::Draining { .. } => WORKERS_PATIENCE,
        }
    }

    fn mode(&self) -> Mode {
        match self.stage {
            LifeStage::Serving => Mode::Serving,
            LifeStage::Draining { .. } => Mode::Draining,
            LifeStage::Stopping(_) => Mode::Stopping,
        }
    }
}

fn every_loop_drops_syn<T>(all: &[Arc<Shared<T>>]) -> bool {
    let drops = |shared: &Arc<Shared<T>>| shared.admissions.drops_syn.load(Ordering::Acquire);
    all.iter().all(drops)
}
