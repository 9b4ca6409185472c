//! Errands to the disk: what one thread has gone for, and who waits until it is back.
//!
//! Of those who want the same thing of the disk one goes, however many ask. The others must not stand
//! and wait for it: each is a thread that others may need, and a disk takes as long as it likes. They
//! leave word where they are to be found ([`Errand::wait`]) and do something else.
//!
//! ```text
//!   first    Errands::set_out  ->  Outing        loads            Outing::bring, or drop
//!   others   Errands::set_out  ->  the errand    Errand::wait       |
//!                                                  ...            each Waiter is called, once
//! ```
//!
//! What was brought is mostly kept in memory, where who waited finds it. What is not (a file that is too
//! large, a failure) goes from the errand to all who waited for it, or each of them would set out again,
//! one after the other: they hold on to the errand until they have asked again. With the last of them it
//! is forgotten.
//!
//! # Bounds
//!
//! Errands under way are bounded by the threads that can be at the disk, and a connection waits for one
//! at a time: so the waiters are bounded by the connections.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use super::lookup::Found;
use super::site_path::{KeptSitePath, SitePath};
use crate::http::accept_encoding::Coding;

/// Told when an errand is over, or need not be waited for any longer. It must not block.
pub type Waiter = Box<dyn FnOnce(&Arc<Errand>) + Send>;

/// One thread's way to the disk.
#[derive(Default)]
pub struct Errand {
    /// `None` when it is over.
    waiters: Mutex<Option<Vec<Waiter>>>,
    brought: OnceLock<Brought>,
}

/// What a thread has come back with.
#[derive(Debug)]
struct Brought {
    found: Found,
    is_remembered: bool,
}

impl Errand {
    /// One that is under way.
    #[must_use]
    pub fn new() -> Arc<Errand> {
        Arc::new(Errand {
            waiters: Mutex::new(Some(Vec::new())),
            brought: OnceLock::new(),
        })
    }

    /// Has `waiter` called when the errand is over; at once if it is.
    pub fn wait(self: &Arc<Errand>, waiter: Waiter) {
        if let Some(waiters) = &mut *self.lock() {
            return waiters.push(waiter);
        }
        waiter(self);
    }

    /// The errand is over.
    pub fn end(self: &Arc<Errand>) {
        let waiters = self.lock().take();
        self.call(waiters);
    }

    /// Calls those who wait, though it is not over.
    pub fn release(self: &Arc<Errand>) {
        let waiters = self.lock().as_mut().map(std::mem::take);
        self.call(waiters);
    }

    /// Whether who waited for it needs the disk again, if only to ask what was brought: memory will not
    /// tell.
    #[must_use]
    pub fn needs_disk(&self) -> bool {
        let brought = self.brought.get();
        brought.is_some_and(|brought| !brought.is_remembered)
    }

    /// What was brought, if it is not for memory alone to tell.
    #[must_use]
    pub fn brought(&self) -> Option<&Found> {
        self.brought.get().map(|brought| &brought.found)
    }

    fn is_over(&self) -> bool {
        self.lock().is_none()
    }

