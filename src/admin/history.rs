//! The last minutes: a sample each second, from counters that others write. The serving threads pay nothing
//! for it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::figures::accepted;
use crate::clock::{Millis, Now};
use crate::connection::counters::{CloseReason, Totals};
use crate::connection::duration_histogram::{BOUNDS_MICROS, BUCKETS};
use crate::connection::request_kind::RequestKind;
use crate::connection::slow_requests::SlowRequest;
use crate::server::shared::{Shared, totals};

/// Seconds that the history covers.
pub const HISTORY_SECS: u64 = 300;

/// The points of a plot. Each stands for five seconds.
pub const POINTS: usize = 60;

/// The slowest requests that are shown.
pub const SLOWEST: usize = 10;

/// The most requests that are kept. Of more than these in the window, the fastest are forgotten.
const KEPT_SLOW: usize = 100;

/// Seconds over which rates and quantiles are taken.
const RATE_SECS: u64 = 10;

/// Seconds over which the longest turn is taken.
const TURN_SECS: u64 = 60;

/// One sample.
#[derive(Debug, Clone)]
pub struct HistorySample {
    at: Millis,
    requests: u64,
    sent_bytes: u64,
    accepted: u64,
    closes: [u64; CloseReason::ALL.len()],
    races: u64,
    durations: [u64; BUCKETS],
    longest_turn_micros: u64,
}

impl HistorySample {
    fn new(totals: &Totals, accepted: u64, longest_turn_micros: u64, at: Millis) -> HistorySample {
        let mut durations = [0; BUCKETS];
        for kind in RequestKind::all() {
            for (all, count) in durations.iter_mut().zip(totals.durations.buckets(kind)) {
                *all += count;
            }
        }
        HistorySample {
            at,
            requests: durations.iter().sum(),
            sent_bytes: totals.sent_bytes,
            accepted,
            closes: CloseReason::ALL.map(|(reason, _)| totals.closes(reason)),
            races: totals.keep_alive_races,
            durations,
            longest_turn_micros,
        }
    }

    fn closed(&self) -> u64 {
        self.closes.iter().sum()
    }

    /// The connections open at the time of the sample.
    fn open(&self) -> u64 {
        self.accepted.saturating_sub(self.closed())
    }
}

/// The numbers of a plot that have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Series {
    /// Requests per second.
    Requests,
    /// Open connections.
    Open,
    /// Connections closed per second.
    Closes,
    /// Requests lost to a close.
    Races,
}

/// The samples of the last minutes, oldest first, and the slowest requests.
#[derive(Debug, Default)]
pub struct History {
    samples: VecDeque<HistorySample>,
    /// The slowest first.
    slow: Vec<SlowRequest>,
}

impl History {
    /// Adds a sample of the server whose event loops are `all`.
    pub fn sample(&mut self, all: &[Arc<Shared>], now: Now) {
        let counters = || all.iter().flat_map(|shared| &shared.counters);
        let longest = counters()
            .map(|counters| counters.take_longest_turn())
            .max();
        // Closes are read before accepts, so that the difference is not negative.
        let totals = totals(all);
        let longest = longest.unwrap_or_default();
        let sample = HistorySample::new(&totals, accepted(all), longest, now.monotonic);
        self.push(sample);
        let taken = counters().flat_map(|counters| counters.slow_requests().take());
        self.slow.extend(taken);
        let oldest = (now.monotonic.0.saturating_sub(HISTORY_SECS * 1_000)) * 1_000;
        self.slow.retain(|slow| slow.ended_at_micros >= oldest);
        self.slow.sort_by_key(|slow| std::cmp::Reverse(slow.micros));
        self.slow.truncate(KEPT_SLOW);
    }

    fn push(&mut self, sample: HistorySample) {
        let now = sample.at;
        self.samples.push_back(sample);
        let is_old = |first: &HistorySample| now.since(first.at) > HISTORY_SECS * 1_000;
        while self.samples.front().is_some_and(is_old) {
            self.samples.pop_front();
        }
    }

    /// The slowest requests of the last minutes, the slowest first.
    #[must_use]
    pub fn slowest(&self) -> &[SlowRequest] {
        &self.slow[..self.slow.len().min(SLOWEST)]
    }

    /// The longest turn of the last minute, in microseconds.
    #[must_use]
    pub fn longest_turn_micros(&self) -> u64 {
        let of_minute = self
            .since(TURN_SECS)
            .map(|sample| sample.longest_turn_micros);
        of_minute.max().unwrap_or_default()
    }

    /// Requests per second and bytes sent per second, over the last ten seconds.
    #[must_use]
    pub fn rates(&self) -> (f64, f64) {
        let (Some(first), Some(last)) = (self.since(RATE_SECS).next(), self.samples.back()) else {
            return (0.0, 0.0);
        };
        let secs = last.at.since(first.at) as f64 / 1_000.0;
        let rate = |from: u64, to: u64| (to - from) as f64 / secs.max(0.001);
        (
            rate(first.requests, last.requests),
            rate(first.sent_bytes, last.sent_bytes),
        )
    }

