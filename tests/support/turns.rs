//! A session with the buffers of its thread, and the only function that gives it turns.

use std::sync::Arc;

use abide::clock::{Millis, Now};
use abide::connection::counters::Counters;
use abide::connection::peer::Peer as Address;
use abide::connection::server_context::ServerContext;
use abide::connection::session::{Outcome, Session, Turn};
use abide::connection::thread_buffers::ThreadBuffers;
use abide::connection::transport::Transport;
use abide::site::MayBlock;

/// The first second of 2100: every file is older, whenever a test runs.
pub const START_UNIX_SECS: u64 = 4_102_444_800;

/// The time of day advances with the monotonic clock, from [`START_UNIX_SECS`] on.
pub fn at(monotonic: Millis) -> Now {
    Now {
        monotonic,
        unix_secs: START_UNIX_SECS + monotonic.0 / 1_000,
    }
}

/// One connection of a server with one thread. The test supplies the time.
pub struct SingleSession {
    pub session: Session,
    pub buffers: ThreadBuffers,
}

impl SingleSession {
    /// A connection from `address` that is accepted at time 0.
    pub fn accepted(context: &ServerContext, address: Address) -> SingleSession {
        SingleSession {
            session: Session::accepted(address, Millis(0)),
            buffers: ThreadBuffers::new(&context.config, Arc::new(Counters::default())),
        }
    }

    /// Gives the session a turn that no other connection waits for. `read_closed` says whether the kernel
    /// has announced the peer's FIN.
    pub fn turn<T: Transport>(
        &mut self,
        context: &ServerContext,
        io: &mut T,
        now: Millis,
        may_block: MayBlock,
        read_closed: bool,
    ) -> Outcome {
        self.buffers.timer.begin(now.0 * 1_000);
        let outcome = self.session.turn(&mut Turn {
            io,
            buffers: &mut self.buffers,
            context,
            now: at(now),
            may_block,
            read_closed,
            gives_up: false,
            is_over: &|| false,
        });
        // As the turn runner does.
        self.buffers.count_responses(now.0 * 1_000);
        if let Some(log) = &mut self.buffers.log {
            log.end_turn(now.0 * 1_000);
        }
        outcome
    }
}
