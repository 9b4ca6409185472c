//! A lazy timer wheel, which says when to check the deadline of a connection.
//!
//! Every connection has a deadline, and nearly all deadlines are never reached: the next request moves them.
//! A wheel that followed each move would do much work in vain, and workers would need a lock to use it. This
//! wheel is lazy. A thread that finishes a request only stores the new deadline beside the connection. The
//! wheel keeps an older, earlier tick. When that comes, [`deadlines`](super::deadlines) reads the new deadline.
//!
//! The event loop owns the wheel and advances it. The wheel reads no clock: time is an argument.
//!
//! # Example: one connection
//!
//! T + grace is 130 s. An entry is checked after 5 s at the latest, and one that was due is checked again
//! after a second ([`deadlines`](super::deadlines)). The connection sends requests at 0, 3 and 50 s. Each
//! request moves the deadline and nothing else. The deadline is first the check for the acknowledgement,
//! after half of grace, and then T + grace.
//!
//! ```text
//! seconds    0   3  5        8  9       49 50 54       55 56      176   180
//! request    A   B                         C
//! deadline   5   8           133           55          180
//! wheel      file   5        8  9 ...   49    54       55 56 ...  176   180
//!                   not due: due:             not due: due:             due: the
//!                   refiled  ACK check        refiled  ACK check        idle close
//! ```
//!
//! Three requests cost the wheel nothing, and three thousand would cost nothing either. Only idle time costs:
//! one check every 5 s.
//!
//! Entries are never cancelled. An entry belongs to the slot, not to the connection, and stays when the
//! connection closes. It then serves the next connection in the slot, or ends when it fires and the slot is
//! free.
//!
//! # Rounding
//!
//! A deadline is rounded up to a tick and the present down, so no entry fires early. An entry fires within
//! one tick of its deadline, plus the time until the loop calls [`TimerWheel::advance`].
//!
//! # What a million entries cost
//!
//! An entry is a slot number of 4 bytes; its bucket tells the tick. A million entries take 4 MB, or up to
//! 8 MB as vectors grow by doubling, and the buckets themselves take 48 KB. Filing is a division, a push and
//! a bit. With a check every 5 s there are 200,000 checks a second, whatever the request rate. They cost
//! about 1 ms in the wheel (`benches/timer_wheel.rs`), and a cache miss each in the slots.
//!
//! One level is enough. Deadlines beyond the horizon of 204.7 s (a long T) fire at the horizon, and are
//! refiled like all others.

use crate::clock::Millis;

/// Milliseconds per tick.
pub const TICK_MILLIS: u64 = 100;

/// Buckets in the wheel, one tick each.
pub const BUCKETS: u64 = 2048;

/// How many ticks ahead an entry can be filed. This is one less than the number of buckets, so a bucket
/// never holds two different ticks.
const HORIZON: u64 = BUCKETS - 1;

/// Words of the bitmap.
const WORDS: usize = BUCKETS as usize / 64;

/// Entries for which an emptied bucket keeps its memory; 512 KB over all buckets. A bucket that was larger
/// frees all of it.
const KEPT_ENTRIES: usize = 64;

const _: () = assert!(BUCKETS.is_power_of_two() && BUCKETS >= 64);

/// A point in time in units of [`TICK_MILLIS`]; tick 0 is [`Millis`] 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    /// The moment this tick is reached, saturating.
    #[must_use]
    pub fn reached_at(self) -> Millis {
        Millis(self.0.saturating_mul(TICK_MILLIS))
    }
}

/// The first tick that is not before `deadline`.
#[must_use]
pub fn tick_of(deadline: Millis) -> Tick {
    Tick(deadline.0.div_ceil(TICK_MILLIS))
}

/// Slots, each filed under the tick at which its deadline is to be checked.
#[derive(Debug)]
pub struct TimerWheel {
    /// The last tick that was handed out. The buckets hold the [`HORIZON`] ticks after it.
    current: u64,
    /// Tick `t` is in bucket `t % BUCKETS`.
    buckets: Box<[Vec<u32>]>,
    /// One bit for each bucket, set if the bucket has entries.
    occupied: [u64; WORDS],
    len: usize,
}

