//! Finding the connections whose deadlines have come. A session computes its deadline
//! (`Session::next_deadline`), the thread that served it stores the deadline in the slot
//! (`OwnedSlot::wait_until`), and the event loop finds it here. The connection then gets a turn, which acts
//! on the deadline.
//!
//! No thread tells the wheel that a deadline has moved, not even to an earlier time. So each entry is
//! checked after the shortest timeout in force at the latest (`max_sleep_millis`): a timeout that begins now
//! ends no earlier than that, and is found in time. (A slow reader has earlier deadlines, six within
//! `timeouts.write`; these may be found late without harm.) So each idle connection is checked every few
//! seconds, for some tens of nanoseconds. The alternative would be a message that wakes the loop for each
//! deadline that moves earlier. That costs microseconds, and such deadlines are common: every request after
//! a pause sets one (the check for its acknowledgement), and so does every close.
//!
//! A slot has one entry in the wheel while its connection is open. The entry stays until it fires, even if the
//! connection closes. If the slot has got another connection by then, the entry serves that one.

use super::slots::{QueuedSlot, Slots};
use super::timer_wheel::TimerWheel;
use crate::clock::Millis;
use crate::config::Config;
use crate::connection::deadline::Deadline;
use crate::connection::ownership::{NotIdle, OwnershipState};
use crate::connection::server_context::Mode;
use crate::connection::session::PROXY_HEADER_SECS;

/// Milliseconds after which a connection that was given a turn is checked again. Its next deadline may be
/// close: it may have begun long ago and have been hidden by the one that is due now.
const RECHECK_MILLIS: u64 = 1000;

/// The longest time between two checks of an entry, in milliseconds: the shortest time after which a
/// deadline can lie.
fn max_sleep_millis(config: &Config) -> u64 {
    let (keep_alive, timeouts) = (&config.keep_alive, &config.timeouts);
    let has_proxies = config.listen.iter().any(|address| address.proxy_protocol);
    let has_tls = config.listen.iter().any(|address| address.tls);
    let all = [
        if has_tls {
            timeouts.handshake_secs
        } else {
            u32::MAX
        },
        if has_proxies {
            PROXY_HEADER_SECS
        } else {
            u32::MAX
        },
        keep_alive.timeout_secs,
        timeouts.head_secs,
        timeouts.body_secs,
        timeouts.write_secs,
        timeouts.linger_secs,
    ];
    let secs = all.into_iter().fold(u32::MAX, u32::min);
    (u64::from(secs) * 1000).min(keep_alive.first_ack_check_millis())
}

/// The timer wheel, and which slots have an entry in it.
#[derive(Debug)]
pub struct Deadlines {
    wheel: TimerWheel,
    fired: Vec<u32>,
    /// For each slot, whether the wheel has an entry.
    is_filed: Vec<bool>,
    /// The longest time between two checks of an entry, in milliseconds.
    max_sleep_millis: u64,
}

impl Deadlines {
    /// An empty wheel that begins at `start`, for the timeouts of `config`.
    #[must_use]
    pub fn new(config: &Config, start: Millis) -> Deadlines {
        Deadlines {
            wheel: TimerWheel::new(start),
            fired: Vec::new(),
            is_filed: Vec::new(),
            max_sleep_millis: max_sleep_millis(config),
        }
    }

    /// Takes over the timeouts of `config` after a reload. If one is shorter than all before, a deadline may now
    /// lie before the next check of its entry, so all entries are filed anew.
    pub fn follow_reload<T>(&mut self, config: &Config, now: Millis, slots: &Slots<T>) {
        let before = std::mem::replace(&mut self.max_sleep_millis, max_sleep_millis(config));
        if self.max_sleep_millis >= before {
            return;
        }
        self.wheel = TimerWheel::new(now);
        let latest = Millis(now.0 + self.max_sleep_millis);
        for (index, _) in self
            .is_filed
            .iter()
            .enumerate()
            .filter(|(_, filed)| **filed)
        {
            // Slots are numbered with 32 bits.
            let index = index as u32;
            let at = slots.at(index).deadline().at();
            self.wheel.file(index, at.min(latest).max(now));
        }
    }

    /// Makes sure that the wheel has an entry for slot `index`, in which a connection was opened.
    pub fn file(&mut self, index: u32, now: Millis) {
        let position = index as usize;
        if self.is_filed.len() <= position {
            self.is_filed.resize(position + 1, false);
        }
        if !std::mem::replace(&mut self.is_filed[position], true) {
            self.wheel
                .file(index, Millis(now.0 + self.max_sleep_millis));
        }
    }

    /// Checks the entries that fire up to `now`. Claims the connections that are due; `dispatch` queues them.
    pub fn claim_due<T>(
        &mut self,
        now: Millis,
        slots: &Slots<T>,
        mode: Mode,
        mut dispatch: impl FnMut(QueuedSlot),
    ) {
        let mut fired = std::mem::take(&mut self.fired);
        self.wheel.advance(now, &mut fired);
        for index in fired.drain(..) {
            if let Some(queued) = self.check(index, now, slots, mode) {
                dispatch(queued);
            }
        }
        // After a jump in time or a mass expiry the buffer is larger than it soon needs to be.
        fired.shrink_to(1024);
        self.fired = fired;
    }

