//! The checkers: threads that compare what is in memory with the disk, and do nothing else. Readers that
//! are stuck cannot delay them ([`Checks`]).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use crate::clock::Clock;
use crate::connection::service::Service;
use crate::site::memory::{Checks, Post};

/// Starts a checker for each file system that has a root, and later for others below it, when they are
/// wanted. Where none can be started, the workers compare.
pub fn start(service: &Arc<Service>, clock: &Arc<dyn Clock>) {
    let Some(checkers) = service.sites.checkers() else {
        return;
    };
    // The checkers belong to the service.
    let (service, clock) = (Arc::downgrade(service), Arc::clone(clock));
    checkers.start(Box::new(move |checks| {
        if let Some(service) = service.upgrade() {
            start_one(checks, service, Arc::clone(&clock));
        }
    }));
}

fn start_one(checks: &Arc<Checks>, service: Arc<Service>, clock: Arc<dyn Clock>) {
    let post = checks.man();
    let thread = thread::Builder::new().name("checker".to_owned());
    if let Err(error) = thread.spawn(move || check(&post, &service, &*clock)) {
        log::error!("no thread to compare files: {error}; the workers do it");
    }
}

/// Has the checkers end. One that the disk holds up is not waited for: it has nothing to lose.
pub fn stop(service: &Service) {
    if let Some(checkers) = service.sites.checkers() {
        checkers.stop();
    }
}

fn check(post: &Post, service: &Service, clock: &dyn Clock) {
    while let Some(order) = post.take() {
        post.begin(order.at);
        let carry_out = || service.sites.carry_out(&order, || clock.now().monotonic);
        if catch_unwind(AssertUnwindSafe(carry_out)).is_err() {
            // The panic hook has printed where. Whoever waited asks again.
            log::error!("a comparison panicked: {}", order.subject);
        }
        post.end();
    }
}
