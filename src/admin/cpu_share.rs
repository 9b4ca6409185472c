//! How long the admin thread rests, so that it leaves the CPUs to the threads that serve the site.
//!
//! The thread works in rounds. After each it rests until five times the CPU time that it has used has passed, so
//! it uses at most a fifth of a CPU. The CPU time is that of all that the thread does, system calls included. While
//! it rests, no client can wake it.
//!
//! A rest lasts at most 100 ms, so that a health check does not wait for long. A round ends once it has used 20 ms,
//! so only a single page that takes longer than that can make the share larger.

use std::time::Duration;

/// The time that passes for each unit of CPU time.
const FACTOR: u64 = 5;

/// The CPU time after which a round ends, in microseconds.
const ROUND_MICROS: u64 = 20_000;

/// The longest rest, in microseconds.
const MAX_REST_MICROS: u64 = FACTOR * ROUND_MICROS;

/// The CPU time that has been used, and when the next round may begin.
#[derive(Debug, Default)]
pub struct CpuShare {
    /// The CPU time of the thread at the end of the last round, in microseconds.
    cpu_micros: u64,
    /// When the rest ends, in microseconds of the monotonic clock.
    rests_until_micros: u64,
}

impl CpuShare {
    /// The rest that remains at `micros` of the monotonic clock.
    #[must_use]
    pub fn rest(&self, micros: u64) -> Duration {
        Duration::from_micros(self.rests_until_micros.saturating_sub(micros))
    }

    /// Whether the round has used its time, if the thread has now used `cpu_micros` in all.
    #[must_use]
    pub fn is_round_over(&self, cpu_micros: u64) -> bool {
        cpu_micros.saturating_sub(self.cpu_micros) >= ROUND_MICROS
    }

    /// Ends a round that has lasted from `begun_at` to `ended_at`, in microseconds of the monotonic clock.
    pub fn end_round(&mut self, begun_at: u64, ended_at: u64, cpu_micros: u64) {
        let used = cpu_micros.saturating_sub(self.cpu_micros);
        self.cpu_micros = cpu_micros;
        let until = self.rests_until_micros.max(begun_at) + FACTOR * used;
        self.rests_until_micros = until.min(ended_at + MAX_REST_MICROS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Runs rounds that each use one of `rounds` microseconds. Returns when the last rest ends.
    fn end_of(rounds: &[u64]) -> u64 {
        let mut share = CpuShare::default();
        let (mut now, mut cpu) = (0, 0);
        for used in rounds {
            let begun_at = now;
            now += used;
            cpu += used;
            share.end_round(begun_at, now, cpu);
            now += share.rest(now).as_micros() as u64;
        }
        now
    }

    proptest! {
        #[test]
        fn the_share_is_a_fifth_at_most(rounds in prop::collection::vec(0..=ROUND_MICROS, 1..50)) {
            prop_assert!(end_of(&rounds) >= FACTOR * rounds.iter().sum::<u64>());
        }
    }

    #[test]
    fn a_round_ends_and_a_rest_is_short_whatever_a_page_takes() {
        let mut share = CpuShare::default();
        assert!(!share.is_round_over(ROUND_MICROS - 1));
        assert!(share.is_round_over(ROUND_MICROS));
        share.end_round(0, 1_000_000, 1_000_000);
        assert_eq!(share.rest(1_000_000), Duration::from_millis(100));
        assert!(!share.is_round_over(1_000_000));
    }

    #[test]
    fn a_pause_earns_no_time() {
        let mut share = CpuShare::default();
        share.end_round(1_000_000, 1_000_010, 10);
        assert_eq!(share.rest(1_000_010), Duration::from_micros(40));
    }
}
