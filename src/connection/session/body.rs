//! Request bodies: read within bounds, and thrown away. Nobody needs them on a static site.

use super::answer::{Answer, Step};
use super::{Phase, Session, Turn};
use crate::connection::access_log::journal::Arrival;
use crate::connection::counters::CloseReason;
use crate::connection::pace::Pace;
use crate::connection::transport::Transport;
use crate::http::body::BodyDecoder;
use crate::http::framing::Framing;
use crate::http::method::Method;
use crate::http::request::{Parsed, Reject, parse_head};
use crate::http::status::Status;

/// A body that is read and thrown away. The head stays in the buffer, before the body's bytes.
#[derive(Debug)]
pub(super) struct BodyInProgress {
    pub(super) method: Method,
    head_len: usize,
    decoder: BodyDecoder,
    pub(super) received: u64,
    pub(super) pace: Pace,
    /// When the head began to come.
    pub(super) arrival: Arrival,
}

impl Session {
    /// Takes note of a head of `head_len` bytes whose body comes next.
    pub(super) fn begin_body<T: Transport>(
        &mut self,
        framing: Framing,
        method: Method,
        head_len: usize,
        turn: &mut Turn<'_, T>,
    ) -> Step {
        match BodyDecoder::new(framing, turn.service.config.limits.body_bytes) {
            Ok(decoder) => {
                let now = turn.now.monotonic;
                let pace = Pace::start(0, now);
                let arrival = self.arrival(now);
                let body = BodyInProgress {
                    method,
                    head_len,
                    decoder,
                    received: 0,
                    pace,
                    // The body may come in another turn.
                    arrival: Arrival {
                        since: arrival.since.or(Some(now)),
                        ..arrival
                    },
                };
                self.phase = Phase::Body(Box::new(body));
                Step::BodyFollows
            }
            Err(reject) => {
                let method = Some(method);
                self.reject(&Reject { method, ..reject }, CloseReason::BadRequest, turn);
                Step::Answered(None)
            }
        }
    }

    /// Throws away what has come of a body; answers the request when it has come completely.
    pub(super) fn discard_body<T: Transport>(&mut self, turn: &mut Turn<'_, T>) -> Step {
        let Phase::Body(body) = &mut self.phase else {
            return Step::Starved;
        };
        let head_len = body.head_len;
        let input = &mut turn.desk.input;
        let method = Some(body.method);
        let decoded = match body.decoder.decode(&input.unread()[head_len..]) {
            Ok(decoded) => decoded,
            Err(reject) => {
                let reject = Reject { method, ..reject };
                self.reject(&reject, CloseReason::BadRequest, turn);
                return Step::Answered(None);
            }
        };
        input.remove(head_len, decoded.consumed);
        body.received += decoded.consumed as u64;
        body.pace.note(body.received, turn.now.monotonic);
        if !decoded.done {
            return Step::Starved;
        }
        let service = turn.service;
        let retirement = self.retirement(Some(head_len), turn);
        let (input, spans, mut tools) = turn.tools();
        // The head was kept in the buffer rather than copied; few requests here have a body.
        match parse_head(input.unread(), &service.head_limits(), spans) {
            Ok(Parsed::Complete { head, consumed }) => {
                let client = service.client(self.peer, &head.fields);
                let response = match self.respond(&head, client, &mut tools) {
                    Ok(response) => response,
                    Err(needs) => return turn.defer(needs),
                };
                let fate = self.fate(&head, response.status, service, retirement);
                let answer = Answer::new(&head, response, fate);
                self.record(&head, client, &answer, &mut tools);
                Step::Answered(self.collect(answer, consumed, turn))
            }
            // The same bytes were complete before.
            Ok(Parsed::Partial { .. }) | Err(_) => {
                let reject = Reject {
                    status: Status::INTERNAL_SERVER_ERROR,
                    reason: "The request could not be read twice.",
                    method: None,
                };
                self.reject(&reject, CloseReason::ErrorAnswer, turn);
                Step::Answered(None)
            }
        }
    }
}
