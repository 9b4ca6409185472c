//! `[shutdown]`: the orderly stop of the server.

/// The section `[shutdown]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Shutdown {
    /// Seconds after SIGTERM for which new connections are still accepted; 0 to 2^31-1. Default 0.
    pub accept_for_secs: u32,
    /// Seconds after `accept_for_secs` for which TCP handshakes that have begun may complete; 0 to 60, where
    /// 0 closes the listeners at once. Default 1.
    pub handshakes_secs: u32,
    /// The path of the health check, decoded and normalised. It is answered with 200, and with 503 from
    /// the beginning of the drain. Default: none.
    pub health: Option<String>,
    /// Seconds after `accept_for_secs` at which connections that are still open are closed; 0 to 2^31-1.
    /// Default: timeout + grace, 130 unless those are set.
    pub drain_secs: u32,
}

impl Default for Shutdown {
    fn default() -> Shutdown {
        Shutdown {
            accept_for_secs: 0,
            handshakes_secs: 1,
            health: None,
            drain_secs: 130,
        }
    }
}
