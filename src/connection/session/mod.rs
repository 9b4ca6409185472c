//! The life of one connection, as a state table.
//!
//! | phase         | waits for                        | deadline                        | when it passes     |
//! |---------------|----------------------------------|---------------------------------|--------------------|
//! | `ProxyHeader` | the proxy's header               | 5 seconds from the accept       | close              |
//! | `Handshake`   | the peer's part of the handshake | `timeouts.handshake` from the accept | close           |
//! | `Idle`        | the first byte of a request      | T + grace, see `idle`           | FIN, then `Linger` |
//! | the first     | the first byte of the connection | `timeouts.head` from the accept | close              |
//! | `Head`        | the rest of a head               | `timeouts.head` from its start  | 408, then `Linger` |
//! | `Body`        | the rest of a body, to discard   | `timeouts.body` of no progress  | 408, then `Linger` |
//! | `Linger`      | the peer's FIN                   | `timeouts.linger`               | close              |
//! | `Refused`     | its first turn                   | none                            | 503, then `Linger` |
//!
//! A connection begins with `ProxyHeader` if its listener expects the PROXY protocol (`proxy_header`), and with
//! `Handshake` if its listener has TLS (`handshake`). Over TLS, its first request may take `timeouts.head` from the end
//! of the handshake, a request has begun when a part of its record has come, and a refused connection gets no 503,
//! because that would need a handshake.
//!
//! A client that has said `close` itself, and got a small response, is not waited for: its connection closes without
//! `Linger`.
//!
//! Under pressure an idle connection closes before its deadline, but never before the promised T. With
//! `keep_alive.close = "pressure"` it closes for no other reason while the server serves.
//!
//! A drain, pressure and age end a connection with a response that says `close` (`server_close`).
//!
//! In any phase but `Linger`, bytes that the socket did not take (`sending`) come first: reading
//! stops until they are sent, and `timeouts.write` without progress resets the connection.
//!
//! A thread gives a session a [`Turn`] when the socket may be readable or writable, or the deadline has
//! passed. The session does all that is possible without waiting, and returns an [`Outcome`]. It checks
//! the socket before the clock, so a byte that has arrived in time is not lost to a deadline.
//!
//! All modules work on `state`. From the top down: `advance` gives a connection its turn, `answer` finds
//! the requests, `sending` collects the responses and sends them; `idle`, `linger` and `server_close` end
//! the connection. `proxy_header` and `handshake` come before all of that. A test plays each row of the table.

mod advance;
mod answer;
mod handshake;
mod idle;
mod linger;
mod promise;
mod proxy_header;
mod sending;
mod server_close;
mod state;

#[cfg(test)]
mod tests;

pub use idle::{SILENT_AT_LIMIT_MILLIS, SILENT_MILLIS, evictable_at, silent_since};
pub use state::{Outcome, PROXY_HEADER_SECS, Session, SessionFigures, Turn};
