//! The event loop's half of deadlines. A session says when (`Session::rest`), the thread that served it
//! leaves that in the slot (`Slot::postpone`), the wheel finds it here, and the turn that is then given
//! acts on it.
//!
//! Nobody tells the wheel that a deadline has moved, not even to an earlier time. So no entry sleeps
//! longer than the shortest timeout in force ([`max_sleep_millis`]): whatever timeout begins now lies at
//! least that far ahead, and is found in time. (A slow reader is looked at between, six times in
//! `timeouts.write`; it does no harm if such a look comes late.) The price is a look at each idle
//! connection every few seconds, some tens of nanoseconds; the alternative, a message and a wake-up of the loop for
//! each deadline that moves earlier, costs microseconds, and such deadlines are common: every request
//! after a pause sets one (the first look at its acknowledgement), and so does every close.
//!
//! Under pressure (90 % of a limit on the connections) connections are sent for before their deadline,
//! as many as it takes (`EventLoop::relieve`). First come those that have never asked for anything, for
//! a second or longer: they were promised nothing. Then come those that have been idle for longer than
//! T, so that each promise is kept. In both groups the longest silence ends first. All slots are looked
//! at for that, once a second: some 13 ms for a million of them. The longest idle among a million take
//! another 10 ms to find, and ten times that under `limits.connections_per_ip`, where all have to be
//! sorted. Without pressure it costs nothing.
//!
//! At a limit a newcomer does not wait for that look (`EventLoop::make_room`). It takes the place of the
//! connection that has been silent for longest without ever asking: after a second of silence, or after
//! a quarter of a second if the newcomer's request is there already. So peers that connect and say
//! nothing can come at any rate: a client that asks has a place within a quarter of a second. The first
//! row that applies decides:
//!
//! | at the limit                                                       | the newcomer              |
//! |--------------------------------------------------------------------|---------------------------|
//! | a connection has never asked, for a second                         | takes its place           |
//! | one has never asked, for 250 ms, and the newcomer has              | takes its place           |
//! | fewer than 64 are being refused                                    | is told 503               |
//! | the limit is that of its address                                   | is closed without a word  |
//! | one has never asked, for 250 ms                                    | is closed without a word  |
//! | otherwise                                                          | waits in the kernel's queue |
//!
//! A server that stops looks at all slots at each tick, for a second or so
//! (`EventLoop::stop_idle_connections`).
//!
//! A slot has one entry in the wheel as long as its connection is open, and keeps it until it fires:
//! the next connection in the slot finds it there.

use std::sync::Arc;

use super::acceptor::{Accepted, Newcomer};
use super::event_loop::EventLoop;
use super::silent::Crowd;
use crate::clock::{Millis, Now};
use crate::config::Config;
use crate::connection::deadline::Deadline;
use crate::connection::ownership::{NotIdle, OwnershipState};
use crate::connection::service::Mode;
use crate::connection::session::{
    SILENT_AT_LIMIT_MILLIS, SILENT_MILLIS, evictable_at, silent_since,
};

/// How often connections are sent for as long as there is pressure. Those of the last time are gone
/// by then, if their clients took notice.
const RELIEF_MILLIS: u64 = 1000;

/// Silent connections that are tried for one newcomer. The first one makes room, unless its request
/// comes in this moment or another event loop is faster.
const TRIES_PER_NEWCOMER: usize = 8;

/// Milliseconds after which a connection that is given a turn is looked at again. Its next deadline may
/// be close: one that began long ago, and was hidden by the one that is due now.
pub const LOOK_AGAIN_MILLIS: u64 = 1000;

