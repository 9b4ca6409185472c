//! What the access log and the limits per address want to know: who the client is, when its request
//! began to come, and what became of the answer.

use std::net::IpAddr;

use super::answer::{Answer, Step};
use super::{Phase, Session, Turn};
use crate::clock::{Millis, Now};
use crate::connection::access_log::journal::{Arrival, Journal};
use crate::connection::access_log::line::Line;
use crate::connection::counters::CloseReason;
use crate::connection::desk::{Desk, Input};
use crate::connection::limits::guests::Guest;
use crate::connection::output::Unsent;
use crate::connection::peer::Peer;
use crate::connection::service::Service;
use crate::http::fields::FieldSpan;
use crate::http::forwarded::is_trusted;
use crate::http::method::Method;
use crate::http::request::{Reject, RequestHead};
use crate::http::response::Response;
use crate::http::shared_lines::SharedLines;
use crate::http::status::Status;
use crate::site::{NeedsDisk, Reach, pages};

/// Bytes of a refused request that are searched for its first line.
const SEARCHED_BYTES: usize = 512;

/// What answering takes, besides the head that is answered and the buffers that it borrows.
pub(super) struct Tools<'t> {
    path: &'t mut Vec<u8>,
    guests: &'t mut Vec<Guest>,
    log: &'t mut Option<Journal>,
    shared_lines: &'t mut SharedLines,
    service: &'t Service,
    pub(super) reach: Reach,
    pub(super) now: Now,
}

impl<T> Turn<'_, T> {
    /// The received bytes, the buffer for the places of field lines, and the rest.
    pub(super) fn tools(&mut self) -> (&mut Input, &mut Vec<FieldSpan>, Tools<'_>) {
        let Desk {
            input,
            spans,
            path,
            guests,
            log,
            shared_lines,
            ..
        } = &mut *self.desk;
        let tools = Tools {
            path,
            guests,
            log,
            shared_lines,
            service: self.service,
            reach: self.reach,
            now: self.now,
        };
        (input, spans, tools)
    }

    /// Leaves the request at hand unanswered, and says what for.
    pub(super) fn defer(&mut self, needs: NeedsDisk) -> Step {
        self.desk.awaited = match needs {
            NeedsDisk::OutOfReach => None,
            NeedsDisk::UnderWay(errand) => Some(errand),
        };
        Step::Deferred
    }
}

impl Session {
    /// The site's answer to a request of `client`, or a refusal if too many of its requests are being
    /// answered.
    ///
    /// # Errors
    /// [`NeedsDisk`], for [`Turn::defer`].
    pub(super) fn respond(
        &self,
        head: &RequestHead<'_, '_>,
        client: Peer,
        tools: &mut Tools<'_>,
    ) -> Result<Response, NeedsDisk> {
        if !self.is_admitted(client, tools) {
            let reason = "Too many requests of this client are being answered.";
            return Ok(pages::rejected(&Reject::new(
                Status::SERVICE_UNAVAILABLE,
                reason,
            )));
        }
        let Tools {
            path,
            service,
            reach,
            now,
            ..
        } = tools;
        service.sites.respond(head, path, *reach, *now)
    }

    /// Whether one more request of `client` may be answered. A connection of its own was counted when
    /// it was accepted, and proxies are exempt.
    fn is_admitted(&self, client: Peer, tools: &mut Tools<'_>) -> bool {
        let service = tools.service;
        let (Some(guests), Peer::Ip(address)) = (&service.guests, client) else {
            return true;
        };
        let is_proxy = |address: IpAddr| is_trusted(address, &service.config.trusted_proxies);
        client == self.peer || is_proxy(address) || guests.admit(address, tools.guests)
    }

    /// Takes note that a request has begun to come and is not answered in this turn.
    pub(super) fn note_begun(&mut self, method: Option<Method>, now: Millis) {
        let Arrival { since, idle_millis } = self.arrival(now);
        self.phase = Phase::Head {
            since: since.unwrap_or(now),
            idle_millis: u32::try_from(idle_millis).unwrap_or(u32::MAX),
            method,
        };
    }

    /// When the request at hand began to come.
    pub(super) fn arrival(&self, now: Millis) -> Arrival {
        match &self.phase {
            Phase::Idle { since, .. } => Arrival {
                since: None,
                idle_millis: now.since(*since),
            },
            Phase::Head {
                since, idle_millis, ..
            } => Arrival {
                since: Some(*since),
                idle_millis: u64::from(*idle_millis),
            },
            Phase::Body(body) => body.arrival,
            Phase::Linger(_) | Phase::Refused => Arrival {
                since: None,
                idle_millis: 0,
            },
        }
    }

    /// Begins the line for an answer that is about to be collected, after its fate is decided.
    pub(super) fn record(
        &self,
        head: &RequestHead<'_, '_>,
        client: Peer,
        answer: &Answer,
        tools: &mut Tools<'_>,
    ) {
        let Some(log) = tools.log else { return };
        let has_fields = log.quotes_fields();
        let field = |name| has_fields.then(|| head.fields.first(name)).flatten();
        let line = Line {
            host: head.host,
            referer: field("referer"),
            user_agent: field("user-agent"),
            ..self.line(client, head.request_line, answer, log)
        };
        self.begin_line(&line, answer, log, tools.shared_lines, tools.now);
    }

    /// The same for a request without a valid head: what is known of it is its first line.
    pub(super) fn record_unread<T>(&self, answer: &Answer, turn: &mut Turn<'_, T>) {
        let (input, _, tools) = turn.tools();
        let Some(log) = tools.log else { return };
        let line = self.line(self.peer, first_line(input.unread()), answer, log);
        self.begin_line(&line, answer, log, tools.shared_lines, tools.now);
    }

    fn line<'l>(
        &self,
        client: Peer,
        request_line: &'l [u8],
        answer: &Answer,
        log: &Journal,
    ) -> Line<'l> {
        // A refusal answers no request.
        let number = match self.phase {
            Phase::Refused => 0,
            _ => self.answered + 1,
        };
        Line {
            client,
            connection: log.connection(),
            number,
            idle_millis: 0,
            request_line,
            host: None,
            referer: None,
            user_agent: None,
            status: answer.response.status,
        }
    }

    fn begin_line(
        &self,
        line: &Line<'_>,
        answer: &Answer,
        log: &mut Journal,
        shared_lines: &mut SharedLines,
        now: Now,
    ) {
        let arrival = self.arrival(now.monotonic);
        let line = Line {
            idle_millis: arrival.idle_millis,
            ..*line
        };
        let second = (now.unix_secs, shared_lines.at(now.unix_secs).date());
        log.begin(&line, arrival, answer.body.len(), self.closing, second);
    }
}

/// Ends the line of a body that was sent over several turns, with the bytes that really went.
pub(super) fn end_body(unsent: Unsent, close: Option<CloseReason>, desk: &mut Desk) {
    if let (Some(postponed), Some(log)) = (unsent.log, &mut desk.log) {
        log.resume(postponed, unsent.body.len(), close);
    }
}

/// The first line of a request, as far as it has come, without the empty lines before it.
pub(super) fn first_line(unread: &[u8]) -> &[u8] {
    let start = unread
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n'))
        .unwrap_or(unread.len());
    let line = &unread[start..];
    let end = memchr::memchr2(b'\r', b'\n', line).unwrap_or(line.len().min(SEARCHED_BYTES));
    &line[..end]
}
