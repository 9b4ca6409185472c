//! The state that a session keeps between its turns, what a thread lends it for one turn, and when it wants
//! the next one.

use std::net::IpAddr;
use std::sync::Arc;

use crate::clock::{Millis, Now};
use crate::config::IdleClose;
use crate::connection::access_log::line::Arrival;
use crate::connection::counters::CloseReason;
use crate::connection::deadline::Deadline;
use crate::connection::limits::connection_gauge::ConnectionGauge;
use crate::connection::output::{Pause, Unsent};
use crate::connection::peer::Peer;
use crate::connection::server_context::ServerContext;
use crate::connection::stall_detector::StallDetector;
use crate::connection::thread_buffers::{KeptInput, ThreadBuffers};
use crate::http::body::BodyDecoder;
use crate::http::method::Method;
use crate::site::MayBlock;

/// Looks per `timeouts.write` at how far a peer has come with what the socket did not take. No event
/// tells, and what it took before the first look counts as taken at that look.
const WRITE_LOOKS: u32 = 6;

/// One connection's state.
#[derive(Debug)]
pub struct Session {
    pub(super) phase: Phase,
    /// Received bytes of an incomplete request. `None` in a connection that has nothing but waits.
    pub(super) kept: Option<Box<KeptInput>>,
    pub(super) unsent: Option<Box<Unsent>>,
    pub(super) opened_at: Millis,
    pub(super) sent_bytes: u64,
    pub(super) answered: u32,
    /// Answers in a row for which the retirement was put off (`retirement`).
    pub(super) put_off: u8,
    pub(super) peer: Peer,
    /// The connections from the same address, if their number is limited.
    address_gauge: Option<Arc<ConnectionGauge>>,
    /// Set with the last answer; what follows it is `linger`.
    pub(super) closing: Option<CloseReason>,
    pub(super) peer_has_closed: bool,
}

#[derive(Debug)]
pub(super) enum Phase {
    Idle {
        since: Millis,
        delivery: Delivery,
    },
    Head {
        since: Millis,
        /// Milliseconds of idling before it; as many as fit.
        idle_millis: u32,
        method: Option<Method>,
    },
    Body(Box<BodyInProgress>),
    /// Boxed, as it is the largest and the shortest: it would make every idle connection larger.
    Linger(Box<Lingering>),
    Refused,
}

/// How much is known of the last answer's way to the peer. No event tells when it has arrived, and
/// asking costs a call. So it is asked once, half of grace after the answer: if all is acknowledged
/// by then, the deadline counted from the answer keeps the promise, and leaves the other half of grace
/// for the way of a last request to us. If not, it is asked again, and T + grace counts from the first
/// time that it is.
#[derive(Debug)]
pub(super) enum Delivery {
    /// Answered in this turn; [`Session::rest`] stamps the time.
    Fresh,
    /// Not asked yet.
    Unknown,
    /// Asked, and something was outstanding.
    Outstanding(Box<StallDetector>),
    /// All acknowledged, or nothing was ever sent: `since` counts.
    Confirmed,
}

/// A body that is read and thrown away. The head stays in the buffer, before the body's bytes.
#[derive(Debug)]
pub(super) struct BodyInProgress {
    pub(super) method: Method,
    pub(super) head_len: usize,
    pub(super) decoder: BodyDecoder,
    pub(super) received: u64,
    pub(super) stall_detector: StallDetector,
    /// When the head began to come.
    pub(super) arrival: Arrival,
}

/// The state of a connection that has sent its FIN.
#[derive(Debug)]
pub(super) struct Lingering {
    pub(super) since: Millis,
    pub(super) drained_bytes: u64,
    /// Whether the client was free to send a request when we sent our last answer or our FIN, and none
    /// has come yet: the two may cross.
    pub(super) may_cross: bool,
    /// Set while the last answer is still on its way when the time is over.
    pub(super) stall_detector: Option<Box<StallDetector>>,
}

impl Session {
    /// A connection that was accepted at `now`.
    #[must_use]
    pub fn accepted(peer: Peer, now: Millis) -> Session {
        // Nothing was sent, so there is nothing to be acknowledged.
        Session::new(
            peer,
            now,
            Phase::Idle {
                since: now,
                delivery: Delivery::Confirmed,
            },
        )
    }

