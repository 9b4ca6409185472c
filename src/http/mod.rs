//! HTTP/1.1 message syntax and semantics: pure, no I/O, no clock.
//!
//! Bytes come in as slices, answers go out as values; whoever calls decides when to read and send.
//! One strict dialect, no leniency switches: what is not in the grammar is a [`reject::Reject`].
//!
//! The modules in reading order: [`request`] reads a head, [`framing`] says how its body is
//! delimited, [`body`] finds the end of that, [`target`] turns the request target into a file name, [`accept`] and
//! [`accept_encoding`] say in which form the client wants it, [`preconditions`] decides between 200,
//! 304 and 412, and [`keep_alive`] whether the connection persists.

pub mod accept;
pub mod accept_encoding;
pub mod body;
pub mod cache_control;
pub mod date;
pub mod fields;
pub mod forwarded;
pub mod framing;
mod grammar;
pub mod keep_alive;
pub mod method;
pub mod preconditions;
mod quality;
pub mod range;
pub mod reject;
pub mod request;
pub mod response;
pub mod status;
pub mod target;
pub mod version;
