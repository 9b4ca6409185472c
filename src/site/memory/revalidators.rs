//! Which revalidator looks at what: one for each part of the disk that can hang by itself.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::revalidator::Revalidator;

/// Areas beyond those of the roots that get a revalidator each. Further devices share one for each root.
const MAX_ON_DEMAND: usize = 16;

/// A part of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// The file system on this device.
    Device(u64),
    /// Names below a root on this device, but beyond a mount point, on a device that is not known.
    BeyondMounts(u64),
}

/// Starts a revalidator; it mans the place if it can.
pub type Start = Box<dyn Fn(&Arc<Revalidator>) + Send + Sync>;

/// The revalidators of all sites.
#[derive(Default)]
pub struct Revalidators {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    areas: Vec<(Area, Arc<Revalidator>)>,
    /// How many of them are those of roots.
    roots: usize,
    /// `None` before the start, and after the end.
    start: Option<Start>,
}

impl Revalidators {
    /// Where comparisons are ordered for a root on `device`.
    #[must_use]
    pub fn of_root(&self, device: u64) -> Arc<Revalidator> {
        let mut known = self.lock();
        let area = Area::Device(device);
        if let Some(revalidator) = known.find(area) {
            return revalidator;
        }
        known.roots += 1;
        known.add(area)
    }

    /// Where comparisons are ordered in `area`, below a root on `device`. The revalidator is started if there
    /// is none yet.
    #[must_use]
    pub fn of(&self, area: Area, device: u64) -> Arc<Revalidator> {
        let mut known = self.lock();
        if let Some(revalidator) = known.find(area) {
            return revalidator;
        }
        if known.areas.len() < known.roots + MAX_ON_DEMAND {
            return known.add(area);
        }
        let shared = Area::BeyondMounts(device);
        known.find(shared).unwrap_or_else(|| known.add(shared))
    }

    /// Starts the revalidators that are wanted so far, and later those that will be.
    pub fn start(&self, start: Start) {
        let mut known = self.lock();
        known
            .areas
            .iter()
            .for_each(|(_, revalidator)| start(revalidator));
        known.start = Some(start);
    }

    /// Has the revalidators end. One that the disk holds up is not waited for: it has nothing to lose.
    pub fn stop(&self) {
        let mut known = self.lock();
        known.start = None;
        known
            .areas
            .iter()
            .for_each(|(_, revalidator)| revalidator.close());
    }

    /// All places for orders; those of the roots come first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Revalidator>> {
        let areas = &self.lock().areas;
        areas
            .iter()
            .map(|(_, revalidator)| Arc::clone(revalidator))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing in here panics.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn find(&self, area: Area) -> Option<Arc<Revalidator>> {
        let mut areas = self.areas.iter();
        let found = areas.find(|(known, _)| *known == area);
        found.map(|(_, revalidator)| Arc::clone(revalidator))
    }

    fn add(&mut self, area: Area) -> Arc<Revalidator> {
        let revalidator = Arc::new(Revalidator::new());
        if let Some(start) = &self.start {
            start(&revalidator);
        }
        self.areas.push((area, Arc::clone(&revalidator)));
        revalidator
    }
}

impl fmt::Debug for Revalidators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revalidators")
            .field("areas", &self.lock().areas)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn each_area_has_a_checker_up_to_a_bound() {
        let revalidators = Revalidators::default();
        let root = revalidators.of_root(1);
        assert!(Arc::ptr_eq(&root, &revalidators.of_root(1)));
        let started = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&started);
        revalidators.start(Box::new(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        }));
        assert_eq!(started.load(Ordering::Relaxed), 1);
        let of = |device| revalidators.of(Area::Device(device), 1);
        assert!(Arc::ptr_eq(&root, &of(1)), "another site's root, linked to");
        assert!(Arc::ptr_eq(&of(2), &of(2)) && !Arc::ptr_eq(&of(2), &of(3)));
        let devices = 2..2 + MAX_ON_DEMAND as u64;
        devices.for_each(|device| drop(of(device)));
        assert_eq!(started.load(Ordering::Relaxed), 1 + MAX_ON_DEMAND);
        assert!(Arc::ptr_eq(&of(1_000), &of(1_001)));
        assert!(Arc::ptr_eq(
            &of(1_000),
            &revalidators.of(Area::BeyondMounts(1), 1)
        ));
        assert_eq!(started.load(Ordering::Relaxed), 2 + MAX_ON_DEMAND);
    }
}