    /// A connection over the limit: it is told so with a 503 in its first turn, and closed.
    #[must_use]
    pub fn refused(peer: Peer, now: Millis) -> Session {
        Session::new(peer, now, Phase::Refused)
    }

    fn new(peer: Peer, now: Millis, phase: Phase) -> Session {
        Session {
            phase,
            kept: None,
            unsent: None,
            opened_at: now,
            sent_bytes: 0,
            answered: 0,
            put_off: 0,
            peer,
            address_gauge: None,
            closing: None,
            peer_has_closed: false,
        }
    }

    /// This connection, counted among those from its address, whose number is limited.
    #[must_use]
    pub fn among(mut self, address_gauge: Option<Arc<ConnectionGauge>>) -> Session {
        self.address_gauge = address_gauge;
        self
    }

    /// The address that it comes from and the connections from there, if their number is limited.
    #[must_use]
    pub fn address_gauge(&self) -> Option<(IpAddr, &ConnectionGauge)> {
        match (self.peer, &self.address_gauge) {
            (Peer::Ip(address), Some(address_gauge)) => Some((address, address_gauge)),
            _ => None,
        }
    }

    /// For the debug line at the end: requests answered, bytes sent, milliseconds open.
    #[must_use]
    pub fn summary(&self, now: Millis) -> (u32, u64, u64) {
        (self.answered, self.sent_bytes, now.since(self.opened_at))
    }

    /// Ends a turn that said [`Outcome::Wait`], at `now`: stamps what the turn began and returns
    /// when the next turn is due should the socket stay silent.
    ///
    /// [`Outcome::Wait`]: super::Outcome::Wait
    pub fn rest(&mut self, context: &ServerContext, now: Millis) -> Deadline {
        let timeouts = &context.config.timeouts;
        if let Some(unsent) = &self.unsent {
            let look = now.plus_secs(timeouts.write_secs.div_ceil(WRITE_LOOKS));
            return Deadline::Exchange(
                look.min(
                    unsent
                        .stall_detector
                        .deadline(&context.write_stall_limits()),
                ),
            );
        }
        Deadline::Exchange(match &mut self.phase {
            Phase::Idle { since, .. } if self.answered == 0 => {
                return Deadline::First(since.plus_secs(timeouts.head_secs));
            }
            Phase::Idle { since, delivery } => return delivery.rest(since, context, now),
            Phase::Head { since, .. } => since.plus_secs(timeouts.head_secs),
            Phase::Body(body) => body.stall_detector.deadline(&context.body_stall_limits()),
            Phase::Linger(linger) => return Deadline::Linger(linger.deadline(context, now)),
            Phase::Refused => now,
        })
    }

    /// Whether connections should go, here or at the peer's address.
    pub(super) fn is_pressed(&self, context: &ServerContext) -> bool {
        let address_gauge = self.address_gauge.as_deref();
        context.gauge.is_pressing() || address_gauge.is_some_and(ConnectionGauge::is_pressing)
    }

    /// Whether a limit that concerns the connection is reached, so that newcomers have no place.
    pub(super) fn is_full(&self, context: &ServerContext) -> bool {
        let address_gauge = self.address_gauge.as_deref();
        context.gauge.is_full() || address_gauge.is_some_and(ConnectionGauge::is_full)
    }

    /// The method of the request that is being received, as far as it has come.
    pub(super) fn method(&self) -> Option<Method> {
        match &self.phase {
            Phase::Head { method, .. } => *method,
            Phase::Body(body) => Some(body.method),
            Phase::Idle { .. } | Phase::Linger(_) | Phase::Refused => None,
        }
    }

    /// Takes note that a request has begun to come and is not answered in this turn.
    pub(super) fn note_begun(&mut self, method: Option<Method>, now: Millis) {
        // A body that has been read must not be looked for again.
        if let Phase::Body(_) = self.phase {
            return;
        }
        let Arrival { since, idle_millis } = self.arrival(now);
        self.phase = Phase::Head {
            since: since.unwrap_or(now),
            idle_millis: u32::try_from(idle_millis).unwrap_or(u32::MAX),
            method,
        };
    }

