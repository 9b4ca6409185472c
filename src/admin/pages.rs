//! From the request of an admin client to its response.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::connections::{self, ConnectionsQuery};
use super::figures::Figures;
use super::history::History;
use super::process::ProcessFiles;
use super::{metrics, status_json, status_page};
use crate::clock::Now;
use crate::config::{Admin, ListenAddress};
use crate::connection::server_context::Mode;
use crate::http::accept;
use crate::http::fields::FieldSpan;
use crate::http::keep_alive::Persistence;
use crate::http::method::Method;
use crate::http::request::{HeadLimits, Parsed, Reject, RequestHead, parse_head};
use crate::http::response::{Body, Response, SharedLines, encode_head};
use crate::http::status::Status;
use crate::http::target::Target;
use crate::server::shared::Shared;

/// The limits of a request. Browsers send fields of two kilobytes.
const LIMITS: HeadLimits = HeadLimits {
    target_bytes: 1024,
    head_bytes: 8192,
    headers: 64,
};

/// The fields of every response. Nothing here may be kept, and no other site may read or embed it.
const COMMON_FIELDS: &str = "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
    Referrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n\
    X-Frame-Options: DENY\r\n";

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The sources of the figures on the admin pages, and the pages made of them. Only the admin thread uses it.
#[derive(Debug)]
pub struct Pages {
    all: Arc<[Arc<Shared>]>,
    history: History,
    process: ProcessFiles,
    /// Whether requests must name the server by an IP address or as localhost.
    checks_host: bool,
    /// When the clock of the server began, in seconds since 1970-01-01 UTC.
    started_unix_secs: u64,
    shared_lines: SharedLines,
    spans: Vec<FieldSpan>,
}

/// A body and its type.
struct Page {
    status: Status,
    content_type: &'static str,
    body: String,
    /// Further field lines.
    fields: String,
}

impl Page {
    fn new(status: Status, content_type: &'static str, body: impl Into<String>) -> Page {
        Page {
            status,
            content_type,
            body: body.into(),
            fields: String::new(),
        }
    }
}

impl Pages {
    /// Pages about the server whose event loops are `all`. The admin listener is at `own`.
    #[must_use]
    pub fn new(all: Arc<[Arc<Shared>]>, own: &ListenAddress, process: ProcessFiles) -> Pages {
        let timeout_secs = all[0].config.get().context.config.keep_alive.timeout_secs;
        let is_loopback = |address: SocketAddr| address.ip().to_canonical().is_loopback();
        let is_loopback = own.tcp_address().is_some_and(is_loopback);
        let now = all[0].clock.now();
        Pages {
            started_unix_secs: now.unix_secs.saturating_sub(now.monotonic.0 / 1_000),
            history: History::default(),
            process,
            checks_host: is_loopback,
            // No response persists, so T is not sent.
            shared_lines: SharedLines::new(timeout_secs),
            spans: Vec::with_capacity(LIMITS.headers),
            all,
        }
    }

