//! `[tcp_keep_alive]`: the probes that find peers that are gone.

/// The section `[tcp_keep_alive]`.
#[derive(Debug, Clone, PartialEq)]
pub struct TcpKeepAlive {
    /// Seconds of silence before the first probe; 1 to 32767. Default 60.
    pub idle_secs: u32,
    /// Seconds between probes; 1 to 32767. Default 10.
    pub interval_secs: u32,
    /// Unanswered probes after which the kernel closes the connection; 1 to 127. Default 6.
    pub count: u32,
}

impl Default for TcpKeepAlive {
    fn default() -> TcpKeepAlive {
        TcpKeepAlive {
            idle_secs: 60,
            interval_secs: 10,
            count: 6,
        }
    }
}
