//! The state that a session keeps between turns, the tools that a thread lends it for one turn, and the
//! deadline of the next one.

use std::net::IpAddr;
use std::sync::Arc;

use super::promise::KeepAlivePromise;
use crate::clock::{Millis, Now};
use crate::config::IdleClose;
use crate::connection::access_log::line::Arrival;
use crate::connection::counters::CloseReason;
use crate::connection::deadline::Deadline;
use crate::connection::limits::connection_gauge::ConnectionGauge;
use crate::connection::output::{Pause, Unsent};
use crate::connection::peer::Peer;
use crate::connection::server_context::{Mode, ServerContext};
use crate::connection::stall_detector::StallDetector;
use crate::connection::thread_buffers::{KeptInput, ThreadBuffers};
use crate::http::body::BodyDecoder;
use crate::http::method::Method;
use crate::site::MayBlock;

/// Checks per `timeouts.write` of how far a peer has come with the unsent bytes. No event reports that, and
/// bytes taken before the first check count as taken at that check.
const WRITE_CHECKS: u32 = 6;

/// Seconds from the accept to the end of the header of the PROXY protocol. Its specification asks for at least
/// 3, so that one lost packet is sent again (section 2).
pub const PROXY_HEADER_SECS: u32 = 5;

/// One connection's state.
#[derive(Debug)]
pub struct Session {
    pub(super) phase: Phase,
    /// Received bytes of an incomplete request; `None` in a connection that only waits.
    pub(super) kept: Option<Box<KeptInput>>,
    pub(super) unsent: Option<Box<Unsent>>,
    pub(super) opened_at: Millis,
    pub(super) sent_bytes: u64,
    pub(super) answered: u32,
    pub(super) promise: KeepAlivePromise,
    /// Responses in a row for which a close by the server was postponed (`server_close`).
    pub(super) postponed: u8,
    /// The other side, or the client that the header of the PROXY protocol names.
    pub(super) peer: Peer,
    /// The gauge of the connection's address, if the connections per address are limited.
    pub(super) client_gauge: Option<Arc<ConnectionGauge>>,
    /// Set with the last response; then the connection lingers, or closes at once (`linger`).
    pub(super) closing: Option<CloseReason>,
    pub(super) facts: SessionFacts,
}

/// The figures of a connection that an observer may read between two turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionFigures {
    /// The address of the other side.
    pub peer: Peer,
    /// When the connection was accepted.
    pub opened_at: Millis,
    /// Requests answered.
    pub requests: u32,
    /// Since when the connection waits for a request; `None` if it does not.
    pub idle_since: Option<Millis>,
    /// The T that the client was told last, in seconds; `None` before the first response.
    pub timeout_secs: Option<u32>,
    /// The end of T + grace, counted from `idle_since`; `None` if the connection is not idle, before the first
    /// response, and while only pressure closes it.
    pub idle_close_at: Option<Millis>,
}

/// Four facts in one byte, because a connection with one byte more takes 16 more of memory.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SessionFacts(u8);

impl SessionFacts {
    const HAS_CLOSED: u8 = 1;
    const NAMES_NO_CLIENT: u8 = 2;
    const IS_UNCOUNTED: u8 = 4;
    const SENDS_NO_MORE: u8 = 8;

    /// Whether the other side has closed its side of the connection.
    pub(super) fn has_closed(self) -> bool {
        self.0 & SessionFacts::HAS_CLOSED != 0
    }

    pub(super) fn note_closed(&mut self) {
        self.0 |= SessionFacts::HAS_CLOSED;
    }

    /// Whether the other side is a proxy that forwards bytes unread, and its header of the PROXY protocol has
    /// named no client. So X-Forwarded-For may come from anybody.
    pub(super) fn names_no_client(self) -> bool {
        self.0 & SessionFacts::NAMES_NO_CLIENT != 0
    }

    pub(super) fn note_no_client(&mut self) {
        self.0 |= SessionFacts::NAMES_NO_CLIENT;
    }

    /// Whether the client has said `close` with the request that was answered last, and so may send nothing
    /// more (RFC 9112 section 9.6).
    pub(super) fn sends_no_more(self) -> bool {
        self.0 & SessionFacts::SENDS_NO_MORE != 0
    }

    pub(super) fn note_last_request(&mut self) {
        self.0 |= SessionFacts::SENDS_NO_MORE;
    }
}