    /// The bounds in microseconds that the given shares of the responses of the last minute do not exceed;
    /// `None` if there was no response, or if it took longer than all bounds.
    #[must_use]
    pub fn quantiles<const N: usize>(&self, shares: [f64; N]) -> [Option<u64>; N] {
        let (first, last) = (self.since(TURN_SECS).next(), self.samples.back());
        let (Some(first), Some(last)) = (first, last) else {
            return [None; N];
        };
        let count = |bucket: usize| last.durations[bucket] - first.durations[bucket];
        let all: u64 = (0..BUCKETS).map(count).sum();
        shares.map(|share| {
            let wanted = (all as f64 * share).ceil().max(1.0) as u64;
            let mut reached = 0;
            let mut bounds = BOUNDS_MICROS.iter().enumerate();
            let found = bounds.find(|(bucket, _)| {
                reached += count(*bucket);
                reached >= wanted
            });
            found.map(|(_, bound)| *bound)
        })
    }

    /// Connections closed for each reason in the last minutes, in the order of [`CloseReason::ALL`].
    #[must_use]
    pub fn closes(&self) -> [u64; CloseReason::ALL.len()] {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else {
            return [0; CloseReason::ALL.len()];
        };
        std::array::from_fn(|reason| last.closes[reason] - first.closes[reason])
    }

    /// The points of a plot, oldest first. Times before the first sample are 0.
    #[must_use]
    pub fn points(&self, series: Series) -> [f64; POINTS] {
        let mut points = [0.0; POINTS];
        let Some(last) = self.samples.back() else {
            return points;
        };
        let millis = HISTORY_SECS * 1_000 / POINTS as u64;
        let pairs = self.samples.iter().zip(self.samples.iter().skip(1));
        for (from, to) in pairs {
            let age = last.at.since(to.at) / millis;
            let Some(point) = (POINTS - 1).checked_sub(age as usize) else {
                continue;
            };
            let per_second = |count: u64| count as f64 / (millis as f64 / 1_000.0);
            match series {
                Series::Requests => points[point] += per_second(to.requests - from.requests),
                Series::Open => points[point] = to.open() as f64,
                Series::Closes => points[point] += per_second(to.closed() - from.closed()),
                Series::Races => points[point] += (to.races - from.races) as f64,
            }
        }
        points
    }

    /// The samples of the last `secs` seconds, oldest first.
    fn since(&self, secs: u64) -> impl Iterator<Item = &HistorySample> {
        let now = self.samples.back().map_or(Millis(0), |last| last.at);
        let mut samples = self.samples.iter();
        // The samples are in order, and the later ones are wanted.
        let wanted = move |sample: &&HistorySample| now.since(sample.at) <= secs * 1_000;
        let first = samples.position(|sample| wanted(&sample)).unwrap_or(0);
        self.samples.range(first..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::counters::Counters;
    use crate::http::method::Method;
    use crate::http::status::Status;

    /// A history of `secs` seconds in each of which `requests` are answered in `micros`.
    fn steady(secs: u64, requests: u64, micros: u64) -> History {
        let (counters, mut history) = (Counters::default(), History::default());
        let kind = RequestKind::new(Some(Method::Get), Status::OK);
        for second in 0..=secs {
            let totals = Totals::sum([&counters].into_iter());
            let at = Millis(second * 1_000);
            history.push(HistorySample::new(&totals, 5, second, at));
            (0..requests).for_each(|_| counters.durations().record(kind, micros));
            counters.closed(CloseReason::Idle, 1);
        }
        history
    }

    #[test]
    fn rates_are_those_of_the_last_seconds() {
        let history = steady(600, 40, 70);
        assert_eq!(history.rates().0, 40.0);
        assert_eq!(history.points(Series::Requests), [40.0; POINTS]);
        assert_eq!(history.points(Series::Closes), [1.0; POINTS]);
        assert_eq!(history.samples.len() as u64, HISTORY_SECS + 1);
        assert_eq!(history.closes()[CloseReason::Idle as usize], HISTORY_SECS);
    }

    #[test]
    fn quantiles_are_bounds_of_buckets() {
        assert_eq!(
            steady(5, 10, 70).quantiles([0.5, 0.99]),
            [Some(100), Some(100)]
        );
        assert_eq!(steady(5, 10, 20_000_000).quantiles([0.5]), [None]);
        assert_eq!(steady(5, 0, 0).quantiles([0.5]), [None]);
    }

    #[test]
    fn a_young_history_begins_with_zeros() {
        let history = steady(10, 5, 1);
        let points = history.points(Series::Requests);
        assert_eq!(points[..POINTS - 2], [0.0; POINTS - 2]);
        assert_eq!(points[POINTS - 2..], [5.0; 2]);
        assert_eq!(history.longest_turn_micros(), 10);
        assert_eq!(History::default().rates(), (0.0, 0.0));
    }
}
