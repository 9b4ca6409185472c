//! From the site's response to bytes behind those that are collected already, and a line of the access
//! log.

use std::net::IpAddr;

use super::retirement::Retirement;
use super::state::{Delivery, Phase, Session};
use super::turn::Turn;
use crate::clock::Millis;
use crate::connection::access_log::line::{Line, Quoted};
use crate::connection::connection_id::ConnectionId;
use crate::connection::counters::CloseReason;
use crate::connection::desk::Desk;
use crate::connection::limits::guests::Guest;
use crate::connection::peer::Peer;
use crate::connection::service::Service;
use crate::connection::transport::Transport;
use crate::http::forwarded::is_trusted;
use crate::http::keep_alive::{self, Fate, Policy, ends_connection};
use crate::http::request::{Reject, RequestHead};
use crate::http::response::{Body, Response, encode_head};
use crate::http::status::Status;
use crate::http::version::Version;
use crate::site::pages;

/// A body up to this many bytes is copied behind its head: cheaper than a second part to send.
const COPY_BYTES: usize = 8 * 1024;

/// Bytes of a refused request that are searched for its first line.
const SEARCHED_BYTES: usize = 512;

impl Session {
    /// Whether one more request of `client` may be answered. A connection of its own was counted when
    /// it was accepted, and proxies are exempt.
    pub(super) fn is_admitted(
        &self,
        client: Peer,
        service: &Service,
        guests_of_turn: &mut Vec<Guest>,
    ) -> bool {
        let (Some(guests), Peer::Ip(address)) = (&service.guests, client) else {
            return true;
        };
        let is_proxy = |address: IpAddr| is_trusted(address, &service.config.trusted_proxies);
        client == self.peer || is_proxy(address) || guests.admit(address, guests_of_turn)
    }

    /// Whether the connection persists after this answer; if not, notes why. `retirement` is `None` if the
    /// answer stands in place of 100 (Continue): a body may follow it or not.
    pub(super) fn fate(
        &mut self,
        head: &RequestHead<'_, '_>,
        status: Status,
        service: &Service,
        retirement: Option<Retirement>,
    ) -> Fate {
        let Some(retirement) = retirement else {
            self.closing = Some(CloseReason::ErrorAnswer);
            return Fate::Close;
        };
        let ends_by_kind = ends_connection(head.method, status);
        if retirement == Retirement::PutOff {
            self.put_off += 1;
        } else {
            self.put_off = 0;
        }
        let keep_alive = &service.config.keep_alive;
        let max = keep_alive.max_requests;
        let policy = Policy {
            http10: keep_alive.http10,
            max_requests: max,
            closing: matches!(retirement, Retirement::Due(_)),
        };
        let fate = match keep_alive::decide(head, self.answered, &policy) {
            Fate::Persist { .. } if ends_by_kind => Fate::Close,
            fate => fate,
        };
        if fate == Fate::Close {
            self.closing = Some(match retirement {
                _ if ends_by_kind => CloseReason::ErrorAnswer,
                _ if head.connection.close => CloseReason::ClientAsked,
                // The client knew of these in advance.
                _ if head.version == Version::Http10 && !head.connection.keep_alive => {
                    CloseReason::ClientAsked
                }
                _ if self.answered + 1 >= max.get() => CloseReason::MaxRequests,
                Retirement::Due(reason) => reason,
                _ => CloseReason::ClientAsked,
            });
        }
        fate
    }

    /// The line of an answer that is about to be collected, after its fate is decided.
    pub(super) fn line<'q>(
        &self,
        connection: ConnectionId,
        quoted: Quoted<'q>,
        status: Status,
        now: Millis,
    ) -> Line<'q> {
        // A refusal answers no request.
        let number = match self.phase {
            Phase::Refused => 0,
            _ => self.answered + 1,
        };
        Line {
            quoted,
            connection,
            number,
            arrival: self.arrival(now),
            status,
        }
    }

    /// Puts an answer behind those collected before it and takes its request out of the buffer. Returns
    /// the body if it is to be sent after what is collected.
    pub(super) fn collect<T: Transport>(
        &mut self,
        response: Response,
        fate: Fate,
        consumed: usize,
        turn: &mut Turn<'_, T>,
    ) -> Option<Body> {
        let Desk {
            input,
            output,
            shared_lines,
            counters,
            ..
        } = &mut *turn.desk;
        let shared_lines = shared_lines.at(turn.now.unix_secs);
        encode_head(&response, shared_lines, fate, output);
        log::trace!(
            "{} for {}",
            response.status.code(),
            first_line(input.unread()).escape_ascii()
        );
        input.consume(consumed);
        // A refusal answers no request.
        if !matches!(self.phase, Phase::Refused) {
            self.answered += 1;
            counters.answered(1);
        }
        self.phase = Phase::Idle {
            since: turn.now.monotonic,
            delivery: Delivery::Fresh,
        };
        match response.body {
            Body::Empty => None,
            Body::Memory(content) if content.len() <= COPY_BYTES => {
                output.extend_from_slice(&content);
                None
            }
            body => Some(body),
        }
    }

    /// Collects an error answer after which the connection ends; what else was received is dropped.
    pub(super) fn reject<T: Transport>(
        &mut self,
        reject: &Reject,
        reason: CloseReason,
        turn: &mut Turn<'_, T>,
    ) {
        self.closing = Some(reason);
        let response = pages::rejected(reject).to(reject.method);
        let now = turn.now;
        let Desk {
            input,
            log,
            shared_lines,
            ..
        } = &mut *turn.desk;
        if let Some(log) = log {
            let quoted = Quoted::first_line(self.peer, first_line(input.unread()));
            let line = self.line(log.connection(), quoted, response.status, now.monotonic);
            let dated = shared_lines.at(now.unix_secs);
            log.begin(&line, response.body.len(), self.closing, dated);
        }
        let consumed = input.unread().len();
        // An error page is small enough to be copied, so there is no tail.
        let tail = self.collect(response, Fate::Close, consumed, turn);
        debug_assert!(tail.is_none(), "error pages are copied");
    }
}

/// The first line of a request, as far as it has come, without the empty lines before it.
fn first_line(unread: &[u8]) -> &[u8] {
    let start = unread
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n'))
        .unwrap_or(unread.len());
    let line = &unread[start..];
    let end = memchr::memchr2(b'\r', b'\n', line).unwrap_or(line.len().min(SEARCHED_BYTES));
    &line[..end]
}
