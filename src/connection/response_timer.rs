//! Measures how long the responses of a thread take, with few readings of the clock.
//!
//! A reading costs as much as a tenth of a request from memory, so a thread reads the clock for several turns
//! together: a worker before and after each turn, an event loop at the start of a round and after every few
//! turns. A response begins with the reading before its turn, or with the first byte of its head if that came
//! in an earlier turn. It ends with the first reading after the kernel has taken its last byte. So a duration
//! is never too short; on an event loop it includes the turns of the same round before it, for which the
//! client waits, and up to a few turns after it.
//!
//! ```text
//!   thread    begin(reading)                                   end(reading)
//!   session         collected, collected, sent    take_unsent        | counts all that are sent
//!                                                 ... a later turn: resume
//! ```

use super::counters::Counters;
use super::peer::Peer;
use super::request_kind::RequestKind;
use super::slow_requests::{SlowTarget, TARGET_BYTES};
use crate::clock::Millis;
use crate::http::request::RequestHead;
use crate::http::status::Status;

/// A response that has begun.
#[derive(Debug, Clone, Copy)]
struct BegunResponse {
    kind: RequestKind,
    /// In microseconds of the monotonic clock.
    since_micros: u64,
}

/// Responses that the kernel has not taken whole, kept until a later turn of their connection.
#[derive(Debug, Default)]
pub struct UnsentResponses {
    begun: Vec<BegunResponse>,
    /// The last of them, if the slowest requests are kept.
    target: Option<SlowTarget>,
}

/// The responses of one thread since its last reading of the clock.
#[derive(Debug)]
pub struct ResponseTimer {
    /// When the turns that run now began, in microseconds of the monotonic clock.
    began_at: u64,
    /// The last reading of the clock.
    last_reading: u64,
    begun: Vec<BegunResponse>,
    /// How many of `begun` the kernel has taken whole.
    sent: usize,
    /// Whether the slowest requests are kept.
    keeps_slow: bool,
    /// The target of the response at this index of `begun`; unused if there is no such response.
    target: SlowTarget,
    target_of: usize,
}

impl ResponseTimer {
    /// A timer without responses. `keeps_slow` says whether it notes the slowest requests.
    #[must_use]
    pub fn new(keeps_slow: bool) -> ResponseTimer {
        ResponseTimer {
            began_at: 0,
            last_reading: 0,
            begun: Vec::new(),
            sent: 0,
            keeps_slow,
            target: SlowTarget {
                line: Vec::new(),
                status: Status::OK,
                client: Peer::Unix,
            },
            target_of: usize::MAX,
        }
    }

    /// Thread: begins turns when `other` did, whose responses are all counted.
    pub fn continue_from(&mut self, other: &ResponseTimer) {
        (self.began_at, self.last_reading) = (other.began_at, other.last_reading);
    }

    /// Thread: begins turns at `micros`.
    pub fn begin(&mut self, micros: u64) {
        (self.began_at, self.last_reading) = (micros, micros);
    }

    /// Thread: begins another turn after the last reading of the clock.
    pub fn begin_again(&mut self) {
        self.began_at = self.last_reading;
    }