#[derive(Debug)]
pub(super) enum Phase {
    /// The header of the PROXY protocol is incomplete (`proxy_header`).
    ProxyHeader,
    /// The TLS handshake is under way (`handshake`).
    Handshake,
    Idle {
        since: Millis,
        ack: AckState,
    },
    /// Idle, but the peer has not acknowledged the last response yet. Boxed, because it is rare.
    Unacknowledged(Box<Unacknowledged>),
    Head {
        since: Millis,
        /// Milliseconds of idle time before; a longer time is capped.
        idle_millis: u32,
        method: Option<Method>,
    },
    Body(Box<BodyInProgress>),
    /// Boxed, because this largest and shortest phase would enlarge every idle connection.
    Linger(Box<Lingering>),
    Refused,
}

/// Whether the peer has acknowledged the last response. No event reports that, and asking costs a system
/// call. So the session asks once, half of grace after the response. If all is acknowledged by then, the
/// deadline counted from the response keeps the promise, and leaves the other half of grace for the travel of
/// a last request. If not ([`Phase::Unacknowledged`]), the session asks again, and T + grace counts from the first
/// time that all is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AckState {
    /// Answered in this turn; [`Session::next_deadline`] notes the time.
    ThisTurn,
    /// The session has not asked yet.
    Unchecked,
    /// All is acknowledged, or nothing was ever sent: `since` counts.
    Acknowledged,
}

/// A response that was not acknowledged when the session asked.
#[derive(Debug)]
pub(super) struct Unacknowledged {
    /// When the response was sent.
    pub(super) since: Millis,
    pub(super) stall_detector: StallDetector,
}

/// A body that is read and discarded. The head stays in the buffer, before the body's bytes.
#[derive(Debug)]
pub(super) struct BodyInProgress {
    pub(super) method: Method,
    pub(super) head_len: usize,
    pub(super) decoder: BodyDecoder,
    pub(super) received: u64,
    pub(super) stall_detector: StallDetector,
    /// When the head began to arrive.
    pub(super) arrival: Arrival,
}

/// The state of a connection that has sent its FIN.
#[derive(Debug)]
pub(super) struct Lingering {
    pub(super) since: Millis,
    pub(super) discarded_bytes: u64,
    /// Whether the client was free to send a request when we sent our last response or FIN, and has sent none
    /// yet: the two may cross.
    pub(super) may_cross: bool,
    /// Set if the last response is still unacknowledged when `timeouts.linger` is over.
    pub(super) stall_detector: Option<Box<StallDetector>>,
}

impl Session {
    /// A connection that was accepted at `now`.
    #[must_use]
    pub fn accepted(peer: Peer, now: Millis) -> Session {
        // The server has sent nothing, so nothing is unacknowledged.
        Session::new(
            peer,
            now,
            Phase::Idle {
                since: now,
                ack: AckState::Acknowledged,
            },
        )
    }

    /// A connection that was accepted at `now` from `peer`, a trusted proxy. It begins with a header of the
    /// PROXY protocol.
    #[must_use]
    pub fn proxied(peer: Peer, now: Millis) -> Session {
        Session::new(peer, now, Phase::ProxyHeader)
    }

    /// A connection that was accepted at `now` and begins with a TLS handshake.
    #[must_use]
    pub fn over_tls(peer: Peer, now: Millis) -> Session {
        Session::new(peer, now, Phase::Handshake)
    }

    /// A connection over the limit. Its first turn answers 503, but over TLS nothing, and closes.
    #[must_use]
    pub fn refused(peer: Peer, now: Millis) -> Session {
        let mut session = Session::new(peer, now, Phase::Refused);
        session.facts.0 |= SessionFacts::IS_UNCOUNTED;
        session
    }

