//! When to look at a connection again: a lazy timer wheel.
//!
//! Every connection has a deadline and nearly all of them are never reached: the next request moves
//! it on. A wheel that followed each move would be busy for nothing, and workers would need a lock to
//! may_block it. This one is lazy. A thread that finishes a request only stores the new deadline, beside
//! the connection. The wheel keeps an older, earlier tick, and finds out when that tick comes.
//!
//! The event loop owns the wheel and turns it. No clock is read here: time is an argument.
//!
//! # One connection's life
//!
//! T + grace is 130 s. No entry sleeps longer than 5 s, and one that was due is looked at again a
//! second later ([`deadlines`](super::deadlines)). The connection makes requests at 0, 3 and 50 s; each
//! moves the deadline, and only the deadline: first to the look at its acknowledgement after half of
//! grace, and from there to T + grace.
//!
//! ```text
//! seconds    0   3  5        8  9       49 50 54       55 56      176   180
//! request    A   B                         C
//! deadline   5   8           133           55          180
//! wheel      file   5        8  9 ...   49    54       55 56 ...  176   180
//!                   not due: due:             not due: due:             due: the
//!                   refiled  a look           refiled  a look           idle close
//! ```
//!
//! Three requests cost the wheel nothing; three thousand would have cost it nothing either. What it
//! costs is the idling: one look every 5 s.
//!
//! There is no cancel. The entry belongs to the slot, not to the connection: it stays when the
//! connection closes, and serves the next one in the slot, or ends when it fires and finds none.
//!
//! # Rounding
//!
//! A deadline is rounded up to a tick, the present down: nothing fires early. What is due fires within
//! one tick of its deadline, plus the time until the loop gets to [`TimerWheel::turn`].
//!
//! # What a million entries cost
//!
//! An entry is a slot number: 4 bytes. The tick is known from the bucket. A million entries are 4 MB,
//! up to 8 MB as vectors grow by doubling, and 48 KB for the buckets themselves. Filing is a division,
//! a push and a bit. Looked at every 5 s, they are 200,000 looks a second whatever the request rate:
//! about 1 ms of work in the wheel (`benches/timer_wheel.rs`), and a cache miss each in the slots.
//!
//! One level is enough. Deadlines beyond the horizon of 204.7 s (a long T) fire there first, and are
//! refiled like all others.

use crate::clock::Millis;

/// Milliseconds per tick.
pub const TICK_MILLIS: u64 = 100;

/// Buckets in the wheel, one tick each.
pub const BUCKETS: u64 = 2048;

/// How many ticks ahead an entry can be filed. One bucket less than there are: the wheel never holds
/// two different ticks in one bucket.
const REACH: u64 = BUCKETS - 1;

/// Words of the bitmap.
const WORDS: usize = BUCKETS as usize / 64;

/// Entries whose memory an emptied bucket keeps for its next round; 512 KB over all buckets. A bucket
/// that was larger gives everything back.
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

/// Slots, each filed under the tick at which its deadline is to be looked at.
#[derive(Debug)]
pub struct TimerWheel {
    /// All ticks up to this one have been handed out. The buckets hold the [`REACH`] ticks after it.
    current: u64,
    /// Tick `t` is in bucket `t % BUCKETS`.
    buckets: Box<[Vec<u32>]>,
    /// One bit per bucket: set if it has entries.
    occupied: [u64; WORDS],
    len: usize,
}

impl TimerWheel {
    /// An empty wheel that has turned as far as `start`.
    #[must_use]
    pub fn new(start: Millis) -> TimerWheel {
        TimerWheel {
            current: start.0 / TICK_MILLIS,
            buckets: (0..BUCKETS).map(|_| Vec::new()).collect(),
            occupied: [0; WORDS],
            len: 0,
        }
    }

    /// Files `slot` for a look at `deadline`, or at the horizon if that is nearer, or at the next tick
    /// if `deadline` has passed.
    ///
    /// Returns the tick it is filed under. O(1).
    pub fn file(&mut self, slot: u32, deadline: Millis) -> Tick {
        let tick = tick_of(deadline)
            .0
            .clamp(self.current + 1, self.current + REACH);
        let bucket = bucket_of(tick);
        debug_assert_eq!(self.is_occupied(bucket), !self.buckets[bucket].is_empty());
        self.buckets[bucket].push(slot);
        self.occupied[bucket / 64] |= 1 << (bucket % 64);
        self.len += 1;
        Tick(tick)
    }

    /// Turns the wheel to `now` and appends the slots that fire to `fired`, in the order of the ticks they
    /// were filed under, and of filing within a tick.
    ///
    /// The caller drains `fired` and may [`file`](TimerWheel::file) meanwhile: what it files fires at
    /// a later turn. Each bucket is visited at most once, however far time has jumped; a `now` before
    /// the last one does nothing. `fired` takes 4 bytes per entry and is the caller's to shrink after a
    /// jump.
    pub fn turn(&mut self, now: Millis, fired: &mut Vec<u32>) {
        let reached = now.0 / TICK_MILLIS;
        while let Some(tick) = self.earliest().filter(|tick| *tick <= reached) {
            self.empty_bucket(tick, fired);
            self.current = tick;
        }
        self.current = self.current.max(reached);
    }

    /// When the earliest entry fires: the event loop sleeps no longer than that. `None` if the wheel
    /// is empty.
    #[must_use]
    pub fn next_tick(&self) -> Option<Millis> {
        self.earliest().map(|tick| Tick(tick).reached_at())
    }

    /// Entries in the wheel.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is filed.
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

    /// The earliest tick with entries, from the bitmap.
    fn earliest(&self) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        let first = self.current + 1;
        let start = bucket_of(first);
        // The word of `start` comes twice: its upper bits first, its lower ones after the way round.
        for step in 0..=WORDS {
            let index = (start / 64 + step) % WORDS;
            let mask = if step == 0 { !0 << (start % 64) } else { !0 };
            let word = self.occupied[index] & mask;
            if word != 0 {
                let bucket = index as u64 * 64 + u64::from(word.trailing_zeros());
                let ahead = bucket.wrapping_sub(start as u64) % BUCKETS;
                debug_assert!(ahead < REACH, "two ticks in one bucket");
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
