//! `[limits]`: bounds on what a peer may send and on how many peers there are.

/// The section `[limits]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Open connections; 0 to 16777216, where 0 means as many as the descriptor limit allows, less a
    /// reserve. Default 0.
    pub connections: usize,
    /// Open connections from one IP address; 0 to 16777216, where 0 means no limit. Default 0.
    pub connections_per_ip: usize,
    /// TLS handshakes under way; 1 to 1048576. If a client begins one more, the one that began first is
    /// given up. Default 2048.
    pub handshakes: usize,
    /// Bits of an IPv6 address that tell one client from another for `connections_per_ip`; 1 to 128.
    /// Default 64.
    pub ipv6_prefix: u8,
    /// Bytes of the request target; 64 to `head_bytes`. Default 8192.
    pub target_bytes: usize,
    /// Bytes of the whole request head; 1024 to 1048576. Default 32768.
    pub head_bytes: usize,
    /// Field lines in a request head; 1 to 1000. Default 100.
    pub headers: usize,
    /// Bytes of a request body that are read and thrown away; 0 to 2^40. Default 1048576.
    pub body_bytes: u64,
    /// Bytes per second that a peer must send or receive, averaged over a minute; 0 to 2^30, where 0 means
    /// no minimum. Default 1024.
    pub min_rate: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 0,
            connections_per_ip: 0,
            handshakes: 2048,
            ipv6_prefix: 64,
            target_bytes: 8192,
            head_bytes: 32_768,
            headers: 100,
            body_bytes: 1_048_576,
            min_rate: 1024,
        }
    }
}
