//! `[admin]`: the listener for metrics, health checks and the status page.

use super::listen::ListenAddress;

/// The section `[admin]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admin {
    /// Where the admin listener accepts. It is a loopback address or a unix socket, unless `public`.
    /// Default: none.
    pub listen: Option<ListenAddress>,
    /// Whether `listen` may be an address that other machines can reach. Default false.
    pub public: bool,
    /// Whether the pages show the addresses of clients. Default false.
    pub clients: bool,
    /// Whether the process was started with an admin listener (LISTEN_FDNAMES), so that there is one without
    /// `listen`. No key: the server sets it at its start, and it stays. Default false.
    pub is_inherited: bool,
}

impl Admin {
    /// Whether there is an admin listener.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.listen.is_some() || self.is_inherited
    }

    /// Whether other machines can reach `listen`.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.listen.as_ref().is_some_and(is_reachable)
    }
}

/// Whether other machines can reach `address`.
#[must_use]
pub fn is_reachable(address: &ListenAddress) -> bool {
    let address = address.tcp_address();
    address.is_some_and(|address| !address.ip().to_canonical().is_loopback())
}
