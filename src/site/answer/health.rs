//! The health check of a load balancer (`shutdown.health`): whether it may go on sending connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::config::Shutdown;
use crate::http::method::Method;
use crate::http::response::{Body, Response};
use crate::http::status::Status;

/// No cache may keep the response, because it is only true now (RFC 9111 section 5.2.2.5).
const FIELDS: &str = "Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n\
                      X-Content-Type-Options: nosniff\r\n";

/// The path of the health check, and whether the server is shutting down.
#[derive(Debug)]
pub struct Health {
    /// Decoded and normalised, like the paths that it is compared with.
    path: Box<[u8]>,
    is_leaving: AtomicBool,
}

impl Health {
    /// Makes the health check of a running server; `None` if no path is configured for it.
    #[must_use]
    pub fn new(shutdown: &Shutdown) -> Option<Arc<Health>> {
        let path = shutdown.health.as_deref()?;
        Some(Arc::new(Health {
            path: path.as_bytes().into(),
            is_leaving: AtomicBool::new(false),
        }))
    }

    /// Makes the health check report that the server is shutting down.
    pub fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    /// The response to a request for `path`, decoded and normalised, if that is the path of the health
    /// check.
    ///
    /// OPTIONS gets the same response as GET, because HAProxy uses OPTIONS by default. Other methods are
    /// left to the site, which refuses them.
    #[must_use]
    pub fn respond(&self, method: Method, path: &[u8]) -> Option<Response> {
        if path != &*self.path || !matches!(method, Method::Get | Method::Head | Method::Options) {
            return None;
        }
        let (status, text) = if self.is_leaving.load(Ordering::Relaxed) {
            (Status::SERVICE_UNAVAILABLE, "leaving\n")
        } else {
            (Status::OK, "serving\n")
        };
        Some(Response {
            status,
            fields: Bytes::from_static(FIELDS.as_bytes()),
            length: Some(text.len() as u64),
            body: Body::Memory(Bytes::from_static(text.as_bytes())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_is_answered_at_its_path_for_methods_that_read() {
        let mut shutdown = crate::config::Config::default().shutdown;
        assert!(Health::new(&shutdown).is_none());
        shutdown.health = Some("/health".to_owned());
        let health = Health::new(&shutdown).expect("a path");
        let status = |method, path: &str| {
            let response = health.respond(method, path.as_bytes());
            response.map(|response| response.status.code())
        };
        let readers = [Method::Get, Method::Head, Method::Options];
        assert_eq!(
            readers.map(|method| status(method, "/health")),
            [Some(200); 3]
        );
        for path in ["/", "/healt", "/health/", "/healthy", "/Health"] {
            assert_eq!(status(Method::Get, path), None, "{path}");
        }
        assert_eq!(status(Method::Post, "/health"), None);
        health.leave();
        assert_eq!(
            readers.map(|method| status(method, "/health")),
            [Some(503); 3]
        );
        assert_eq!(status(Method::Get, "/"), None);
    }
}
