//! Histograms of the time that responses take, one for each [`RequestKind`].
//!
//! A duration begins with the first byte of a head and ends when the kernel has taken the last byte of the
//! response. Both are known as closely as a thread looks at its clock
//! ([`response_timer`](super::response_timer)). The count of a histogram is the number of requests, so no
//! second counter can disagree with it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::request_kind::RequestKind;

/// Upper bounds, inclusive, in microseconds: 50 us to 10 s. A response from memory takes some tens of
/// microseconds, so a scale that begins at 5 ms would show nothing.
pub const BOUNDS_MICROS: [u64; 17] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// The buckets: one for each bound, and one for longer durations.
pub const BUCKETS: usize = BOUNDS_MICROS.len() + 1;

/// One thread's histograms.
#[derive(Debug)]
pub struct DurationHistograms {
    buckets: [[AtomicU64; BUCKETS]; RequestKind::COUNT],
    micros: [AtomicU64; RequestKind::COUNT],
}

impl Default for DurationHistograms {
    fn default() -> DurationHistograms {
        DurationHistograms {
            buckets: [const { [const { AtomicU64::new(0) }; BUCKETS] }; RequestKind::COUNT],
            micros: [const { AtomicU64::new(0) }; RequestKind::COUNT],
        }
    }
}

impl DurationHistograms {
    /// Counts a response of this kind that took `micros` microseconds.
    #[inline]
    pub fn record(&self, kind: RequestKind, micros: u64) {
        // Nearly all durations are in the first buckets, which a search from the start finds at once.
        let bucket = BOUNDS_MICROS.iter().position(|bound| micros <= *bound);
        let bucket = bucket.unwrap_or(BOUNDS_MICROS.len());
        self.buckets[kind.index()][bucket].fetch_add(1, Ordering::Relaxed);
        self.micros[kind.index()].fetch_add(micros, Ordering::Relaxed);
    }
}

/// The sum of several [`DurationHistograms`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurationTotals {
    buckets: [[u64; BUCKETS]; RequestKind::COUNT],
    micros: [u64; RequestKind::COUNT],
}

impl Default for DurationTotals {
    fn default() -> DurationTotals {
        DurationTotals {
            buckets: [[0; BUCKETS]; RequestKind::COUNT],
            micros: [0; RequestKind::COUNT],
        }
    }
}

impl DurationTotals {
    /// Adds the histograms of one thread.
    pub fn add(&mut self, histograms: &DurationHistograms) {
        let of_kind = self.buckets.iter_mut().flatten();
        for (total, count) in of_kind.zip(histograms.buckets.iter().flatten()) {
            *total += count.load(Ordering::Relaxed);
        }
        for (total, micros) in self.micros.iter_mut().zip(&histograms.micros) {
            *total += micros.load(Ordering::Relaxed);
        }
    }

    /// The number of responses of this kind in each bucket, not cumulated.
    #[must_use]
    pub fn buckets(&self, kind: RequestKind) -> &[u64; BUCKETS] {
        &self.buckets[kind.index()]
    }

    /// The sum of the durations of this kind, in microseconds.
    #[must_use]
    pub fn micros(&self, kind: RequestKind) -> u64 {
        self.micros[kind.index()]
    }

    /// The number of requests of all kinds.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.buckets.iter().flatten().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::method::Method;
    use crate::http::status::Status;

    #[test]
    fn a_duration_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let kind = RequestKind::new(Some(Method::Get), Status::OK);
        for (micros, bucket) in [
            (0, 0),
            (50, 0),
            (51, 1),
            (1_000, 4),
            (10_000_000, 16),
            (10_000_001, 17),
        ] {
            let histograms = DurationHistograms::default();
            histograms.record(kind, micros);
            let mut totals = DurationTotals::default();
            totals.add(&histograms);
            assert_eq!(totals.buckets(kind)[bucket], 1, "{micros}");
            assert_eq!((totals.requests(), totals.micros(kind)), (1, micros));
        }
    }
}
