//! The schemes of URIs that this server answers for (RFC 9110 section 4.2).

/// The scheme by which a request came.
///
/// Only the connection counts: one over TLS to this server is [`Https`](Scheme::Https). The fields with which a proxy
/// says how its client came, as X-Forwarded-Proto, are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Scheme {
    /// `http`: the connection is plain.
    #[default]
    Http,
    /// `https`: the connection is secured by TLS.
    Https,
}
