//! Handing collected answers to the socket, and what becomes of those that it does not take.

use std::io;

use super::state::Session;
use super::turn::Turn;
use crate::connection::access_log::journal::Journal;
use crate::connection::counters::CloseReason;
use crate::connection::desk::Desk;
use crate::connection::output::{self, Allowance, Offer, Pause, Sending, Unsent, bytes_per_turn};
use crate::connection::pace::Pace;
use crate::connection::transport::{Transport, UNSENT_BYTES};
use crate::http::response::Body;

impl Session {
    /// Sends what is collected, and `tail` after it.
    pub(super) fn flush<T: Transport>(
        &mut self,
        tail: Option<Body>,
        turn: &mut Turn<'_, T>,
    ) -> Result<Sending, CloseReason> {
        if tail.is_none() && turn.desk.output.is_empty() {
            return Ok(Sending::Done);
        }
        let has_tail = tail.is_some();
        let mut body = tail.unwrap_or(Body::Empty);
        let mut offer = Offer {
            bytes: &turn.desk.output,
            body: &mut body,
        };
        let (result, count) = output::send(turn.io, &mut offer, bytes_per_turn(turn.reach));
        let sent = turn.desk.output.len() - offer.bytes.len();
        self.count_sent(count, turn);
        if let Ok(Sending::Done) = result {
            turn.desk.output.clear();
            turn.desk.guests.clear();
            return Ok(Sending::Done);
        }
        self.keep_unsent(result, sent, has_tail.then_some(body), turn)
    }

    /// Keeps what the socket has not taken of the collected output, of which `sent` bytes are gone, and of
    /// `tail`, after `result`.
    #[cold]
    fn keep_unsent<T: Transport>(
        &mut self,
        result: io::Result<Sending>,
        sent: usize,
        tail: Option<Body>,
        turn: &mut Turn<'_, T>,
    ) -> Result<Sending, CloseReason> {
        let has_tail = tail.is_some();
        let mut unsent = Unsent {
            bytes: Vec::new(),
            sent: 0,
            body: tail.unwrap_or(Body::Empty),
            log: None,
            guests: std::mem::take(&mut turn.desk.guests),
            pace: Pace::start(0, turn.now.monotonic),
            allowance: Allowance::first(),
        };
        if has_tail {
            unsent.log = turn.desk.log.as_mut().and_then(Journal::postpone);
        }
        match result {
            Ok(sending) => {
                let delivered = delivered(self.sent_bytes, turn.io)?;
                unsent.pace = Pace::start(delivered, turn.now.monotonic);
                unsent.bytes = turn.desk.output.split_off(sent);
                turn.desk.output.clear();
                self.unsent = Some(Box::new(unsent));
                Ok(sending)
            }
            Err(error) => {
                let reason = reason_of(&error);
                if let Some(log) = &mut turn.desk.log
                    && !has_tail
                {
                    log.note_close(reason);
                }
                // `finish` logs what has gone.
                self.unsent = Some(Box::new(unsent));
                Err(reason)
            }
        }
    }

    /// Offers again what the socket did not take before.
    pub(super) fn send_unsent<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<Sending, CloseReason> {
        if let Some(unsent) = self.unsent.as_deref()
            && !unsent.is_within(turn.reach)
        {
            turn.desk.is_out_of_reach = true;
            return Ok(Sending::Paused(Pause::Again));
        }
        let Some(mut unsent) = self.unsent.take() else {
            return Ok(Sending::Done);
        };
        let mut offer = Offer {
            bytes: &unsent.bytes[unsent.sent..],
            body: &mut unsent.body,
        };
        let (result, count) = output::send(turn.io, &mut offer, bytes_per_turn(turn.reach));
        unsent.sent = unsent.bytes.len() - offer.bytes.len();
        self.count_sent(count, turn);
        if let Ok(Sending::Done) = result {
            if unsent.allowance.has_grown() {
                turn.io.keep_unsent(UNSENT_BYTES);
            }
            end_body(*unsent, None, turn.desk);
        } else {
            if let Some(bytes) = unsent.allowance.note(count) {
                turn.io.keep_unsent(bytes);
            }
            self.unsent = Some(unsent);
        }
        result.map_err(|error| reason_of(&error))
    }

    /// The server ends while the connection is open: the access log has what went of an answer.
    pub fn cut_off(&mut self, desk: &mut Desk) {
        self.end_unsent(CloseReason::Stop, desk);
    }

    /// Ends the line of an answer that does not go on, because the connection ends for `reason`.
    pub(super) fn end_unsent(&mut self, reason: CloseReason, desk: &mut Desk) {
        if let Some(unsent) = self.unsent.take() {
            end_body(*unsent, Some(reason), desk);
        }
    }

    fn count_sent<T: Transport>(&mut self, count: u64, turn: &Turn<'_, T>) {
        self.sent_bytes += count;
        turn.desk.counters.sent(count);
    }
}

/// How many of the `sent` bytes the peer has acknowledged.
pub(super) fn delivered<T: Transport>(sent: u64, io: &mut T) -> Result<u64, CloseReason> {
    let unacknowledged = io.unacknowledged().map_err(|_| CloseReason::Reset)?;
    Ok(sent.saturating_sub(unacknowledged))
}

/// Ends the line of a body that was sent over several turns, with the bytes that really went.
fn end_body(unsent: Unsent, close: Option<CloseReason>, desk: &mut Desk) {
    if let (Some(postponed), Some(log)) = (unsent.log, &mut desk.log) {
        log.resume(postponed, unsent.body.len(), close);
    }
}

/// Why a failed send ends the connection.
fn reason_of(error: &io::Error) -> CloseReason {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        CloseReason::Truncated
    } else if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) {
        // Only sendfile reads a disk.
        log::error!("a file cannot be read to its end: {error}");
        CloseReason::Truncated
    } else {
        CloseReason::Reset
    }
}
