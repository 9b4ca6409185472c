//! When to look at a connection again: a lazy timer wheel.
//!
//! Every connection has a deadline and nearly all of them are never reached: the next request moves
//! it on. A wheel that followed each move would be busy for nothing, and workers would need a lock to
//! reach it. This one is lazy. A worker that finishes a request only stores the new deadline, beside
//! the connection. The wheel keeps an older, earlier tick, and finds out when that tick comes.
//!
//! The event loop owns the wheel and turns it. No clock is read here: time is an argument.
//!
//! # One connection's life
//!
//! T + grace is 130 s, and the connection makes requests at 0, 3 and 50 s:
//!
//! ```text
//! seconds     0   3               50                          130               180
//!             |   |                |                           |                 |
//! request     A   B                C                           .                 .
//! deadline   130 133              180                         180               180
//!             |                                                |                 |
//! wheel     file 1300 ----------------------------------> 1300 fires             |
//!                                                         not due: file 1800 -> 1800 fires
//!                                                                               due: close
//! ```
//!
//! Three requests, two filings. With 3,000 requests it would be two filings as well.
//!
//! # A deadline that moves earlier
//!
//! The connection above, filed under 1300, sends half a request head at 60 s and has to be done
//! by 80 s. Its worker tells the loop, and the loop files the slot a second time:
//!
//! ```text
//! seconds    60  61          80                               130               191
//!             |   |           |                                |                 |
//! deadline   80  191         191                              191               191
//! wheel     file 800 ---> 800 fires                            |                 |
//!                         not due: file 1910 ------------------|----------> 1910 fires
//!           (filed before) -------------------------------> 1300 fires           |
//!                                                           stale: dropped      due: close
//! remembers  800             1910                             1910
//! ```
//!
//! There is no cancel. [`TimerWheel::file`] returns the tick, the slot remembers the last one, and
//! an entry that fires under another tick is *stale* and dropped. The memory belongs to the slot, not
//! to the connection: a new connection in a slot that is still filed early enough needs no filing. So
//! short connections do not pile up entries; a slot has one that counts, and stale ones only from
//! deadlines that moved earlier.
//!
//! Should a slot come to be filed twice under one tick, both entries look right. That is harmless:
//! an entry that fires is a reason to look at the deadline, nothing more, and the first look changes
//! what the slot remembers.
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
//! a push and a bit. Spread over 130 s they are 1,000,000 / 1,300 = 770 per tick, so 7,700 looks a
//! second whatever the request rate: below 1 ms of work even if each look misses the cache.
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
    /// Returns the tick it is filed under. The slot has to remember it: an entry that fires under any
    /// other tick is stale. O(1).
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

    /// Turns the wheel to `now` and appends what fires to `fired`: each slot with the tick it was
    /// filed under, in the order of ticks, and of filing within a tick.
    ///
    /// The caller drains `fired` and may [`file`](TimerWheel::file) meanwhile: what it files fires at
    /// a later turn. Each bucket is visited at most once, however far time has jumped; a `now` before
    /// the last one does nothing. `fired` takes 16 bytes per entry and is the caller's to shrink after
    /// a jump.
    pub fn turn(&mut self, now: Millis, fired: &mut Vec<(u32, Tick)>) {
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

    /// Entries in the wheel, stale ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is filed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn empty_bucket(&mut self, tick: u64, fired: &mut Vec<(u32, Tick)>) {
        let bucket = bucket_of(tick);
        let slots = &mut self.buckets[bucket];
        debug_assert!(!slots.is_empty() && slots.len() <= self.len);
        self.len -= slots.len();
        self.occupied[bucket / 64] &= !(1 << (bucket % 64));
        fired.extend(slots.drain(..).map(|slot| (slot, Tick(tick))));
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
