//! Protocol versions (RFC 9110 section 2.5).

/// The HTTP version by which a request is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Version {
    /// HTTP/1.0: the connection persists only if the client asks.
    Http10,
    /// HTTP/1.1. A later minor version of 1 is answered as 1.1.
    #[default]
    Http11,
}
