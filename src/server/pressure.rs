//! Which connections have to go when places are short: decided on the event loop, for its own slots.
//!
//! Under pressure (90 % of a limit on the connections) connections are sent for before their deadline,
//! as many as it takes ([`Pressure::relieve`]). First come those that have never asked for anything, for
//! a second or longer: they were promised nothing. Then come those that have been idle for longer than
//! T, so that each promise is kept. In both groups the longest silence ends first. All slots are looked
//! at for that, once a second: some 13 ms for a million of them. The longest idle among a million take
//! another 10 ms to find, and ten times that under `limits.connections_per_ip`, where all have to be
//! sorted. Without pressure it costs nothing.
//!
//! At a limit a newcomer does not wait for that look ([`Pressure::next_to_go`]). It takes the place of the
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

use super::acceptor::Acceptor;
use super::shared::Shared;
use super::silent::{Crowd, SilentQueue};
use super::slots::QueuedSlot;
use crate::clock::Millis;
use crate::connection::deadline::Deadline;
use crate::connection::limits::client_network::ClientNetwork;
use crate::connection::ownership::{NotIdle, OwnershipState};
use crate::connection::session::{
    SILENT_AT_LIMIT_MILLIS, SILENT_MILLIS, evictable_at, silent_since,
};

/// How often connections are sent for as long as there is pressure. Those of the last time are gone
/// by then, if their clients took notice.
const RELIEF_MILLIS: u64 = 1000;

/// Silent connections that are tried for one newcomer. The first one makes room, unless its request
/// comes in this moment or another event loop is faster.
pub const TRIES_PER_NEWCOMER: usize = 8;

/// The memory of an event loop of those that could go.
#[derive(Debug, Default)]
pub struct Pressure {
    /// The connections that have never asked for anything.
    silent: SilentQueue,
    /// When connections are next sent for, if there is pressure.
    next_relief: Millis,
}

impl Pressure {
    /// When connections are next sent for, if there is pressure.
    #[must_use]
    pub fn next_relief(&self) -> Millis {
        self.next_relief
    }

    /// Takes note of the connection that was accepted last, in slot `index`, if it is of this `generation`
    /// and has not asked for anything in its first turn. `client` is given if its connections are counted.
    pub fn note_accepted<T>(
        &mut self,
        (index, generation): (u32, u32),
        client: Option<ClientNetwork>,
        shared: &Shared<T>,
    ) {
        let slot = shared.slots.at(index);
        // As far as this thread can see it has sent no request.
        if let Deadline::First(_) = slot.deadline()
            && slot.generation() == generation
        {
            self.silent.push(index, generation, client, &shared.slots);
        }
    }

    /// Claims connections whose place is needed, once a second. Their turns look for bytes once more before
    /// they close anything. `acceptors` divide the work among them.
    pub fn relieve<T>(
        &mut self,
        now: Millis,
        acceptor: &Acceptor,
        acceptors: usize,
        shared: &Shared<T>,
    ) -> Vec<QueuedSlot> {
        if !acceptor.is_pressed() || now < self.next_relief {
            return Vec::new();
        }
        let mut excess = acceptor.excess(acceptors);
        self.next_relief = Millis(now.0 + RELIEF_MILLIS);
        // Whether it has asked for anything, its deadline, its slot.
        let mut candidates: Vec<(bool, Millis, u32)> = Vec::new();
        for index in 0..acceptor.used() {
            let slot = shared.slots.at(index);
            if slot.state() != OwnershipState::Idle {
                continue;
            }
            match slot.deadline() {
                // One that is refused has nobody's place, so its going makes none.
                Deadline::Linger(_) if !acceptor.is_refusing(index) => {
                    excess.note_going(index);
                }
                deadline => {
                    let has_asked = !matches!(deadline, Deadline::First(_));
                    if evictable_at(&shared.context, deadline).is_some_and(|at| now >= at) {
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
        let claim = |(.., index): (bool, Millis, u32)| shared.slots.at(index).claim_idle().ok();
        candidates.into_iter().filter_map(claim).collect()
    }

    /// Whether some connection has never asked for anything for so long that its place is to be had.
    pub fn can_make_room<T>(&mut self, now: Millis, shared: &Shared<T>) -> bool {
        self.longest_silent(Crowd::Server, now, shared)
            .is_some_and(|(_, millis)| millis >= SILENT_AT_LIMIT_MILLIS)
    }

    /// The connection whose place a newcomer to `crowd` takes: the longest silent one. `has_asked`: whether
    /// the newcomer's request is there already. `None` if all stay.
    ///
    /// The turn looks for bytes once more, and closes what has nothing to say.
    ///
    /// # Errors
    /// If another thread is at that connection.
    pub fn next_to_go<T>(
        &mut self,
        crowd: Crowd,
        has_asked: impl FnOnce() -> bool,
        now: Millis,
        shared: &Shared<T>,
    ) -> Option<Result<QueuedSlot, NotIdle>> {
        let (index, millis) = self.longest_silent(crowd, now, shared)?;
        let is_to_go = millis >= SILENT_MILLIS || millis >= SILENT_AT_LIMIT_MILLIS && has_asked();
        if !is_to_go {
            return None;
        }
        self.silent.drop_longest(crowd);
        Some(shared.slots.at(index).claim_idle())
    }

    /// The slot of the connection that has never asked for anything for longest, and for how many
    /// milliseconds.
    fn longest_silent<T>(
        &mut self,
        crowd: Crowd,
        now: Millis,
        shared: &Shared<T>,
    ) -> Option<(u32, u64)> {
        let (index, late_at) = self.silent.longest(crowd, &shared.slots)?;
        let since = silent_since(&shared.context, late_at);
        Some((index, now.since(since)))
    }
}
