//! The other side of a connection.

use std::net::IpAddr;

/// The address of the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A TCP peer. IPv4-mapped IPv6 addresses are stored as IPv4.
    Ip(IpAddr),
    /// A peer on a unix socket has no address.
    Unix,
}