    /// The settings in force.
    fn admin(&self) -> Admin {
        self.all[0].config.get().context.config.admin.clone()
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Now {
        self.all[0].clock.now()
    }

    /// The monotonic clock in microseconds.
    #[must_use]
    pub fn micros(&self) -> u64 {
        self.all[0].clock.micros()
    }

    /// Adds a sample to the history.
    pub fn sample(&mut self) {
        self.history.sample(&self.all, self.now());
    }

    /// The response to the bytes received from a client; `None` if its request is incomplete.
    pub fn answer(&mut self, received: &[u8]) -> Option<Vec<u8>> {
        let mut spans = std::mem::take(&mut self.spans);
        let (content, method) = match parse_head(received, &LIMITS, &mut spans) {
            Ok(Parsed::Partial { .. }) => {
                self.spans = spans;
                return None;
            }
            Ok(Parsed::Complete { head, .. }) => (self.respond(&head), Some(head.method)),
            Err(Reject {
                status,
                reason,
                method,
            }) => (Page::new(status, TEXT, format!("{reason}\n")), method),
        };
        self.spans = spans;
        Some(self.encode(content, method))
    }

    fn encode(&mut self, content: Page, method: Option<Method>) -> Vec<u8> {
        let Page {
            status,
            content_type,
            body,
            fields,
        } = content;
        let fields = format!("Content-Type: {content_type}\r\n{COMMON_FIELDS}{fields}");
        let response = Response {
            status,
            fields: fields.into(),
            length: Some(body.len() as u64),
            body: Body::Memory(Bytes::from(body)),
        };
        let response = response.to(method);
        let unix_secs = self.now().unix_secs;
        let mut out = Vec::new();
        let shared_lines = self.shared_lines.at(unix_secs);
        encode_head(&response, shared_lines, Persistence::Close, &mut out);
        if let Body::Memory(body) = &response.body {
            out.extend_from_slice(body);
        }
        out
    }

    fn respond(&mut self, head: &RequestHead<'_, '_>) -> Page {
        if self.checks_host && !is_named_directly(head.host) {
            let reason = "Name this server by an IP address or as localhost.\n";
            return Page::new(Status::MISDIRECTED_REQUEST, TEXT, reason);
        }
        if !matches!(head.method, Method::Get | Method::Head) {
            let refused = Page::new(Status::METHOD_NOT_ALLOWED, TEXT, "Only GET and HEAD.\n");
            let fields = "Allow: GET, HEAD\r\n".to_owned();
            return Page { fields, ..refused };
        }
        let Target::Path { path, query } = head.target else {
            return Page::new(Status::BAD_REQUEST, TEXT, "There is no path.\n");
        };
        match path {
            b"/" => self.status_page(),
            b"/metrics" => {
                let offers = ["text/plain", "application/openmetrics-text"];
                let is_open = accept::preferred(&head.fields, &offers) == 1;
                let text = metrics::text(&self.figures(), is_open);
                Page::new(
                    Status::OK,
                    if is_open { OPEN_METRICS } else { PROMETHEUS },
                    text,
                )
            }
            b"/live" => Page::new(Status::OK, TEXT, "live\n"),
            b"/ready" => match self.all[0].config.get().context.mode() {
                Mode::Serving => Page::new(Status::OK, TEXT, "ready\n"),
                _ => Page::new(Status::SERVICE_UNAVAILABLE, TEXT, "leaving\n"),
            },
            b"/status.json" => {
                let figures = self.figures();
                let status = status_json::value(&figures, &self.history, &self.admin());
                Page::new(Status::OK, JSON, format!("{status}\n"))
            }
            b"/connections.json" => match ConnectionsQuery::parse(query.unwrap_or_default()) {
                Ok(query) => {
                    let list = connections::list(&self.all, &query, self.admin().clients);
                    Page::new(Status::OK, JSON, format!("{list}\n"))
                }
                Err(reason) => Page::new(Status::BAD_REQUEST, TEXT, format!("{reason}\n")),
            },
            _ => Page::new(Status::NOT_FOUND, TEXT, "There is no such page.\n"),
        }
    }

    fn figures(&self) -> Figures {
        Figures {
            longest_turn_micros: self.history.longest_turn_micros(),
            started_unix_secs: self.started_unix_secs,
            ..Figures::read(&self.all, &self.process)
        }
    }

    fn status_page(&self) -> Page {
        let nonce = status_page::nonce();
        let page = status_page::html(&self.figures(), &self.history, &self.admin(), &nonce);
        let fields = format!(
            "Content-Security-Policy: default-src 'none'; script-src 'nonce-{nonce}'; \
             style-src 'nonce-{nonce}'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'\r\n"
        );
        let content = Page::new(Status::OK, "text/html; charset=utf-8", page);
        Page { fields, ..content }
    }
}

/// Whether `host`, a valid value of Host, is an IP address or localhost, or missing. A web page on another
/// name can make that name lead to this machine; its requests then still carry that name.
fn is_named_directly(host: Option<&[u8]>) -> bool {
    let Some(host) = host else {
        return true;
    };
    let Ok(host) = std::str::from_utf8(host) else {
        return false;
    };
    if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address.parse::<IpAddr>().is_ok();
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_name_a_loopback_listener() {
        for host in [
            "127.0.0.1:9080",
            "127.0.0.1",
            "[::1]:9080",
            "localhost:9080",
            "LOCALHOST",
        ] {
            assert!(is_named_directly(Some(host.as_bytes())), "{host}");
        }
        assert!(is_named_directly(None));
        for host in [
            "rebound.example:9080",
            "localhost.example",
            "127.0.0.1.example",
            "[x]:1",
            "",
        ] {
            assert!(!is_named_directly(Some(host.as_bytes())), "{host}");
        }
    }
}
