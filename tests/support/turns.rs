//! A session with the buffers of its thread, and the one place that makes its turns.

use std::sync::Arc;

use abide::clock::{Millis, Now};
use abide::connection::counters::Counters;
use abide::connection::desk::Desk;
use abide::connection::peer::Peer as Address;
use abide::connection::service::Service;
use abide::connection::session::{Outcome, Session, Turn};
use abide::connection::transport::Transport;
use abide::site::Reach;

/// The first second of 2100: all files are older, whenever a test runs and they were checked out.
pub const START_UNIX_SECS: u64 = 4_102_444_800;

/// The time of day goes with the monotonic clock, from [`START_UNIX_SECS`] on.
pub fn at(monotonic: Millis) -> Now {
    Now {
        monotonic,
        unix_secs: START_UNIX_SECS + monotonic.0 / 1_000,
    }
}

/// One connection of a server with one thread. Time is made by hand.
pub struct SingleSession {
    pub session: Session,
    pub desk: Desk,
}

impl SingleSession {
    /// A connection from `address` that is accepted at time 0.
    pub fn accepted(service: &Service, address: Address) -> SingleSession {
        SingleSession {
            session: Session::accepted(address, Millis(0)),
            desk: Desk::new(&service.config, Arc::new(Counters::default())),
        }
    }

    /// Gives the session a turn that no other connection waits for. `read_closed` says whether the kernel
    /// has announced the peer's FIN.
    pub fn turn<T: Transport>(
        &mut self,
        service: &Service,
        io: &mut T,
        now: Millis,
        reach: Reach,
        read_closed: bool,
    ) -> Outcome {
        let outcome = self.session.turn(&mut Turn {
            io,
            desk: &mut self.desk,
            service,
            now: at(now),
            reach,
            read_closed,
            gives_up: false,
            is_over: &|| false,
        });
        // As the attendant does.
        if let Some(log) = &mut self.desk.log {
            log.end_turn(now.0 * 1_000);
        }
        outcome
    }
}
