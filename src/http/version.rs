//! Protocol versions (RFC 9110 section 2.5).

/// The version a request is treated as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Version {
    /// HTTP/1.0: persists only when asked to.
    Http10,
    /// HTTP/1.1, and any later minor version of 1, which is answered as 1.1.
    #[default]
    Http11,
}
