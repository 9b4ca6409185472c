//! The event loop's half of deadlines. A session says when (`Session::rest`), the thread that served it
//! leaves that in the slot (`OwnedSlot::wait_until`), the wheel finds it here, and the turn that is then given
//! acts on it.
//!
//! Nobody tells the wheel that a deadline has moved, not even to an earlier time. So no entry sleeps
//! longer than the shortest timeout in force (`max_sleep_millis`): whatever timeout begins now lies at
//! least that far ahead, and is found in time. (A slow reader is looked at between, six times in
//! `timeouts.write`; it does no harm if such a look comes late.) The price is a look at each idle
//! connection every few seconds, some tens of nanoseconds; the alternative, a message and a wake-up of the loop for
//! each deadline that moves earlier, costs microseconds, and such deadlines are common: every request
//! after a pause sets one (the first look at its acknowledgement), and so does every close.
//!
//! A slot has one entry in the wheel as long as its connection is open, and keeps it until it fires:
//! the next connection in the slot finds it there.

use super::slots::{QueuedSlot, Slots};
use super::timer_wheel::TimerWheel;
use crate::clock::Millis;
use crate::config::Config;
use crate::connection::deadline::Deadline;
use crate::connection::ownership::{NotIdle, OwnershipState};
use crate::connection::server_context::Mode;

/// Milliseconds after which a connection that is given a turn is looked at again. Its next deadline may
/// be close: one that began long ago, and was hidden by the one that is due now.
const LOOK_AGAIN_MILLIS: u64 = 1000;

/// The longest that an entry sleeps, in milliseconds: the shortest time after which a deadline can
/// lie.
fn max_sleep_millis(config: &Config) -> u64 {
    let (keep_alive, timeouts) = (&config.keep_alive, &config.timeouts);
    let all = [
        keep_alive.timeout_secs,
        timeouts.head_secs,
        timeouts.body_secs,
        timeouts.write_secs,
        timeouts.linger_secs,
    ];
    let secs = all.into_iter().fold(u32::MAX, u32::min);
    (u64::from(secs) * 1000).min(keep_alive.first_look_millis())
}

/// The wheel, and which slots are filed in it.
#[derive(Debug)]
pub struct Deadlines {
    wheel: TimerWheel,
    fired: Vec<u32>,
    /// For each slot, whether the wheel has an entry.
    is_filed: Vec<bool>,
    /// The longest that an entry sleeps.
    max_sleep_millis: u64,
}

impl Deadlines {
    /// No deadlines yet, at `start`, under the timeouts of `config`.
    #[must_use]
    pub fn new(config: &Config, start: Millis) -> Deadlines {
        Deadlines {
            wheel: TimerWheel::new(start),
            fired: Vec::new(),
            is_filed: Vec::new(),
            max_sleep_millis: max_sleep_millis(config),
        }
    }

    /// Sees to it that the wheel has an entry for slot `index`, in which a connection was opened.
    pub fn file(&mut self, index: u32, now: Millis) {
        let place = index as usize;
        if self.is_filed.len() <= place {
            self.is_filed.resize(place + 1, false);
        }
        if !std::mem::replace(&mut self.is_filed[place], true) {
            self.wheel
                .file(index, Millis(now.0 + self.max_sleep_millis));
        }
    }

    /// Looks at everything that the wheel holds up to `now`, and claims the connections that are due for
    /// `dispatch`.
    pub fn turn<T>(
        &mut self,
        now: Millis,
        slots: &Slots<T>,
        mode: Mode,
        mut dispatch: impl FnMut(QueuedSlot),
    ) {
        let mut fired = std::mem::take(&mut self.fired);
        self.wheel.turn(now, &mut fired);
        for index in fired.drain(..) {
            if let Some(queued) = self.look(index, now, slots, mode) {
                dispatch(queued);
            }
        }
        // A jump in time or a mass expiry leaves a buffer that is not needed again soon.
        fired.shrink_to(1024);
        self.fired = fired;
    }

    /// When the next look is due; `None` if nothing is filed.
    #[must_use]
    pub fn next_look(&self) -> Option<Millis> {
        self.wheel.next_tick()
    }

    fn look<T>(
        &mut self,
        index: u32,
        now: Millis,
        slots: &Slots<T>,
        mode: Mode,
    ) -> Option<QueuedSlot> {
        let slot = slots.at(index);
        // A closed connection leaves its deadline behind. Only this thread opens slots, so the entry ends here.
        if slot.state() == OwnershipState::Free {
            self.is_filed[index as usize] = false;
            return None;
        }
        let deadline = match slot.deadline() {
            Deadline::Parked(_) if mode == Mode::Serving => Millis::NEVER,
            deadline => deadline.at(),
        };
        let latest = Millis(now.0 + self.max_sleep_millis);
        if now < deadline {
            self.wheel.file(index, deadline.min(latest));
            return None;
        }
        let soon = latest.min(Millis(now.0 + LOOK_AGAIN_MILLIS));
        let claim = slot.claim_idle();
        match claim {
            // Busy: with a thread that has not moved the deadline yet.
            Ok(_) | Err(NotIdle::Busy) => {
                self.wheel.file(index, soon);
            }
            // Closed: the entry ends here.
            Err(NotIdle::Free) => self.is_filed[index as usize] = false,
        }
        claim.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_entry_sleeps_longer_than_the_shortest_timeout() {
        let mut config = Config::default();
        assert_eq!(max_sleep_millis(&config), 5_000, "timeouts.linger");
        config.keep_alive.timeout_secs = 2;
        assert_eq!(max_sleep_millis(&config), 2_000);
        config.keep_alive.grace_secs = 1;
        assert_eq!(max_sleep_millis(&config), 500, "half of grace");
    }
}
