//! The revalidators: threads that compare what is in memory with the disk, and do nothing else. Readers that
//! are stuck cannot delay them ([`Revalidator`]).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use crate::clock::Clock;
use crate::connection::server_context::ServerContext;
use crate::site::memory::{Revalidator, RevalidatorRole};

/// Starts a revalidator for each file system that has a root, and later for others below it, when they are
/// wanted. Where none can be started, the workers compare.
pub fn start(context: &Arc<ServerContext>, clock: &Arc<dyn Clock>) {
    let Some(revalidators) = context.sites.revalidators() else {
        return;
    };
    // The revalidators belong to the context.
    let (context, clock) = (Arc::downgrade(context), Arc::clone(clock));
    revalidators.start(Box::new(move |revalidator| {
        if let Some(context) = context.upgrade() {
            start_one(revalidator, context, Arc::clone(&clock));
        }
    }));
}

fn start_one(revalidator: &Arc<Revalidator>, context: Arc<ServerContext>, clock: Arc<dyn Clock>) {
    let post = revalidator.take_role();
    let thread = thread::Builder::new().name("revalidator".to_owned());
    if let Err(error) = thread.spawn(move || check(&post, &context, &*clock)) {
        log::error!("no thread to compare files: {error}; the workers do it");
    }
}

/// Has the revalidators end. One that the disk holds up is not waited for: it has nothing to lose.
pub fn stop(context: &ServerContext) {
    if let Some(revalidators) = context.sites.revalidators() {
        revalidators.stop();
    }
}

fn check(post: &RevalidatorRole, context: &ServerContext, clock: &dyn Clock) {
    while let Some(order) = post.take() {
        post.begin(order.at);
        let carry_out = || context.sites.carry_out(&order, || clock.now().monotonic);
        if catch_unwind(AssertUnwindSafe(carry_out)).is_err() {
            // The panic hook has printed where. Whoever waited asks again.
            log::error!("a comparison panicked: {}", order.subject);
        }
        post.end();
    }
}
