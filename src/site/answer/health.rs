//! The path that a load balancer asks whether it may go on sending connections (`shutdown.health`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::config::Shutdown;
use crate::http::method::Method;
use crate::http::response::{Body, Response};
use crate::http::status::Status;

/// No cache may keep the answer: it is about this moment (RFC 9111 section 5.2.2.5).
const FIELDS: &str = "Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n\
                      X-Content-Type-Options: nosniff\r\n";

/// Whether the server is leaving, and where that is told.
#[derive(Debug)]
pub struct Health {
    /// Decoded and normalised, as the paths that it is compared with.
    path: Box<[u8]>,
    is_leaving: AtomicBool,
}

impl Health {
    /// The health of a server that stays; `None` if nobody can ask for it.
    #[must_use]
    pub fn new(shutdown: &Shutdown) -> Option<Arc<Health>> {
        let path = shutdown.health.as_deref()?;
        Some(Arc::new(Health {
            path: path.as_bytes().into(),
            is_leaving: AtomicBool::new(false),
        }))
    }

    /// From now on the server is leaving.
    pub fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    /// The answer to a request for `path`, decoded and normalised, if that is where health is told.
    ///
    /// OPTIONS is answered as GET is: it is what HAProxy asks with unless it is told otherwise. Other
    /// methods are left to the site, which refuses them.
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
    fn it_is_told_at_its_path_and_to_those_who_read() {
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
        assert_eq!(status(Method::RevalidatorRole, "/health"), None);
        health.leave();
        assert_eq!(
            readers.map(|method| status(method, "/health")),
            [Some(503); 3]
        );
        assert_eq!(status(Method::Get, "/"), None);
    }
}
