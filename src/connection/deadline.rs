//! When a connection wants its next turn if its socket stays silent, and what it is doing until then.
//!
//! It fits one word, so that it can lie beside the connection where the event loop reads it at any
//! time, without asking the owner.

use crate::clock::Millis;

/// Bits of the word that say which kind it is; what is left lasts for fifty million years.
const KIND: u64 = 0b111 << 61;
const SETTLING: u64 = 0b001 << 61;
const IDLE: u64 = 0b010 << 61;
const PARKED: u64 = 0b011 << 61;
const LINGER: u64 = 0b100 << 61;
const FIRST: u64 = 0b101 << 61;

/// A deadline and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// A request is being received, or an answer is being sent.
    Exchange(Millis),
    /// Before the first byte of the first request; `timeouts.head` since the accept ends then.
    First(Millis),
    /// Between two requests; the last answer is not known to have arrived yet.
    Settling(Millis),
    /// Between two requests, with everything acknowledged; T + grace ends then.
    Idle(Millis),
    /// The same, where T + grace closes nothing (`keep_alive.close = "pressure"`): it is a deadline
    /// only for a server that drains.
    Parked(Millis),
    /// The connection has ended for us; what the peer still sends is thrown away.
    Linger(Millis),
}

impl Deadline {
    /// The point in time.
    #[must_use]
    pub fn at(self) -> Millis {
        match self {
            Deadline::Exchange(at)
            | Deadline::First(at)
            | Deadline::Settling(at)
            | Deadline::Idle(at)
            | Deadline::Parked(at)
            | Deadline::Linger(at) => at,
        }
    }

    /// Whether the connection is between two requests, or before its first.
    #[must_use]
    pub fn is_between_requests(self) -> bool {
        matches!(
            self,
            Deadline::First(_) | Deadline::Settling(_) | Deadline::Idle(_) | Deadline::Parked(_)
        )
    }

    /// The deadline as a word; what is beyond the bits it has becomes "never".
    #[must_use]
    pub fn to_word(self) -> u64 {
        let kind = match self {
            Deadline::Exchange(_) => 0,
            Deadline::First(_) => FIRST,
            Deadline::Settling(_) => SETTLING,
            Deadline::Idle(_) => IDLE,
            Deadline::Parked(_) => PARKED,
            Deadline::Linger(_) => LINGER,
        };
        self.at().0.min(!KIND) | kind
    }

    /// The deadline that [`Deadline::to_word`] made a word of.
    #[must_use]
    pub fn from_word(word: u64) -> Deadline {
        let at = match word & !KIND {
            never if never == !KIND => Millis::NEVER,
            at => Millis(at),
        };
        match word & KIND {
            IDLE => Deadline::Idle(at),
            SETTLING => Deadline::Settling(at),
            PARKED => Deadline::Parked(at),
            LINGER => Deadline::Linger(at),
            FIRST => Deadline::First(at),
            _ => Deadline::Exchange(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_survives_as_a_word() {
        for at in [Millis(0), Millis(130_000), Millis(1 << 60), Millis::NEVER] {
            for deadline in [
                Deadline::Exchange(at),
                Deadline::First(at),
                Deadline::Settling(at),
                Deadline::Idle(at),
                Deadline::Parked(at),
                Deadline::Linger(at),
            ] {
                assert_eq!(Deadline::from_word(deadline.to_word()), deadline);
            }
        }
    }
}
