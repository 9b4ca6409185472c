//! The event loop's half of deadlines. A session says when (`Session::rest`), the worker leaves that
//! in the slot (`Slot::postpone`), the wheel finds it here, and the worker that is then sent acts on
//! it.
//!
//! Nobody tells the wheel that a deadline has moved, not even to an earlier time. So no entry sleeps
//! longer than the shortest timeout in force ([`max_sleep_secs`]): whatever deadline is set now lies
//! at least that far ahead, and is found in time. The price is a look at each idle connection every
//! few seconds, some tens of nanoseconds; the alternative, a message and a wake-up of the loop for
//! each deadline that moves earlier, costs microseconds, and such deadlines are common: every request
//! after a pause sets one (the first look at its acknowledgement), and so does every close.
//!
//! A slot has one entry in the wheel as long as its connection is open, and keeps it until it fires:
//! the next connection in the slot finds it there.

use super::event_loop::EventLoop;
use crate::clock::Millis;
use crate::config::Config;
use crate::connection::ownership::Claim;

/// The longest that an entry sleeps, in seconds: the shortest time after which a deadline can lie.
#[must_use]
pub fn max_sleep_secs(config: &Config) -> u32 {
    let (keep_alive, timeouts) = (&config.keep_alive, &config.timeouts);
    let all = [
        keep_alive.timeout_secs,
        keep_alive.grace_secs,
        timeouts.head_secs,
        timeouts.body_secs,
        timeouts.write_secs,
        timeouts.linger_secs,
    ];
    all.into_iter().fold(u32::MAX, u32::min)
}

impl EventLoop {
    /// Sees to it that the wheel has an entry for slot `index`, in which a connection was opened.
    pub(super) fn file(&mut self, index: u32, now: Millis) {
        let place = index as usize;
        if self.is_filed.len() <= place {
            self.is_filed.resize(place + 1, false);
        }
        if !std::mem::replace(&mut self.is_filed[place], true) {
            self.wheel.file(index, now.plus_secs(self.max_sleep_secs));
        }
    }

    /// Turns the wheel and looks at everything that fires.
    pub(super) fn turn_wheel(&mut self, now: Millis) {
        let mut fired = std::mem::take(&mut self.fired);
        self.wheel.turn(now, &mut fired);
        for (index, _) in fired.drain(..) {
            self.look(index, now);
        }
        // A jump in time or a mass expiry leaves a buffer that is not needed again soon.
        fired.shrink_to(1024);
        self.fired = fired;
    }

    fn look(&mut self, index: u32, now: Millis) {
        let slot = self.shared.slots.at(index);
        let deadline = slot.deadline();
        let latest = now.plus_secs(self.max_sleep_secs);
        if now < deadline {
            self.wheel.file(index, deadline.min(latest));
            return;
        }
        match slot.ownership.claim_idle() {
            Claim::Claimed => {
                self.wheel.file(index, latest);
                self.dispatch(index);
            }
            // With a worker that has not moved the deadline yet.
            Claim::Busy => {
                self.wheel.file(index, latest);
            }
            // Closed: the entry ends here.
            Claim::Free => self.is_filed[index as usize] = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_entry_sleeps_longer_than_the_shortest_timeout() {
        let mut config = Config::default();
        assert_eq!(max_sleep_secs(&config), 5, "timeouts.linger");
        config.keep_alive.timeout_secs = 2;
        assert_eq!(max_sleep_secs(&config), 2);
    }
}