    /// Thread: whether responses wait for the next reading of the clock.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        !self.begun.is_empty()
    }

    /// Thread: counts the responses since the last reading of the clock, which now shows `micros`.
    pub fn end(&mut self, micros: u64, counters: &Counters) {
        counters.note_turn(micros.saturating_sub(self.last_reading));
        self.last_reading = micros;
        for response in &self.begun {
            let duration = micros.saturating_sub(response.since_micros);
            counters.durations().record(response.kind, duration);
        }
        if let Some(last) = self.begun.get(self.target_of) {
            let duration = micros.saturating_sub(last.since_micros);
            counters
                .slow_requests()
                .note(duration, micros, &self.target);
        }
        self.begun.clear();
        (self.sent, self.target_of) = (0, usize::MAX);
    }

    /// Session: notes a response whose request began to arrive at `since`, in this turn if that is `None`.
    #[inline]
    pub(super) fn collected(&mut self, kind: RequestKind, since: Option<Millis>) {
        let since_micros = match since {
            None => self.began_at,
            Some(since) => since.0.saturating_mul(1_000).min(self.began_at),
        };
        self.begun.push(BegunResponse { kind, since_micros });
    }

    /// Session: notes the request that is collected next, because its response may be slow.
    #[cold]
    pub(super) fn note_target(&mut self, client: Peer, head: &RequestHead<'_, '_>, status: Status) {
        let target = head.raw_target();
        let SlowTarget { line, .. } = &mut self.target;
        line.clear();
        line.extend_from_slice(head.method_token());
        line.push(b' ');
        line.extend_from_slice(&target[..target.len().min(TARGET_BYTES)]);
        (self.target.status, self.target.client) = (status, client);
        self.target_of = self.begun.len();
    }

    /// Session: whether [`note_target`](ResponseTimer::note_target) has an effect.
    pub(super) fn keeps_slow(&self) -> bool {
        self.keeps_slow
    }

    /// Session: the kernel has taken all responses so far, or the turn has ended.
    #[inline]
    pub(super) fn sent(&mut self) {
        self.sent = self.begun.len();
    }

    /// Session: takes the responses that the kernel has not taken whole.
    pub(super) fn take_unsent(&mut self) -> UnsentResponses {
        let has_target = (self.sent..self.begun.len()).contains(&self.target_of);
        let target = has_target.then(|| self.target.clone());
        if has_target {
            self.target_of = usize::MAX;
        }
        UnsentResponses {
            begun: self.begun.split_off(self.sent),
            target,
        }
    }

    /// Session: notes that the kernel has now taken `unsent`, or that the connection has ended.
    pub(super) fn resume(&mut self, unsent: UnsentResponses) {
        self.begun.extend_from_slice(&unsent.begun);
        if let (Some(target), false) = (unsent.target, self.begun.is_empty()) {
            (self.target, self.target_of) = (target, self.begun.len() - 1);
        }
        self.sent();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::counters::Totals;
    use crate::connection::duration_histogram::DurationTotals;
    use crate::http::method::Method;

    fn kind(status: Status) -> RequestKind {
        RequestKind::new(Some(Method::Get), status)
    }

    fn durations(counters: &Counters) -> DurationTotals {
        Totals::sum([counters].into_iter()).durations
    }

    #[test]
    fn responses_of_a_batch_end_with_the_next_reading() {
        let (counters, mut timer) = (Counters::default(), ResponseTimer::new(false));
        timer.begin(1_000);
        timer.collected(kind(Status::OK), None);
        timer.collected(kind(Status::OK), None);
        timer.collected(kind(Status::NOT_FOUND), None);
        timer.sent();
        assert_eq!(durations(&counters).requests(), 0);
        timer.end(1_040, &counters);
        let totals = durations(&counters);
        assert_eq!(totals.buckets(kind(Status::OK))[0], 2);
        assert_eq!(totals.micros(kind(Status::OK)), 80);
        assert_eq!(totals.micros(kind(Status::NOT_FOUND)), 40);
        assert!(!timer.has_begun());
    }

    #[test]
    fn a_request_that_began_earlier_takes_longer() {
        let (counters, mut timer) = (Counters::default(), ResponseTimer::new(false));
        timer.begin(5_500);
        timer.collected(kind(Status::OK), Some(Millis(2)));
        timer.end(6_000, &counters);
        assert_eq!(durations(&counters).micros(kind(Status::OK)), 4_000);
    }

    #[test]
    fn a_response_that_takes_several_turns_counts_once_at_its_end() {
        let (counters, mut timer) = (Counters::default(), ResponseTimer::new(true));
        timer.begin(0);
        timer.collected(kind(Status::OK), None);
        timer.sent();
        timer.target_of = timer.begun.len();
        timer.collected(kind(Status::NOT_FOUND), None);
        let unsent = timer.take_unsent();
        timer.end(20, &counters);
        assert_eq!(durations(&counters).requests(), 1);
        timer.begin(3_000);
        timer.resume(unsent);
        timer.end(3_100, &counters);
        let totals = durations(&counters);
        assert_eq!(totals.requests(), 2);
        assert_eq!(totals.micros(kind(Status::NOT_FOUND)), 3_100);
        let slow = counters.slow_requests().take();
        assert_eq!((slow.len(), slow[0].micros), (1, 3_100));
    }
}