    /// When the next check is due; `None` if the wheel is empty.
    #[must_use]
    pub fn next_check(&self) -> Option<Millis> {
        self.wheel.next_tick()
    }

    fn check<T>(
        &mut self,
        index: u32,
        now: Millis,
        slots: &Slots<T>,
        mode: Mode,
    ) -> Option<QueuedSlot> {
        let slot = slots.at(index);
        // A closed connection leaves its deadline behind. Only this thread opens slots, so the entry can end.
        if slot.state() == OwnershipState::Free {
            self.is_filed[index as usize] = false;
            return None;
        }
        let deadline = match slot.deadline() {
            Deadline::IdleUntilDrain(_) if mode == Mode::Serving => Millis::NEVER,
            deadline => deadline.at(),
        };
        let latest = Millis(now.0 + self.max_sleep_millis);
        if now < deadline {
            self.wheel.file(index, deadline.min(latest));
            return None;
        }
        let soon = latest.min(Millis(now.0 + RECHECK_MILLIS));
        let claim = slot.claim_idle();
        match claim {
            // Busy: a thread owns the connection and has not moved the deadline yet.
            Ok(_) | Err(NotIdle::Busy) => {
                self.wheel.file(index, soon);
            }
            // Closed by its owner since the check above, so the entry ends as there.
            Err(NotIdle::Free) => self.is_filed[index as usize] = false,
        }
        claim.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::slots::{Connection, WaitOutcome};
    use super::*;
    use crate::connection::peer::Peer;
    use crate::connection::session::Session;

    #[test]
    fn no_entry_sleeps_longer_than_the_shortest_timeout() {
        let mut config = Config::default();
        assert_eq!(max_sleep_millis(&config), 5_000, "timeouts.linger");
        config.keep_alive.timeout_secs = 2;
        assert_eq!(max_sleep_millis(&config), 2_000);
        config.keep_alive.grace_secs = 1;
        assert_eq!(max_sleep_millis(&config), 500, "half of grace");
        config.keep_alive.timeout_secs = 60;
        config.keep_alive.grace_secs = 60;
        config.timeouts.linger_secs = 60;
        assert_eq!(max_sleep_millis(&config), 20_000, "timeouts.head");
        config.listen.push("proxy+unix:a".parse().expect("address"));
        assert_eq!(max_sleep_millis(&config), 5_000, "the proxy's header");
    }

    #[test]
    fn a_shorter_timeout_after_a_reload_is_met_from_now_on() {
        let slots = Slots::<()>::new(4);
        let connection = Connection {
            socket: (),
            session: Session::accepted(Peer::Unix, Millis(0)),
        };
        let far = Deadline::First(Millis(50_000));
        let open = slots.begin(slots.at(0).open(Box::new(connection), far));
        assert!(matches!(open.wait_until(far), WaitOutcome::Idle));
        let mut config = Config::default();
        config.timeouts.linger_secs = 60;
        let mut deadlines = Deadlines::new(&config, Millis(0));
        deadlines.file(0, Millis(0));
        assert_eq!(deadlines.max_sleep_millis, 5_000, "half of grace");
        config.keep_alive.grace_secs = 1;
        deadlines.follow_reload(&config, Millis(1_000), &slots);
        let next = deadlines.next_check().expect("an entry");
        assert!(next <= Millis(1_600), "{next:?}");
        let mut claimed = 0;
        deadlines.claim_due(Millis(50_100), &slots, Mode::Serving, |_| claimed += 1);
        assert_eq!(claimed, 1);
    }

    #[test]
    fn an_entry_ends_with_a_closed_slot_and_serves_a_later_connection_in_it() {
        let slots = Slots::<()>::new(4);
        let open = || {
            let connection = Connection {
                socket: (),
                session: Session::accepted(Peer::Unix, Millis(0)),
            };
            let deadline = Deadline::First(Millis(20_000));
            slots.begin(slots.at(0).open(Box::new(connection), deadline))
        };
        let claimed = |deadlines: &mut Deadlines, now| {
            let mut count = 0;
            deadlines.claim_due(Millis(now), &slots, Mode::Serving, |_| count += 1);
            count
        };
        let mut deadlines = Deadlines::new(&Config::default(), Millis(0));
        open().close(drop);
        deadlines.file(0, Millis(0));
        assert_eq!(claimed(&mut deadlines, 6_000), 0);
        assert_eq!(deadlines.next_check(), None, "the slot is free");

        deadlines.file(0, Millis(6_000));
        let waiting = open().wait_until(Deadline::First(Millis(20_000)));
        assert!(matches!(waiting, WaitOutcome::Idle));
        let due: Vec<_> = (6..=21)
            .filter(|secs| claimed(&mut deadlines, secs * 1_000) > 0)
            .collect();
        assert_eq!(due, [20], "one entry finds the deadline");
    }
}
