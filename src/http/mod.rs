//! HTTP/1.1 message syntax and semantics: pure, no I/O, no clock.
//!
//! The functions take bytes as slices and return values; their callers decide when to receive and send.
//! There is one strict dialect without leniency switches: any other input is a [`reject::Reject`].
//!
//! The modules in reading order: [`request`] parses a head, [`framing`] determines how the body is delimited,
//! [`body`] finds its end, and [`target`] converts the request target to a file name. [`accept`] and
//! [`accept_encoding`] select the media type and content coding, [`preconditions`] decides between 200, 304
//! and 412, and [`keep_alive`] decides whether the connection persists. [`proxy_protocol`] parses the header
//! with which a proxy may begin a connection.

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
pub mod proxy_protocol;
mod quality;
pub mod range;
pub mod reject;
pub mod request;
pub mod response;
pub mod scheme;
pub mod status;
pub mod target;
pub mod version;
