//! The life of one connection, as a state table.
//!
//! | phase      | waits for                        | deadline                        | when it passes                     |
//! |------------|----------------------------------|---------------------------------|------------------------------------|
//! | `Idle`     | the first byte of a request      | T + grace, see `idle`           | FIN, then `Linger`                 |
//! | the first  | the first byte of all            | `timeouts.head` from the accept | close                              |
//! | `Head`     | the rest of a head               | `timeouts.head` from its start  | 408, then `Linger`                 |
//! | `Body`     | the rest of a body, to discard   | `timeouts.body` of no progress  | 408, then `Linger`                 |
//! | `Linger`   | the peer's FIN                   | `timeouts.linger`               | close                              |
//! | `Refused`  | its first turn                   | none                            | 503, then `Linger`                 |
//!
//! An idle connection goes before its deadline if its place is needed, but never before the T it was
//! told; with `keep_alive.close = "pressure"` it goes for no other reason.
//!
//! A drain, pressure and age end a connection with an answer that says `close` (`retirement`).
//!
//! In any phase but `Linger`, bytes that the socket did not take (`sending`) come first: reading
//! stops until they are gone, and `timeouts.write` without progress resets the connection.
//!
//! A thread gives a session a [`Turn`] whenever the socket may have become readable or writable, or
//! the deadline has passed; the session does what it can without waiting and says how it goes on.
//! It looks at the socket first and at the clock second: a byte that has arrived beats a deadline.
//!
//! `state` is what all the others work on. From the top down: `advance` gives a connection its turn,
//! `answer` finds the requests, `sending` puts the answers in order and hands them to the
//! socket; `idle`, `linger` and `retirement` end it. A test plays each row of the table.

mod advance;
mod answer;
mod idle;
mod linger;
mod retirement;
mod sending;
mod state;

#[cfg(test)]
mod tests;

pub use idle::{SILENT_AT_LIMIT_MILLIS, SILENT_MILLIS, evictable_at, silent_since};
pub use state::{Outcome, Session, Turn};
