//! The other side of a connection.

use std::net::IpAddr;

/// The address of the other side. Behind a proxy that speaks the PROXY protocol, this is the client that its
/// header names, as if that client had connected itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A TCP peer. IPv4-mapped IPv6 addresses are stored as IPv4.
    Ip(IpAddr),
    /// A peer on a unix socket has no address.
    Unix,
}
