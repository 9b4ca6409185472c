//! The pool: threads that may wait for the disk.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::attendant::{Attendant, Attended, park};
use super::checker;
use super::handoff::Work;
use super::shared::Shared;
use crate::clock::Millis;
use crate::connection::c_calls;
use crate::connection::desk::Desk;
use crate::site::Reach;

/// The running workers of all event loops. Dropping it tells them to end.
pub struct Pool {
    all: Arc<[Arc<Shared>]>,
    /// Disconnected when the last worker has ended.
    ended: Receiver<()>,
}

impl Pool {
    /// Starts a worker for each set of counters of each event loop, but the first, which is the loop's
    /// own.
    ///
    /// # Errors
    /// As pthread_create(3). Those that were started are stopped.
    pub fn start(all: Arc<[Arc<Shared>]>) -> std::io::Result<Pool> {
        let (alive, ended) = crossbeam_channel::bounded::<()>(0);
        // Made first: should a thread fail to start, the others are stopped.
        let pool = Pool { all, ended };
        for shared in &*pool.all {
            for (number, counters) in shared.counters.iter().enumerate().skip(1) {
                let desk = Desk::new(&shared.service.config, Arc::clone(counters));
                let worker = Worker::new(Arc::clone(shared), desk);
                let alive = alive.clone();
                let name = format!("worker-{}.{number}", shared.number);
                thread::Builder::new().name(name).spawn(move || {
                    worker.run();
                    drop(alive);
                })?;
            }
        }
        checker::start(&pool.all[0].service, &pool.all[0].clock);
        Ok(pool)
    }

    /// Has the workers finish what there is, write their logs and end. Whether they have, within
    /// `patience`: the disk may hold them up.
    pub fn stop(&self, patience: Duration) -> bool {
        self.tell_to_end();
        let ended = self.ended.recv_timeout(patience);
        ended == Err(RecvTimeoutError::Disconnected)
    }

    fn tell_to_end(&self) {
        for shared in &*self.all {
            shared.handoff.close();
        }
        checker::stop(&self.all[0].service);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.tell_to_end();
    }
}

/// One thread of the pool.
#[derive(Debug)]
struct Worker {
    shared: Arc<Shared>,
    attendant: Attendant,
}

impl Worker {
    fn new(shared: Arc<Shared>, desk: Desk) -> Worker {
        let attendant = Attendant::new(Arc::clone(&shared), desk, Reach::Disk);
        Worker { shared, attendant }
    }

    /// Serves until the hand-off is closed.
    fn run(mut self) {
        let mut slow_first = true;
        let mut now = Millis(0);
        let mut log_due_at: Option<Millis> = None;
        loop {
            let patience = log_due_at.map(|due| Duration::from_millis(due.since(now)));
            now = match self.shared.handoff.pick_up(slow_first, patience) {
                Some(Work::Turn(slot)) => self.serve(slot),
                // What the errand has brought may be nowhere else: it is dropped after the turn.
                Some(Work::Resume(slot, _errand)) => self.serve(slot),
                Some(Work::GiveBackMemory) => {
                    c_calls::give_back_memory();
                    self.shared.clock.now().monotonic
                }
                None if self.shared.handoff.is_closed() => break,
                None => self.shared.clock.now().monotonic,
            };
            slow_first = !slow_first;
            log_due_at = self.attendant.log_due_at(now);
            if log_due_at.is_some_and(|due| now >= due) {
                self.attendant.leave_log();
                log_due_at = None;
            }
        }
        self.attendant.leave_log();
    }

    /// Gives one turn. Returns the time at its end, which will not do for the next turn: that may have been
    /// queued for a deadline that has passed since.
    fn serve(&mut self, slot: u32) -> Millis {
        let (attended, now) = self.attendant.attend(slot, self.shared.clock.now());
        match attended {
            Attended::Waits => {}
            Attended::WantsMore => self.shared.handoff.defer(Work::Turn(slot)),
            Attended::Awaits(errand) => park(&self.shared, slot, &errand),
            Attended::Closed => self.shared.report_closed(slot),
        }
        now.monotonic
    }
}
