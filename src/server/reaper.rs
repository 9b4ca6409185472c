//! The event loop's half of deadlines. A session says when (`Session::rest`), the worker leaves that
//! in the slot, the wheel finds it here, and the worker that is then sent acts on it.

use super::event_loop::EventLoop;
use super::timer_wheel::{Tick, tick_of};
use crate::clock::Millis;
use crate::connection::ownership::Claim;

/// A connection whose deadline has passed is looked at again after this time, should it still be
/// with a worker, or have said nothing new.
const LOOK_AGAIN_MILLIS: u64 = 1_000;

impl EventLoop {
    /// Files the connection in slot `index` under its deadline.
    pub(super) fn file(&mut self, index: u32) {
        let deadline = self.shared.slots.at(index).deadline();
        self.file_at(index, deadline, deadline);
    }

    /// Turns the wheel and looks at everything that fires.
    pub(super) fn turn_wheel(&mut self, now: Millis) {
        let mut fired = std::mem::take(&mut self.fired);
        self.wheel.turn(now, &mut fired);
        for (index, tick) in fired.drain(..) {
            self.look(index, tick, now);
        }
        // A jump in time or a mass expiry leaves a buffer that is not needed again soon.
        fired.shrink_to(1024);
        self.fired = fired;
    }

    fn look(&mut self, index: u32, tick: Tick, now: Millis) {
        let slot = self.shared.slots.at(index);
        if slot.filed_under() != tick {
            // Superseded: the connection was filed again under an earlier tick.
            return;
        }
        let deadline = slot.deadline();
        if now < deadline {
            // The connection was used meanwhile, which moved only its own deadline.
            self.file_at(index, deadline, deadline);
            return;
        }
        let look_again_at = Millis(now.0 + LOOK_AGAIN_MILLIS);
        match slot.ownership.claim_idle() {
            Claim::Claimed => {
                self.dispatch(index);
                self.file_at(index, look_again_at, deadline);
            }
            Claim::Busy => self.file_at(index, look_again_at, deadline),
            // Closed; the entry ends here.
            Claim::Free => slot.set_filed_under(Tick(u64::MAX)),
        }
    }

    /// Files slot `index` for a look at `at`. `seen` is the deadline that the caller has read: a
    /// worker that stored an earlier one before it could see the new tick (`Slot::postpone`) has not
    /// told us, so it is looked for here.
    fn file_at(&mut self, index: u32, at: Millis, seen: Millis) {
        let (mut at, mut seen) = (at, seen);
        loop {
            let tick = self.wheel.file(index, at);
            let slot = self.shared.slots.at(index);
            slot.set_filed_under(tick);
            let stored = slot.deadline();
            if stored == seen || tick_of(stored) >= tick {
                return;
            }
            (at, seen) = (stored, stored);
        }
    }
}