    /// Whether the limits count the connection. They do not count one that was refused when it was accepted.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        self.facts.0 & SessionFacts::IS_UNCOUNTED == 0
    }

    fn new(peer: Peer, now: Millis, phase: Phase) -> Session {
        Session {
            phase,
            kept: None,
            unsent: None,
            opened_at: now,
            sent_bytes: 0,
            answered: 0,
            promise: KeepAlivePromise::default(),
            postponed: 0,
            peer,
            client_gauge: None,
            closing: None,
            facts: SessionFacts::default(),
        }
    }

    /// Adds the gauge of the connection's address, if the connections per address are limited.
    #[must_use]
    pub fn with_client_gauge(mut self, client_gauge: Option<Arc<ConnectionGauge>>) -> Session {
        self.client_gauge = client_gauge;
        self
    }

    /// The connection's address and the gauge of that address, if the connections per address are limited.
    #[must_use]
    pub fn client_gauge(&self) -> Option<(IpAddr, &Arc<ConnectionGauge>)> {
        match (self.peer, &self.client_gauge) {
            (Peer::Ip(address), Some(client_gauge)) => Some((address, client_gauge)),
            _ => None,
        }
    }

    /// The figures for the debug line at the end: requests answered, bytes sent, milliseconds open.
    #[must_use]
    pub fn summary(&self, now: Millis) -> (u32, u64, u64) {
        (self.answered, self.sent_bytes, now.since(self.opened_at))
    }

    /// The figures for an observer.
    #[must_use]
    pub fn figures(&self, context: &ServerContext) -> SessionFigures {
        let idle_since = match self.phase {
            Phase::Idle { since, .. } if self.unsent.is_none() => Some(since),
            Phase::Unacknowledged(ref unacknowledged) => Some(unacknowledged.since),
            _ => None,
        };
        let closes = context.config.keep_alive.close == IdleClose::Timeout
            || context.mode() != Mode::Serving;
        let answered_since = idle_since.filter(|_| closes && self.answered > 0);
        SessionFigures {
            peer: self.peer,
            opened_at: self.opened_at,
            requests: self.answered,
            idle_since,
            timeout_secs: self.promise.told_timeout_secs(),
            idle_close_at: answered_since.map(|since| self.promise.idle_close_at(since, context)),
        }
    }

    /// Ends a turn that returned [`Outcome::Wait`], at `now`: notes the start of what the turn began, and
    /// returns the time of the next turn if no event comes.
    pub fn next_deadline(&mut self, context: &ServerContext, now: Millis) -> Deadline {
        let timeouts = &context.config.timeouts;
        if let Some(unsent) = &self.unsent {
            let check = now.plus_secs(timeouts.write_secs.div_ceil(WRITE_CHECKS));
            return Deadline::Exchange(
                check.min(
                    unsent
                        .stall_detector
                        .deadline(&context.write_stall_limits()),
                ),
            );
        }
        Deadline::Exchange(match &mut self.phase {
            Phase::ProxyHeader => return Deadline::ProxyHeader(header_late_at(self.opened_at)),
            Phase::Handshake => return self.handshake_deadline(context),
            Phase::Idle { since, .. } if self.answered == 0 => {
                return Deadline::First(since.plus_secs(timeouts.head_secs));
            }
            Phase::Idle { since, ack } => {
                return ack.next_deadline(since, self.promise, context, now);
            }
            Phase::Unacknowledged(unacknowledged) => {
                let again = now.plus_secs(context.config.keep_alive.grace_secs);
                let stalled = &unacknowledged.stall_detector;
                let stalled = stalled.deadline(&context.write_stall_limits());
                return Deadline::AwaitingAck(again.min(stalled));
            }
            Phase::Head { since, .. } => since.plus_secs(timeouts.head_secs),
            Phase::Body(body) => body.stall_detector.deadline(&context.body_stall_limits()),
            Phase::Linger(linger) => return Deadline::Linger(linger.deadline(context, now)),
            Phase::Refused => now,
        })
    }

    /// The gauge of the connection's address, if the connections per address are limited.
    pub(super) fn gauge_of_client(&self) -> Option<&ConnectionGauge> {
        self.client_gauge.as_deref()
    }

    /// Whether the server or the peer's address is under pressure.
    pub(super) fn is_under_pressure(&self, context: &ServerContext) -> bool {
        let client_gauge = self.gauge_of_client();
        context.gauge.is_under_pressure()
            || client_gauge.is_some_and(ConnectionGauge::is_under_pressure)
    }

    /// Whether a limit that concerns the connection is reached, so that new connections are refused.
    pub(super) fn is_full(&self, context: &ServerContext) -> bool {
        let client_gauge = self.gauge_of_client();
        context.gauge.is_full() || client_gauge.is_some_and(ConnectionGauge::is_full)
    }

    /// The method of the request that is being received, if it has arrived.
    pub(super) fn method(&self) -> Option<Method> {
        match &self.phase {
            Phase::Head { method, .. } => *method,
            Phase::Body(body) => Some(body.method),
            Phase::ProxyHeader
            | Phase::Handshake
            | Phase::Idle { .. }
            | Phase::Unacknowledged(_)
            | Phase::Linger(_)
            | Phase::Refused => None,
        }
    }

    /// Notes that a request has begun to arrive and is not answered in this turn.
    pub(super) fn note_begun(&mut self, method: Option<Method>, now: Millis) {
        // A body that has been read must not be read again.
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

    /// When the current request began to arrive; `None` if that was in this turn.
    #[inline]
    pub(super) fn begun_at(&self) -> Option<Millis> {
        match &self.phase {
            Phase::ProxyHeader
            | Phase::Handshake
            | Phase::Idle { .. }
            | Phase::Unacknowledged(_)
            | Phase::Linger(_)
            | Phase::Refused => None,
            Phase::Head { since, .. } => Some(*since),
            Phase::Body(body) => body.arrival.since,
        }
    }

    /// When the current request began to arrive, and how long the connection was idle before.
    pub(super) fn arrival(&self, now: Millis) -> Arrival {
        match &self.phase {
            Phase::Idle { since, .. } => Arrival {
                since: None,
                idle_millis: now.since(*since),
            },
            Phase::Unacknowledged(unacknowledged) => Arrival {
                since: None,
                idle_millis: now.since(unacknowledged.since),
            },
            Phase::Head {
                since, idle_millis, ..
            } => Arrival {
                since: Some(*since),
                idle_millis: u64::from(*idle_millis),
            },
            Phase::Body(body) => body.arrival,
            Phase::ProxyHeader | Phase::Handshake | Phase::Linger(_) | Phase::Refused => Arrival {
                since: None,
                idle_millis: 0,
            },
        }
    }
}

