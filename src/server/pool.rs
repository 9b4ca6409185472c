//! The worker pool: threads that may wait for the disk.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::parked_workers::WorkerKind;
use super::revalidators;
use super::shared::Shared;
use super::spares;
use super::worker::Worker;

/// The running workers of all event loops. Dropping it tells them to end.
pub struct Pool {
    all: Arc<[Arc<Shared>]>,
    /// Disconnected when the last worker has ended.
    ended: Receiver<()>,
}

impl Pool {
    /// Starts the workers of each event loop, the supervisor of the spare workers, and the revalidators.
    ///
    /// # Errors
    /// As pthread_create(3). Workers that were started already are stopped.
    pub fn start(all: Arc<[Arc<Shared>]>) -> std::io::Result<Pool> {
        let (alive, ended) = crossbeam_channel::bounded::<()>(0);
        // Made first, so that its drop stops the started workers if one fails to start.
        let pool = Pool { all, ended };
        for shared in &*pool.all {
            // The first set belongs to the event loop.
            let numbered = shared.counters.iter().enumerate();
            let numbered = numbered.skip(1).take(shared.workers);
            for (number, counters) in numbered {
                let worker = Worker::new(shared, counters, WorkerKind::Permanent);
                let alive = alive.clone();
                let name = format!("worker-{}.{number}", shared.number);
                thread::Builder::new().name(name).spawn(move || {
                    worker.run();
                    drop(alive);
                })?;
            }
        }
        spares::supervise(&pool.all, alive);
        let active = pool.all[0].config.get();
        revalidators::start(&active.context, &pool.all[0].clock);
        Ok(pool)
    }

    /// Makes the workers finish the queued work, write their logs and end. Waits for them, but no longer than
    /// `timeout`: the disk may hold them up.
    pub fn stop(&self, timeout: Duration) {
        self.tell_to_end();
        // Nothing is sent: this ends when the last worker has, or with the time.
        let _ = self.ended.recv_timeout(timeout);
    }

    fn tell_to_end(&self) {
        for shared in &*self.all {
            shared.handoff.close();
        }
        revalidators::stop(&self.all[0].config.get().context);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.tell_to_end();
    }
}
