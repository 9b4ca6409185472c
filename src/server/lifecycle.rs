//! Serving, draining, stopping: how far an event loop has come towards its end, and its next steps.
//!
//! A [`Lifecycle`] gets the time as an argument and returns [steps](LifecycleStep), which the event loop
//! carries out in order.
//!
//! A server that stops visits all slots at each tick, for a second or so ([`LifecycleStep::StopIdle`]).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::interrupt::END_LIMIT_MILLIS;
use super::shared::Shared;
use super::timer_wheel::TICK_MILLIS;
use crate::clock::Millis;
use crate::config::Shutdown;
use crate::connection::server_context::Mode;

/// Milliseconds for responses in progress after SIGINT or the end of the drain.
const STOP_MILLIS: u64 = 1_200;

/// Milliseconds for the workers after that, before the process ends without them.
const WORKERS_MILLIS: u64 = 300;

/// How long the workers may take at the end of a drain that needed no stop.
const WORKERS_TIMEOUT: Duration = Duration::from_secs(1);

/// Milliseconds for logs at the end if nobody reads them: 100 for the access log, 200 for standard error.
const LOGS_MILLIS: u64 = 300;

const _: () = assert!(STOP_MILLIS + WORKERS_MILLIS + LOGS_MILLIS < END_LIMIT_MILLIS);

/// How far the server has come towards its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifeStage {
    /// The server serves.
    Serving,
    /// Idle connections stay open as promised, until the deadline.
    Draining {
        /// Which connections are accepted.
        phase: DrainPhase,
        /// When the drain ends (`shutdown.drain`).
        deadline: Millis,
    },
    /// All connections are being closed; those still open at this deadline are cut off.
    Stopping(Millis),
}

/// The phase of a drain, which says which connections are accepted. The phases follow in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainPhase {
    /// All connections, until this time (`shutdown.accept_for`).
    AcceptingAll(Millis),
    /// Connections whose handshakes have begun, until this time (`shutdown.handshakes`).
    FinishingHandshakes(Millis),
    /// Connections in the accept queues. A listener closes when its queue is empty.
    EmptyingQueues,
}

/// A step of an event loop towards its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifecycleStep {
    /// Moves the context to this mode.
    Enter(Mode),
    /// Drops new handshakes on the listeners that can do so, and tells the other loops.
    RefuseNewHandshakes,
    /// Empties the accept queues, as far as descriptors and slots allow.
    AcceptAll,
    /// Empties the accept queues and closes the listeners; with `keep_filtered` not those that wait for
    /// handshakes to complete. Clients in a queue are connected and may have sent a request. Closing would
    /// reset them, so they are accepted first. A blocked listener stays, and is asked again each iteration.
    AcceptAllAndClose {
        /// Whether listeners that drop new handshakes stay open.
        keep_filtered: bool,
    },
    /// Closes the listeners.
    StopAccepting,
    /// Gives every idle connection a turn, which acts on the new mode.
    StopIdle,
    /// Prints a notice.
    Announce(Announcement),
}

/// A notice about the end of the server, printed with the number of open connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announcement {
    /// A drain begins.
    Draining,
    /// The deadline of the drain has passed.
    DrainTimedOut,
    /// The server stops.
    Stopping,
}

/// How far one event loop has come towards its end.
#[derive(Debug)]
pub struct Lifecycle {
    stage: LifeStage,
    /// When idle connections are next given a turn to stop.
    next_sweep: Millis,
    /// Whether the server was drained before it ended, which is reported.
    has_drained: bool,
    shutdown: Shutdown,
}