    /// When the request at hand began to come.
    pub(super) fn arrival(&self, now: Millis) -> Arrival {
        match &self.phase {
            Phase::Idle { since, .. } => Arrival {
                since: None,
                idle_millis: now.since(*since),
            },
            Phase::Head {
                since, idle_millis, ..
            } => Arrival {
                since: Some(*since),
                idle_millis: u64::from(*idle_millis),
            },
            Phase::Body(body) => body.arrival,
            Phase::Linger(_) | Phase::Refused => Arrival {
                since: None,
                idle_millis: 0,
            },
        }
    }
}

impl Delivery {
    /// Ends a turn of an idle connection at `now`; [`Session::rest`] for this phase.
    fn rest(&mut self, since: &mut Millis, context: &ServerContext, now: Millis) -> Deadline {
        match self {
            Delivery::Fresh => {
                *since = now;
                *self = Delivery::Unknown;
                Deadline::Settling(first_look(context, now))
            }
            Delivery::Unknown => Deadline::Settling(first_look(context, *since)),
            Delivery::Outstanding(stall_detector) => {
                let again = now.plus_secs(context.config.keep_alive.grace_secs);
                Deadline::Settling(
                    again.min(stall_detector.deadline(&context.write_stall_limits())),
                )
            }
            // T + grace does not end the connection as long as the server serves.
            Delivery::Confirmed if context.config.keep_alive.close == IdleClose::Pressure => {
                Deadline::Parked(reap_at(context, *since))
            }
            Delivery::Confirmed => Deadline::Idle(reap_at(context, *since)),
        }
    }
}

impl Lingering {
    fn deadline(&self, context: &ServerContext, now: Millis) -> Millis {
        let linger_secs = context.config.timeouts.linger_secs;
        match &self.stall_detector {
            None => self.since.plus_secs(linger_secs),
            Some(stall_detector) => now
                .plus_secs(linger_secs)
                .min(stall_detector.deadline(&context.write_stall_limits())),
        }
    }
}

/// When the acknowledgement of an answer that was sent at `since` is looked at first.
pub(super) fn first_look(context: &ServerContext, since: Millis) -> Millis {
    let config = &context.config;
    let write_millis = u64::from(config.timeouts.write_secs) * 1000;
    let look_millis = config.keep_alive.first_look_millis().min(write_millis);
    Millis(since.0.saturating_add(look_millis))
}

/// T + grace: when a connection that has been idle `since` is closed.
pub(super) fn reap_at(context: &ServerContext, since: Millis) -> Millis {
    let keep_alive = &context.config.keep_alive;
    since
        .plus_secs(keep_alive.timeout_secs)
        .plus_secs(keep_alive.grace_secs)
}

/// The tools of one turn: the socket, the buffers, the settings and the time.
pub struct Turn<'a, T> {
    /// The connection's socket.
    pub io: &'a mut T,
    /// The thread's buffers.
    pub buffers: &'a mut ThreadBuffers,
    /// The configuration, the site and the mode.
    pub context: &'a ServerContext,
    /// The time at the start of the turn.
    pub now: Now,
    /// How far the thread may go for an answer: memory, the file systems of the roots, or any.
    pub may_block: MayBlock,
    /// Whether the kernel has announced the peer's FIN: a short read is then no proof that nothing
    /// is left to read, as data and FIN share one edge.
    pub read_closed: bool,
    /// Whether what the first request waits for is not waited for any longer: it takes too long to go on
    /// with for a peer that has ended its side, and most likely left.
    pub gives_up: bool,
    /// Whether the turn is to end because it has taken long and others wait. Asked only by a thread
    /// that may wait for the disk, between two requests of a pipeline.
    pub is_over: &'a dyn Fn() -> bool,
}

/// How the connection goes on after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to do until the socket is ready or [`Session::rest`]'s deadline passes.
    ///
    /// [`Session::rest`]: super::Session::rest
    Wait,
    /// There is more to do at once, but not in this turn: others come first, or it takes a thread with
    /// a longer [`MayBlock`], or what another thread is getting ([`ThreadBuffers::awaited`]).
    Again,
    /// Over: drop the socket.
    Close(CloseReason),
}

impl From<Result<Pause, CloseReason>> for Outcome {
    fn from(end: Result<Pause, CloseReason>) -> Outcome {
        match end {
            Ok(Pause::Wait) => Outcome::Wait,
            Ok(Pause::Again) => Outcome::Again,
            Err(reason) => Outcome::Close(reason),
        }
    }
}
