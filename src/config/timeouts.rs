//! `[timeouts]`: time limits for sending and receiving of a peer.

/// The section `[timeouts]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeouts {
    /// Seconds from the accept to the end of the TLS handshake; 1 to 86400. Default 10.
    pub handshake_secs: u32,
    /// Seconds from the first byte of a request to the end of its head; 1 to 86400. Default 20.
    pub head_secs: u32,
    /// Seconds without progress while a request body is read; 1 to 86400. Default 20.
    pub body_secs: u32,
    /// Seconds without progress while a response is sent; 1 to 86400. Default 30.
    pub write_secs: u32,
    /// Seconds that a closed connection still receives, so that its last response is not lost; 1 to 60.
    /// Default 5.
    pub linger_secs: u32,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            handshake_secs: 10,
            head_secs: 20,
            body_secs: 20,
            write_secs: 30,
            linger_secs: 5,
        }
    }
}
