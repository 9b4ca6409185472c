//! The revalidator threads ([`Revalidator`]). They only compare files in memory with the disk, so workers
//! that are stuck in reads cannot delay them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use crate::clock::Clock;
use crate::connection::server_context::ServerContext;
use crate::site::memory::{Revalidator, RevalidatorRole};

/// Starts a revalidator for each file system that has a root, and later for file systems below a root when
/// they are first used. If a thread cannot be started, the workers compare.
pub fn start(context: &Arc<ServerContext>, clock: &Arc<dyn Clock>) {
    let Some(revalidators) = context.sites.revalidators() else {
        return;
    };
    // The revalidators belong to the context, so they must not keep it alive.
    let (context, clock) = (Arc::downgrade(context), Arc::clone(clock));
    revalidators.start(Box::new(move |revalidator| {
        if let Some(context) = context.upgrade() {
            start_one(revalidator, context, Arc::clone(&clock));
        }
    }));
}

fn start_one(revalidator: &Arc<Revalidator>, context: Arc<ServerContext>, clock: Arc<dyn Clock>) {
    let role = revalidator.take_role();
    let thread = thread::Builder::new().name("revalidator".to_owned());
    if let Err(error) = thread.spawn(move || run(&role, &context, &*clock)) {
        log::error!("a revalidator cannot be started: {error}; the workers compare files instead");
    }
}

/// Ends the revalidators. The end of the server does not wait for them: they have nothing to lose.
pub fn stop(context: &ServerContext) {
    if let Some(revalidators) = context.sites.revalidators() {
        revalidators.stop();
    }
}

fn run(role: &RevalidatorRole, context: &ServerContext, clock: &dyn Clock) {
    while let Some(order) = role.take() {
        role.begin(order.at);
        let carry_out = || context.sites.carry_out(&order, || clock.now().monotonic);
        if catch_unwind(AssertUnwindSafe(carry_out)).is_err() {
            // The panic hook has printed where it was. Requests that waited for the result ask again.
            log::error!("a comparison panicked: {}", order.subject);
        }
        role.end();
    }
}
