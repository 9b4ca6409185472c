//! How the server negotiates TLS.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::{NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::version::{TLS12, TLS13};
use rustls::{Error, ServerConfig};

/// The tickets for resumption that a client of TLS 1.3 gets after a handshake. A client uses each for one connection
/// only (RFC 8446 appendix C.4), and browsers open several. Each costs 250 bytes of the connection's first flight.
const TLS13_TICKETS: usize = 2;

/// Makes the keys of session tickets. The ticketer makes a new key every 6 hours and accepts the last one for 6 hours
/// more, so a stolen key opens at most 12 hours of connections (of TLS 1.2 only: in TLS 1.3 each resumption exchanges
/// keys again).
///
/// # Errors
/// If the random generator of the machine fails.
pub(super) fn ticketer() -> Result<Arc<dyn ProducesTickets>, Error> {
    Ticketer::new()
}

/// The settings for TLS 1.2 and 1.3. The cipher suites are those of Mozilla's intermediate configuration that have
/// ECDHE, which are all that rustls has. X25519MLKEM768 is preferred, then X25519, P-256 and P-384.
///
/// Tickets hold the whole session, so the server stores none. A ticket serves only the name (SNI) that it was issued
/// for, or no name if it was issued without one: rustls compares the two before it resumes (RFC 6066 section 3). No
/// request is accepted as early data, because an attacker could repeat it (RFC 8446 section 8).
///
/// # Errors
/// If the provider has no cipher suite for one of the versions, which only a change of rustls could bring about.
pub(super) fn server_config(
    resolver: Arc<dyn ResolvesServerCert>,
    ticketer: Arc<dyn ProducesTickets>,
) -> Result<Arc<ServerConfig>, Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let mut config = builder
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = ticketer;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = TLS13_TICKETS;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}
