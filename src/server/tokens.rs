//! Tokens: numbers that the poll returns with each event, and that name the source of the event.
//!
//! A connection's token has its generation in the upper half and its slot in the lower half. The other
//! sources have higher numbers than any slot.

use mio::Token;

/// The token of the event loop's waker.
pub(super) const WAKER: Token = Token(u32::MAX as usize);
/// The token of the signals.
pub(super) const SIGNALS: Token = Token(u32::MAX as usize - 1);
const FIRST_LISTENER: usize = u32::MAX as usize - 1024;

/// The most listeners that tokens leave room for.
pub const MAX_LISTENERS: usize = 1022;

/// The token of the listener with this number.
pub(super) fn of_listener(number: usize) -> Token {
    Token(FIRST_LISTENER + number)
}

/// The number of the listener with this token; `None` if the token names something else.
pub(super) fn listener(token: Token) -> Option<usize> {
    (FIRST_LISTENER..SIGNALS.0)
        .contains(&token.0)
        .then(|| token.0 - FIRST_LISTENER)
}

/// The token of the connection with this `generation` in `slot`.
#[must_use]
pub fn of_connection(slot: u32, generation: u32) -> Token {
    Token((generation as usize) << 32 | slot as usize)
}

/// The inverse of [`of_connection`]; both halves are 32 bits wide.
#[allow(clippy::cast_possible_truncation)]
pub(super) fn slot_and_generation(token: Token) -> (u32, u32) {
    (token.0 as u32, (token.0 >> 32) as u32)
}

const _: () = assert!(usize::BITS == 64, "tokens hold a slot and a generation");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_slot_and_generation() {
        for (slot, generation) in [(0, 0), (7, u32::MAX), (1 << 24, 3)] {
            assert_eq!(
                slot_and_generation(of_connection(slot, generation)),
                (slot, generation)
            );
        }
    }

    #[test]
    fn a_token_of_a_listener_is_of_nothing_else() {
        assert_eq!(listener(of_listener(0)), Some(0));
        assert_eq!(listener(of_listener(MAX_LISTENERS)), Some(MAX_LISTENERS));
        assert_eq!(listener(SIGNALS), None);
        assert_eq!(listener(WAKER), None);
        assert_eq!(listener(of_connection(1 << 24, 0)), None);
    }
}
