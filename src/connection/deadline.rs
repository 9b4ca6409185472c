//! The time of a connection's next turn if no event comes, and its state until then.
//!
//! A deadline fits one word. So the word can be stored beside the connection, where the event loop reads it
//! at any time without asking the owner.

use crate::clock::Millis;

/// The bits of the word that hold the kind. The other bits last for seventy million years.
const KIND: u64 = 0b111 << 61;
const AWAITING_ACK: u64 = 0b001 << 61;
const IDLE: u64 = 0b010 << 61;
const IDLE_UNTIL_DRAIN: u64 = 0b011 << 61;
const LINGER: u64 = 0b100 << 61;
const FIRST: u64 = 0b101 << 61;
const PROXY_HEADER: u64 = 0b110 << 61;
const HANDSHAKE: u64 = 0b111 << 61;

/// A point in time, and the state of the connection until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// A request is being received, or a response is being sent.
    Exchange(Millis),
    /// The connection waits for the header of the PROXY protocol, for 5 seconds from the accept.
    ProxyHeader(Millis),
    /// The connection waits for its peer to go on with the TLS handshake, for `timeouts.handshake` from the
    /// accept.
    Handshake(Millis),
    /// The connection waits for the first byte of its first request, for `timeouts.head` from the accept,
    /// or from the end of the TLS handshake.
    First(Millis),
    /// The connection is between two requests, and the last response is not known to have arrived.
    AwaitingAck(Millis),
    /// The connection is between two requests, and all is acknowledged; the deadline is T + grace.
    Idle(Millis),
    /// As `Idle`, with `keep_alive.close = "pressure"`: the deadline counts only while the server drains.
    IdleUntilDrain(Millis),
    /// We have closed our side; bytes that the peer still sends are discarded.
    Linger(Millis),
}

impl Deadline {
    /// The point in time.
    #[must_use]
    pub fn at(self) -> Millis {
        match self {
            Deadline::Exchange(at)
            | Deadline::ProxyHeader(at)
            | Deadline::Handshake(at)
            | Deadline::First(at)
            | Deadline::AwaitingAck(at)
            | Deadline::Idle(at)
            | Deadline::IdleUntilDrain(at)
            | Deadline::Linger(at) => at,
        }
    }

    /// Whether the connection has sent no byte of a request.
    #[must_use]
    pub fn is_silent(self) -> bool {
        matches!(
            self,
            Deadline::ProxyHeader(_) | Deadline::Handshake(_) | Deadline::First(_)
        )
    }

    /// Whether the connection is between two requests, or before its first.
    #[must_use]
    pub fn is_between_requests(self) -> bool {
        matches!(
            self,
            Deadline::ProxyHeader(_)
                | Deadline::First(_)
                | Deadline::AwaitingAck(_)
                | Deadline::Idle(_)
                | Deadline::IdleUntilDrain(_)
        )
    }

    /// The deadline as a word. A time that does not fit becomes [`Millis::NEVER`].
    #[must_use]
    pub fn to_word(self) -> u64 {
        let kind = match self {
            Deadline::Exchange(_) => 0,
            Deadline::ProxyHeader(_) => PROXY_HEADER,
            Deadline::Handshake(_) => HANDSHAKE,
            Deadline::First(_) => FIRST,
            Deadline::AwaitingAck(_) => AWAITING_ACK,
            Deadline::Idle(_) => IDLE,
            Deadline::IdleUntilDrain(_) => IDLE_UNTIL_DRAIN,
            Deadline::Linger(_) => LINGER,
        };
        self.at().0.min(!KIND) | kind
    }

    /// The deadline from a word that [`Deadline::to_word`] made.
    #[must_use]
    pub fn from_word(word: u64) -> Deadline {
        let at = match word & !KIND {
            never if never == !KIND => Millis::NEVER,
            at => Millis(at),
        };
        match word & KIND {
            IDLE => Deadline::Idle(at),
            AWAITING_ACK => Deadline::AwaitingAck(at),
            IDLE_UNTIL_DRAIN => Deadline::IdleUntilDrain(at),
            LINGER => Deadline::Linger(at),
            PROXY_HEADER => Deadline::ProxyHeader(at),
            HANDSHAKE => Deadline::Handshake(at),
            FIRST => Deadline::First(at),
            _ => Deadline::Exchange(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_can_be_read_from_its_word() {
        for at in [Millis(0), Millis(130_000), Millis(1 << 60), Millis::NEVER] {
            for deadline in [
                Deadline::Exchange(at),
                Deadline::ProxyHeader(at),
                Deadline::Handshake(at),
                Deadline::First(at),
                Deadline::AwaitingAck(at),
                Deadline::Idle(at),
                Deadline::IdleUntilDrain(at),
                Deadline::Linger(at),
            ] {
                assert_eq!(Deadline::from_word(deadline.to_word()), deadline);
            }
        }
    }
}