impl Lifecycle {
    /// A server that serves, and ends within the times of `shutdown`.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Lifecycle {
        Lifecycle {
            stage: LifeStage::Serving,
            next_sweep: Millis(0),
            has_drained: false,
            shutdown,
        }
    }

    /// Changes the times for the end of the server, unless the end has begun.
    pub fn set_shutdown(&mut self, shutdown: &Shutdown) {
        if self.stage == LifeStage::Serving {
            self.shutdown = shutdown.clone();
        }
    }

    /// How far the server has come towards its end.
    #[must_use]
    pub fn stage(&self) -> LifeStage {
        self.stage
    }

    /// Whether the server was drained before it ended.
    #[must_use]
    pub fn has_drained(&self) -> bool {
        self.has_drained
    }

    /// Starts to drain or stop. A repeated SIGTERM or SIGINT changes nothing here. Whether a SIGINT ends the
    /// process at once is decided by [`interrupt`](super::interrupt). `all` are the event loops.
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
        self.advance_drain(
            (DrainPhase::AcceptingAll(accept_until), deadline),
            now,
            all,
            &mut steps,
        );
        steps.push(LifecycleStep::Announce(Announcement::Draining));
        steps
    }

    /// Returns the steps that are due at `now`.
    pub fn advance<T>(&mut self, now: Millis, all: &[Arc<Shared<T>>]) -> Vec<LifecycleStep> {
        let mut steps = Vec::new();
        match self.stage {
            LifeStage::Draining { deadline, .. }
                if now >= deadline && !self.has_ended(now, all) =>
            {
                self.stage = LifeStage::Stopping(Millis(now.0 + STOP_MILLIS));
                steps.extend([
                    LifecycleStep::StopAccepting,
                    LifecycleStep::Announce(Announcement::DrainTimedOut),
                    LifecycleStep::Enter(Mode::Stopping),
                    LifecycleStep::StopIdle,
                ]);
            }
            LifeStage::Draining { phase, deadline } => {
                self.advance_drain((phase, deadline), now, all, &mut steps)
            }
            // Repeated, because a connection that was busy the last time may be idle now.
            LifeStage::Stopping(_) if now >= self.next_sweep => {
                self.next_sweep = Millis(now.0 + TICK_MILLIS);
                steps.push(LifecycleStep::StopIdle);
            }
            LifeStage::Stopping(_) | LifeStage::Serving => {}
        }
        steps
    }

    /// Enters the phase of the drain that is due at `now`, and adds its steps. The drain ends at `deadline`.
    fn advance_drain<T>(
        &mut self,
        (phase, deadline): (DrainPhase, Millis),
        now: Millis,
        all: &[Arc<Shared<T>>],
        steps: &mut Vec<LifecycleStep>,
    ) {
        let phase = match phase {
            DrainPhase::AcceptingAll(until) if now >= until => {
                match self.shutdown.handshakes_secs {
                    0 => DrainPhase::EmptyingQueues,
                    secs => {
                        steps.push(LifecycleStep::RefuseNewHandshakes);
                        // The drain also waits for connections in the queues.
                        steps.push(LifecycleStep::AcceptAll);
                        DrainPhase::FinishingHandshakes(now.plus_secs(secs))
                    }
                }
            }
            // The kernel divides new handshakes among the listeners of a port. If one closed, the others
            // would get its part. So none closes before all of them drop new handshakes.
            DrainPhase::FinishingHandshakes(until) if now >= until && every_loop_drops_syn(all) => {
                DrainPhase::EmptyingQueues
            }
            same => same,
        };
        self.stage = LifeStage::Draining { phase, deadline };
        match phase {
            DrainPhase::AcceptingAll(_) => {}
            DrainPhase::FinishingHandshakes(_) => steps.push(LifecycleStep::AcceptAllAndClose {
                keep_filtered: true,
            }),
            DrainPhase::EmptyingQueues => steps.push(LifecycleStep::AcceptAllAndClose {
                keep_filtered: false,
            }),
        }
    }

    /// Whether the server has ended at `now`. The event loops end together, because the one that catches the
    /// signals must stay for the others.
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

    /// How long the server waits at its end, from `now` on, for workers that the disk holds up.
    #[must_use]
    pub fn workers_timeout(&self, now: Millis) -> Duration {
        match self.stage {
            LifeStage::Stopping(deadline) => {
                Duration::from_millis(Millis(deadline.0 + WORKERS_MILLIS).since(now))
            }
            LifeStage::Serving | LifeStage::Draining { .. } => WORKERS_TIMEOUT,
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
    let drops = |shared: &Arc<Shared<T>>| shared.accept_state.drops_syn.load(Ordering::Acquire);
    all.iter().all(drops)
}
