//! The choice of the revalidator: there is one for each part of the disk that can hang on its own.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::revalidator::Revalidator;

/// The largest number of revalidators beyond those of the roots. Further devices share one per root.
const MAX_ON_DEMAND: usize = 16;

/// A part of the disk that can hang while others answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureDomain {
    /// The file system on this device.
    Device(u64),
    /// Names below a root on this device that lead beyond a mount point, to a device that is not known.
    BeyondMounts(u64),
}

/// Starts the thread of a revalidator, which takes its role if it can be started.
pub type StartRevalidator = Box<dyn Fn(&Arc<Revalidator>) + Send + Sync>;

/// The revalidators of all sites.
#[derive(Default)]
pub struct Revalidators {
    known: Mutex<RevalidatorTable>,
}

#[derive(Default)]
struct RevalidatorTable {
    domains: Vec<(FailureDomain, Arc<Revalidator>)>,
    /// The number of revalidators of roots.
    roots: usize,
    /// `None` before the start, and after the end.
    start: Option<StartRevalidator>,
}

impl Revalidators {
    /// Returns the revalidator of a root on `device`.
    #[must_use]
    pub fn of_root(&self, device: u64) -> Arc<Revalidator> {
        let mut known = self.lock();
        let domain = FailureDomain::Device(device);
        if let Some(revalidator) = known.find(domain) {
            return revalidator;
        }
        known.roots += 1;
        known.add(domain)
    }

    /// Returns the revalidator of `domain`, below a root on `device`. Starts it if there is none yet.
    #[must_use]
    pub fn of(&self, domain: FailureDomain, device: u64) -> Arc<Revalidator> {
        let mut known = self.lock();
        if let Some(revalidator) = known.find(domain) {
            return revalidator;
        }
        if known.domains.len() < known.roots + MAX_ON_DEMAND {
            return known.add(domain);
        }
        let shared = FailureDomain::BeyondMounts(device);
        known.find(shared).unwrap_or_else(|| known.add(shared))
    }

    /// Starts the revalidators that exist, and later each that is added.
    pub fn start(&self, start: StartRevalidator) {
        let mut known = self.lock();
        known
            .domains
            .iter()
            .for_each(|(_, revalidator)| start(revalidator));
        known.start = Some(start);
    }

    /// Ends the revalidators. Does not wait for one that the disk holds up, as it has no state to save.
    pub fn stop(&self) {
        let mut known = self.lock();
        known.start = None;
        known
            .domains
            .iter()
            .for_each(|(_, revalidator)| revalidator.close());
    }

    /// All revalidators; those of the roots come first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Revalidator>> {
        let domains = &self.lock().domains;
        domains
            .iter()
            .map(|(_, revalidator)| Arc::clone(revalidator))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, RevalidatorTable> {
        // No code panics while it holds this lock.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RevalidatorTable {
    fn find(&self, domain: FailureDomain) -> Option<Arc<Revalidator>> {
        let mut domains = self.domains.iter();
        let found = domains.find(|(known, _)| *known == domain);
        found.map(|(_, revalidator)| Arc::clone(revalidator))
    }

    fn add(&mut self, domain: FailureDomain) -> Arc<Revalidator> {
        let revalidator = Arc::new(Revalidator::new());
        if let Some(start) = &self.start {
            start(&revalidator);
        }
        self.domains.push((domain, Arc::clone(&revalidator)));
        revalidator
    }
}

impl fmt::Debug for Revalidators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revalidators")
            .field("domains", &self.lock().domains)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn each_failure_domain_has_a_revalidator_up_to_a_bound() {
        let revalidators = Revalidators::default();
        let root = revalidators.of_root(1);
        assert!(Arc::ptr_eq(&root, &revalidators.of_root(1)));
        let started = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&started);
        revalidators.start(Box::new(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        }));
        assert_eq!(started.load(Ordering::Relaxed), 1);
        let of = |device| revalidators.of(FailureDomain::Device(device), 1);
        assert!(Arc::ptr_eq(&root, &of(1)), "another site's root, linked to");
        assert!(Arc::ptr_eq(&of(2), &of(2)) && !Arc::ptr_eq(&of(2), &of(3)));
        let devices = 2..2 + MAX_ON_DEMAND as u64;
        devices.for_each(|device| drop(of(device)));
        assert_eq!(started.load(Ordering::Relaxed), 1 + MAX_ON_DEMAND);
        assert!(Arc::ptr_eq(&of(1_000), &of(1_001)));
        assert!(Arc::ptr_eq(
            &of(1_000),
            &revalidators.of(FailureDomain::BeyondMounts(1), 1)
        ));
        assert_eq!(started.load(Ordering::Relaxed), 2 + MAX_ON_DEMAND);
    }
}