/// The longest that an entry sleeps, in milliseconds: the shortest time after which a deadline can
/// lie.
#[must_use]
pub fn max_sleep_millis(config: &Config) -> u64 {
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

impl EventLoop {
    /// Sees to it that the wheel has an entry for slot `index`, in which a connection was opened.
    pub(super) fn file(&mut self, index: u32, now: Millis) {
        let place = index as usize;
        if self.is_filed.len() <= place {
            self.is_filed.resize(place + 1, false);
        }
        if !std::mem::replace(&mut self.is_filed[place], true) {
            self.wheel
                .file(index, Millis(now.0 + self.max_sleep_millis));
        }
    }

    /// Turns the wheel and looks at everything that fires.
    pub(super) fn turn_wheel(&mut self, now: Millis) {
        let mut fired = std::mem::take(&mut self.fired);
        self.wheel.turn(now, &mut fired);
        for index in fired.drain(..) {
            self.look(index, now);
        }
        // A jump in time or a mass expiry leaves a buffer that is not needed again soon.
        fired.shrink_to(1024);
        self.fired = fired;
    }

    fn look(&mut self, index: u32, now: Millis) {
        let shared = &self.shared;
        let slot = shared.slots.at(index);
        let deadline = match slot.deadline() {
            Deadline::Parked(_) if shared.service.mode() == Mode::Serving => Millis::NEVER,
            deadline => deadline.at(),
        };
        let latest = Millis(now.0 + self.max_sleep_millis);
        if now < deadline {
            self.wheel.file(index, deadline.min(latest));
            return;
        }
        let soon = latest.min(Millis(now.0 + LOOK_AGAIN_MILLIS));
        match slot.claim_idle() {
            Ok(queued) => {
                self.wheel.file(index, soon);
                self.dispatch(queued);
            }
            // With a thread that has not moved the deadline yet.
            Err(NotIdle::Busy) => {
                self.wheel.file(index, soon);
            }
            // Closed: the entry ends here.
            Err(NotIdle::Free) => self.is_filed[index as usize] = false,
        }
    }

    /// Sends for connections whose place is needed, once a second.
    pub(super) fn relieve(&mut self, now: Millis) {
        if !self.acceptor.is_pressed() || now < self.next_relief {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let mut excess = self.acceptor.excess(self.all.len());
        self.next_relief = Millis(now.0 + RELIEF_MILLIS);
        // Whether it has asked for anything, its deadline, its slot.
        let mut candidates: Vec<(bool, Millis, u32)> = Vec::new();
        for index in 0..self.acceptor.used() {
            let slot = shared.slots.at(index);
            if slot.state() != OwnershipState::Idle {
                continue;
            }
            match slot.deadline() {
                // One that is refused has nobody's place, so its going makes none.
                Deadline::Linger(_) if !self.acceptor.is_refusing(index) => {
                    excess.note_going(index);
                }
                deadline => {
                    let has_asked = !matches!(deadline, Deadline::First(_));
                    if evictable_at(&shared.service, deadline).is_some_and(|at| now >= at) {
                        candidates.push((has_asked, deadline.at(), index));
                    } else if !has_asked {
                        // It asks or has to go within a second: nobody else goes in its stead.
                        excess.note_going(index);
                    }
                }
            }
        }
        if let Some(most) = excess.most()
            && most < candidates.len()
        {
            candidates.select_nth_unstable(most);
            candidates.truncate(most);
        }
        candidates.sort_unstable();
        candidates.retain(|(.., index)| excess.wants(*index));
        for (.., index) in candidates {
            // The turn looks for bytes once more before it closes anything.
            if let Ok(queued) = shared.slots.at(index).claim_idle() {
                self.dispatch(queued);
            }
        }
    }

    /// Whether some connection has never asked for anything for so long that its place is to be had.
    pub(super) fn can_make_room(&mut self, now: Millis) -> bool {
        self.longest_silent(Crowd::Server, now)
            .is_some_and(|(_, millis)| millis >= SILENT_AT_LIMIT_MILLIS)
    }

    /// Finds a place for a connection that is one too many: that of the longest silent one, or one to be
    /// refused in. `None` if it had to be closed without a word.
    pub(super) fn make_room(&mut self, newcomer: Newcomer, now: Now) -> Option<Accepted> {
        let mut newcomer = newcomer;
        for _ in 0..TRIES_PER_NEWCOMER {
            let crowd = newcomer.crowd;
            let Some((index, millis)) = self.longest_silent(crowd, now.monotonic) else {
                break;
            };
            let is_to_go = millis >= SILENT_MILLIS
                || millis >= SILENT_AT_LIMIT_MILLIS && newcomer.socket.has_input();
            if !is_to_go {
                break;
            }
            self.silent.drop_longest(crowd);
            // The turn looks for bytes once more, and closes what has nothing to say.
            let claimed = self.shared.slots.at(index).claim_idle();
            if let Ok(queued) = claimed {
                self.attend(queued, now);
            }
            match self.acceptor.admit(newcomer.socket, newcomer.peer) {
                Ok(accepted) => return Some(accepted),
                Err(still_crowded) => newcomer = still_crowded,
            }
        }
        self.acceptor.refuse(newcomer)
    }

    /// The slot of the connection that has never asked for anything for longest, and for how many
    /// milliseconds.
    fn longest_silent(&mut self, crowd: Crowd, now: Millis) -> Option<(u32, u64)> {
        let (index, late_at) = self.silent.longest(crowd, &self.shared.slots)?;
        let since = silent_since(&self.shared.service, late_at);
        Some((index, now.since(since)))
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