    fn call(self: &Arc<Errand>, waiters: Option<Vec<Waiter>>) {
        for waiter in waiters.into_iter().flatten() {
            waiter(self);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<Waiter>>> {
        // Nothing in here panics.
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An errand is the same as itself only.
impl PartialEq for Errand {
    fn eq(&self, other: &Errand) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Errand {}

impl fmt::Debug for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Errand")
            .field("brought", &self.brought)
            .finish_non_exhaustive()
    }
}

/// The errands for files and their forms.
#[derive(Debug, Default)]
pub struct Errands {
    /// Nobody is kept here: an errand lives as long as its thread is away, or somebody wants what it has
    /// brought.
    known: Mutex<HashMap<(KeptSitePath, Coding), Weak<Errand>>>,
}

impl Errands {
    /// None under way.
    #[must_use]
    pub fn new() -> Errands {
        Errands::default()
    }

    /// Sets out for the file at `path`, or its form in `coding`.
    ///
    /// # Errors
    /// Another's errand, if that is under way, or has brought what those who waited are about to ask for.
    pub fn set_out(&self, path: SitePath<'_>, coding: Coding) -> Result<Outing, Arc<Errand>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, errand| errand.strong_count() > 0);
        let key = (path.keep(), coding);
        let others = known.get(&key).and_then(Weak::upgrade);
        // One that is over without anything was in vain: its thread has panicked, or has left what it
        // found in memory, and that is gone.
        if let Some(errand) = others.filter(|other| !other.is_over() || other.brought().is_some()) {
            return Err(errand);
        }
        let errand = Errand::new();
        known.insert(key, Arc::downgrade(&errand));
        Ok(Outing(errand))
    }
}

/// The errand of the thread that has this. It is over when this is dropped.
#[derive(Debug)]
pub struct Outing(Arc<Errand>);

impl Outing {
    /// Comes back with `found`, for all who wait.
    pub fn bring(self, found: Found, is_remembered: bool) {
        // It is set here only, and `self` is gone then.
        let _ = self.0.brought.set(Brought {
            found,
            is_remembered,
        });
    }
}

impl Drop for Outing {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Millis;
    use crate::site::absences::{Absence, Nothing};
    use crate::site::freshness::Freshness;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const PATH: SitePath<'_> = SitePath {
        site: 0,
        path: b"/a",
    };

    fn nothing() -> Found {
        let freshness = Freshness::new(0, Millis(0));
        Found::Nothing(Arc::new(Nothing::new(b"/a", Absence::IsSpecial, freshness)))
    }

    fn others(errands: &Errands) -> Arc<Errand> {
        errands
            .set_out(PATH, Coding::Identity)
            .expect_err("another is away")
    }

    /// Leaves word with `errand`; counts the calls.
    fn wait(errand: &Arc<Errand>) -> Arc<AtomicUsize> {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        errand.wait(Box::new(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        }));
        calls
    }

    fn number(calls: &AtomicUsize) -> usize {
        calls.load(Ordering::Relaxed)
    }

    #[test]
    fn one_goes_and_the_others_are_called_once_when_it_is_back() {
        let errands = Errands::new();
        let outing = errands.set_out(PATH, Coding::Identity).expect("the first");
        let waiting: Vec<_> = (0..3).map(|_| wait(&others(&errands))).collect();
        assert!(errands.set_out(PATH, Coding::Gzip).is_ok(), "another form");
        assert!(waiting.iter().all(|calls| number(calls) == 0));
        outing.bring(nothing(), true);
        assert!(waiting.iter().all(|calls| number(calls) == 1));
        assert!(errands.set_out(PATH, Coding::Identity).is_ok());
    }

    #[test]
    fn who_comes_too_late_to_wait_is_called_at_once() {
        let errands = Errands::new();
        let outing = errands.set_out(PATH, Coding::Identity).expect("the first");
        let errand = others(&errands);
        drop(outing);
        assert_eq!(number(&wait(&errand)), 1);
    }

    #[test]
    fn what_was_brought_stays_for_those_who_waited_and_no_longer() {
        let errands = Errands::new();
        let outing = errands.set_out(PATH, Coding::Identity).expect("the first");
        let errand = others(&errands);
        outing.bring(nothing(), false);
        assert!(errand.needs_disk());
        assert!(others(&errands).brought().is_some());
        drop(errand);
        assert!(errands.set_out(PATH, Coding::Identity).is_ok());
    }

    #[test]
    fn an_errand_in_vain_keeps_nobody_from_the_next() {
        let errands = Errands::new();
        let outing = errands.set_out(PATH, Coding::Identity).expect("the first");
        let errand = others(&errands);
        let calls = wait(&errand);
        drop(outing);
        assert_eq!(number(&calls), 1);
        assert!(errands.set_out(PATH, Coding::Identity).is_ok());
        assert!(!errand.needs_disk());
    }

    #[test]
    fn who_is_released_is_not_called_again() {
        let errand = Errand::new();
        let early = wait(&errand);
        errand.release();
        let late = wait(&errand);
        assert_eq!((number(&early), number(&late)), (1, 0));
        errand.end();
        assert_eq!((number(&early), number(&late)), (1, 1));
    }
}
