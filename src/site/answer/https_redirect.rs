//! The redirect of plain requests to https (`https_redirect`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::config::ListenAddress;
use crate::http::request::RequestHead;
use crate::http::response::Response;
use crate::http::status::Status;
use crate::http::target::{encode_path, encode_query, host_of};
use crate::site::pages;

/// The directory of the challenges of certificate authorities, which ask for them over plain HTTP (RFC 8555 section
/// 8.3). Without an answer there, a site without a valid certificate could get no new one.
const CHALLENGES: &[u8] = b"/.well-known/acme-challenge/";

/// The default port of https, which a URI leaves out (RFC 9110 section 4.2.2).
const DEFAULT_PORT: u16 = 443;

/// The port to which plain requests are redirected: that of the first address with TLS.
#[derive(Debug)]
pub struct HttpsPort(AtomicU16);

impl HttpsPort {
    /// The port in `addresses`.
    #[must_use]
    pub fn new(addresses: &[ListenAddress]) -> HttpsPort {
        HttpsPort(AtomicU16::new(port_of(addresses)))
    }

    /// Takes the port from other `addresses`.
    pub fn note(&self, addresses: &[ListenAddress]) {
        self.0.store(port_of(addresses), Ordering::Relaxed);
    }
}

/// The port of the first address with TLS. It is 0 if there is none, or if the kernel has not picked it yet.
fn port_of(addresses: &[ListenAddress]) -> u16 {
    let mut of_tls = addresses.iter().filter(|address| address.tls);
    let address = of_tls.find_map(ListenAddress::tcp_address);
    address.map_or(0, |address| address.port())
}

/// The redirect of a site.
#[derive(Debug)]
pub struct HttpsRedirect {
    port: Arc<HttpsPort>,
}

impl HttpsRedirect {
    /// A redirect to `port`.
    #[must_use]
    pub fn new(port: Arc<HttpsPort>) -> HttpsRedirect {
        HttpsRedirect { port }
    }

    /// The response to the plain request `head` for the decoded `path` with this `query`; `None` for a challenge
    /// of a certificate authority.
    #[must_use]
    pub fn respond(
        &self,
        head: &RequestHead<'_, '_>,
        path: &[u8],
        query: Option<&[u8]>,
    ) -> Option<Response> {
        if path.starts_with(CHALLENGES) {
            return None;
        }
        let Some(host) = head.host else {
            // Only HTTP/1.0 allows that. The page itself would be sent in the clear, which the operator does not
            // want, and a host that the server guessed might not be one of its certificate. 421 says that the
            // server does not answer for the http URI (RFC 9110 section 15.5.20).
            return Some(pages::error(
                Status::MISDIRECTED_REQUEST,
                "This site is served over https only, and the request names no host for a redirect.",
            ));
        };
        let location = self.location(host_of(host), path, query);
        Some(pages::moved(Status::PERMANENT_REDIRECT, &location))
    }

    /// The https URI of the decoded `path` at `host`.
    fn location(&self, host: &[u8], path: &[u8], query: Option<&[u8]>) -> String {
        let mut location = Vec::with_capacity(host.len() + path.len() + 16);
        location.extend_from_slice(b"https://");
        location.extend_from_slice(host);
        match self.port.0.load(Ordering::Relaxed) {
            0 | DEFAULT_PORT => {}
            port => location.extend_from_slice(format!(":{port}").as_bytes()),
        }
        encode_path(path, &mut location);
        if let Some(query) = query {
            location.push(b'?');
            encode_query(query, &mut location);
        }
        // The parser accepts ASCII only in a host, and the other parts are encoded.
        String::from_utf8_lossy(&location).into_owned()
    }
}

#[cfg(test)]
mod tests;
