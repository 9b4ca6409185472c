//! Finds transfers that have stalled: by a progress timeout and by a minimum for the average rate.
//!
//! A timeout on the whole transfer would cut off peers on slow lines. A timeout that any byte renews
//! would let a peer hold a connection for ever. So the detector limits the time since the last progress,
//! and the average rate over a minute.

use crate::clock::Millis;

/// The time over which the rate is averaged, in seconds.
const WINDOW_SECS: u32 = 60;

/// The limits that a transfer must keep.
#[derive(Debug, Clone, Copy)]
pub struct StallLimits {
    /// Seconds that may pass without progress.
    pub timeout_secs: u32,
    /// Bytes per second on average over a minute; 0 means no minimum.
    pub min_rate: u32,
}

/// The progress of one transfer, in bytes that have arrived at the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StallDetector {
    bytes: u64,
    moved_at: Millis,
    window_bytes: u64,
    window_since: Millis,
}

impl StallDetector {
    /// A transfer that starts at `now` with `bytes` already counted.
    #[must_use]
    pub fn start(bytes: u64, now: Millis) -> StallDetector {
        StallDetector {
            bytes,
            moved_at: now,
            window_bytes: bytes,
            window_since: now,
        }
    }

    /// Notes that `bytes` in all have moved by `now`.
    pub fn note(&mut self, bytes: u64, now: Millis) {
        if bytes > self.bytes {
            self.bytes = bytes;
            self.moved_at = now;
        }
    }

    /// Notes that `bytes` in all have moved by `now`, and returns whether the transfer has stalled.
    pub fn has_stalled(&mut self, bytes: u64, now: Millis, limits: &StallLimits) -> bool {
        self.note(bytes, now);
        if now >= self.moved_at.plus_secs(limits.timeout_secs) {
            return true;
        }
        let elapsed_millis = now.since(self.window_since);
        if elapsed_millis < u64::from(WINDOW_SECS) * 1000 {
            return false;
        }
        let required = u64::from(limits.min_rate).saturating_mul(elapsed_millis) / 1000;
        let moved = self.bytes - self.window_bytes;
        self.window_bytes = self.bytes;
        self.window_since = now;
        moved < required
    }

    /// The next time to call [`StallDetector::has_stalled`].
    #[must_use]
    pub fn deadline(&self, limits: &StallLimits) -> Millis {
        let progress = self.moved_at.plus_secs(limits.timeout_secs);
        if limits.min_rate == 0 {
            progress
        } else {
            progress.min(self.window_since.plus_secs(WINDOW_SECS))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: StallLimits = StallLimits {
        timeout_secs: 30,
        min_rate: 1_024,
    };

    #[test]
    fn a_transfer_that_stands_still_stalls_at_the_timeout() {
        let mut stall_detector = StallDetector::start(0, Millis(0));
        assert!(!stall_detector.has_stalled(0, Millis(29_999), &LIMITS));
        assert!(stall_detector.has_stalled(0, Millis(30_000), &LIMITS));
    }

    #[test]
    fn progress_renews_the_timeout() {
        let mut stall_detector = StallDetector::start(0, Millis(0));
        assert!(!stall_detector.has_stalled(200_000, Millis(29_000), &LIMITS));
        assert_eq!(stall_detector.deadline(&LIMITS), Millis(59_000));
        assert!(!stall_detector.has_stalled(200_000, Millis(58_999), &LIMITS));
        assert!(stall_detector.has_stalled(200_000, Millis(59_000), &LIMITS));
    }

    #[test]
    fn one_byte_every_29_seconds_does_not_live_for_ever() {
        let mut stall_detector = StallDetector::start(0, Millis(0));
        let stalled_at = (1..)
            .map(|n| n * 29_000)
            .find(|&at| stall_detector.has_stalled(at / 29_000, Millis(at), &LIMITS));
        assert_eq!(
            stalled_at,
            Some(87_000),
            "at the first check after a minute"
        );
    }

    #[test]
    fn a_slow_transfer_above_the_minimum_rate_goes_on() {
        let mut stall_detector = StallDetector::start(0, Millis(0));
        for second in 1..600 {
            assert!(!stall_detector.has_stalled(second * 2_048, Millis(second * 1_000), &LIMITS));
        }
    }

    #[test]
    fn without_a_minimum_rate_only_the_timeout_counts() {
        let limits = StallLimits {
            min_rate: 0,
            ..LIMITS
        };
        let mut stall_detector = StallDetector::start(0, Millis(0));
        for step in 1..100 {
            assert!(!stall_detector.has_stalled(step, Millis(step * 29_000), &limits));
        }
        assert_eq!(
            stall_detector.deadline(&limits),
            Millis(99 * 29_000 + 30_000)
        );
    }
}