impl TimerWheel {
    /// An empty wheel that has advanced to `start`.
    #[must_use]
    pub fn new(start: Millis) -> TimerWheel {
        TimerWheel {
            current: start.0 / TICK_MILLIS,
            buckets: (0..BUCKETS).map(|_| Vec::new()).collect(),
            occupied: [0; WORDS],
            len: 0,
        }
    }

    /// Files `slot` for a check at `deadline`; at the horizon if that is nearer, or at the next tick if
    /// `deadline` has passed.
    ///
    /// Returns the tick of the entry. O(1).
    pub fn file(&mut self, slot: u32, deadline: Millis) -> Tick {
        let tick = tick_of(deadline)
            .0
            .clamp(self.current + 1, self.current + HORIZON);
        let bucket = bucket_of(tick);
        debug_assert_eq!(self.is_occupied(bucket), !self.buckets[bucket].is_empty());
        self.buckets[bucket].push(slot);
        self.occupied[bucket / 64] |= 1 << (bucket % 64);
        self.len += 1;
        Tick(tick)
    }

    /// Advances the wheel to `now` and appends the slots that fire to `fired`, in the order of their ticks
    /// and within a tick in the order of filing.
    ///
    /// The caller drains `fired` and may [`file`](TimerWheel::file) meanwhile; such entries fire at a later
    /// call. Each bucket is visited at most once, however far time has jumped. A `now` before the last one
    /// does nothing. `fired` takes 4 bytes per entry, and the caller may shrink it after a jump.
    pub fn advance(&mut self, now: Millis, fired: &mut Vec<u32>) {
        let reached = now.0 / TICK_MILLIS;
        while let Some(tick) = self.earliest().filter(|tick| *tick <= reached) {
            self.empty_bucket(tick, fired);
            self.current = tick;
        }
        self.current = self.current.max(reached);
    }

    /// When the earliest entry fires; the event loop sleeps no longer than that. `None` if the wheel is
    /// empty.
    #[must_use]
    pub fn next_tick(&self) -> Option<Millis> {
        self.earliest().map(|tick| Tick(tick).reached_at())
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the wheel has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn empty_bucket(&mut self, tick: u64, fired: &mut Vec<u32>) {
        let bucket = bucket_of(tick);
        let slots = &mut self.buckets[bucket];
        debug_assert!(!slots.is_empty() && slots.len() <= self.len);
        self.len -= slots.len();
        self.occupied[bucket / 64] &= !(1 << (bucket % 64));
        fired.append(slots);
        if slots.capacity() > KEPT_ENTRIES {
            *slots = Vec::new();
        }
    }

    /// The earliest tick that has entries, found in the bitmap.
    fn earliest(&self) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        let first = self.current + 1;
        let start = bucket_of(first);
        // The loop reads the word of `start` twice: its upper bits first, its lower bits after a whole round.
        for step in 0..=WORDS {
            let index = (start / 64 + step) % WORDS;
            let mask = if step == 0 { !0 << (start % 64) } else { !0 };
            let word = self.occupied[index] & mask;
            if word != 0 {
                let bucket = index as u64 * 64 + u64::from(word.trailing_zeros());
                let ahead = bucket.wrapping_sub(start as u64) % BUCKETS;
                debug_assert!(ahead < HORIZON, "two ticks in one bucket");
                return Some(first + ahead);
            }
        }
        unreachable!("entries are counted that no bucket holds")
    }

    fn is_occupied(&self, bucket: usize) -> bool {
        self.occupied[bucket / 64] & (1 << (bucket % 64)) != 0
    }
}

fn bucket_of(tick: u64) -> usize {
    (tick % BUCKETS) as usize
}

#[cfg(test)]
mod tests;