impl AckState {
    /// [`Session::next_deadline`] for an idle connection.
    fn next_deadline(
        &mut self,
        since: &mut Millis,
        promise: KeepAlivePromise,
        context: &ServerContext,
        now: Millis,
    ) -> Deadline {
        match self {
            AckState::ThisTurn => {
                *since = now;
                *self = AckState::Unchecked;
                Deadline::AwaitingAck(first_ack_check(context, now))
            }
            AckState::Unchecked => Deadline::AwaitingAck(first_ack_check(context, *since)),
            // T + grace ends the connection only while the server drains.
            AckState::Acknowledged if context.config.keep_alive.close == IdleClose::Pressure => {
                Deadline::IdleUntilDrain(promise.idle_close_at(*since, context))
            }
            AckState::Acknowledged => Deadline::Idle(promise.idle_close_at(*since, context)),
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

/// When the header of a connection that was accepted at `opened_at` is late.
pub(super) fn header_late_at(opened_at: Millis) -> Millis {
    opened_at.plus_secs(PROXY_HEADER_SECS)
}

/// The time of the first check whether a response sent at `since` is acknowledged.
pub(super) fn first_ack_check(context: &ServerContext, since: Millis) -> Millis {
    let config = &context.config;
    let write_millis = u64::from(config.timeouts.write_secs) * 1000;
    let ack_check_millis = config.keep_alive.first_ack_check_millis().min(write_millis);
    Millis(since.0.saturating_add(ack_check_millis))
}

/// The socket, buffers, settings and time for one turn.
pub struct Turn<'a, T> {
    /// The connection's socket.
    pub io: &'a mut T,
    /// The thread's buffers.
    pub buffers: &'a mut ThreadBuffers,
    /// The configuration, the site and the mode.
    pub context: &'a ServerContext,
    /// The time at the start of the turn.
    pub now: Now,
    /// Which disks the thread may wait for: none, the file systems of the roots, or any.
    pub may_block: MayBlock,
    /// Whether the kernel has announced the peer's FIN. If so, a short read does not prove that the socket is
    /// empty, because data and FIN share one edge.
    pub read_closed: bool,
    /// Whether to stop waiting for the load that the first request needs: the load takes too long for a peer
    /// that has closed its side and has probably left.
    pub gives_up: bool,
    /// Whether the turn should end because it has taken long and other connections wait. Called between two
    /// pipelined requests, and only by threads that may wait for the disk.
    pub is_over: &'a dyn Fn() -> bool,
}

/// The state of the connection after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The connection waits until the socket is ready or the deadline from [`Session::next_deadline`] passes.
    Wait,
    /// More can be done at once, but not in this turn. Other connections come first, or the work needs a
    /// thread with a wider [`MayBlock`] or another thread's load ([`ThreadBuffers::awaited`]).
    Again,
    /// The connection has ended; the caller drops the socket.
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
