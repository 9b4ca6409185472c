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
//! # Long ones
//!
//! An errand that takes longer than a slice is left without a thread, as a [`Job`]: whoever waits puts it
//! into a lane, where workers go on with it, a slice each time. Between two slices it is asked whether
//! anybody waits still ([`Waiter::is_waiting`]); if not, the job is dropped, and those who have stopped
//! waiting are called all the same.
//!
//! # Bounds
//!
//! Errands under way are bounded by the threads that can be at the disk and by
//! [`MAX_JOBS`](super::job::MAX_JOBS), and a connection waits for one at a time: so the waiters are
//! bounded by the connections.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use super::job::{Job, JobPermit, Slice};
use crate::clock::Millis;

/// Told when an errand is over, or need not be waited for any longer.
pub trait Waiter: Send {
    /// Whether what is brought is still wanted at `now`.
    fn is_waiting(&mut self, now: Millis) -> bool;

    /// The errand is over. This must not block.
    fn call(self: Box<Self>, errand: &Arc<Errand>);
}

/// A function waits until it is called.
impl<F: FnOnce(&Arc<Errand>) + Send> Waiter for F {
    fn is_waiting(&mut self, _now: Millis) -> bool {
        true
    }

    fn call(self: Box<Self>, errand: &Arc<Errand>) {
        (*self)(errand);
    }
}

/// One way to the disk.
pub struct Errand {
    /// `None` when it is over.
    waiters: Mutex<Option<Vec<Box<dyn Waiter>>>>,
    /// The result, and whether memory has it too.
    brought: OnceLock<(AnyResult, bool)>,
    /// The work that is left, unless a thread is at it.
    job: Mutex<Option<(JobStep, JobPermit)>>,
    is_unclaimed: AtomicBool,
    is_given_up: AtomicBool,
}

/// The result of an errand: a `T` of an errand from [`Errands<_, T>`](Errands).
type AnyResult = Box<dyn Any + Send + Sync>;

/// A [`Job`] for an errand.
type JobStep = Box<dyn FnMut(&dyn Slice) -> Option<AnyResult> + Send>;

impl Errand {
    /// One that is under way.
    #[must_use]
    pub fn new() -> Arc<Errand> {
        Arc::default()
    }

    /// Has `waiter` called when the errand is over; at once if it is.
    pub fn wait(self: &Arc<Errand>, waiter: Box<dyn Waiter>) {
        if let Some(waiters) = &mut *self.lock() {
            return waiters.push(waiter);
        }
        waiter.call(self);
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
        self.is_given_up() || self.brought.get().is_some_and(|(_, is_kept)| !is_kept)
    }

    /// The result, if it is not for memory alone to tell. `T` is that of the [`Errands`].
    #[must_use]
    pub fn brought<T: 'static>(&self) -> Option<&T> {
        self.brought.get()?.0.downcast_ref()
    }

    /// Whether the caller, who waits for it, has to see to it that it is [worked](Errand::work) on: true
    /// once for one that was left without a thread.
    #[must_use]
    pub fn claim_job(&self) -> bool {
        self.is_unclaimed.swap(false, Ordering::Relaxed)
    }

    /// Goes on with the job for a slice, if anybody waits for it. Whether it wants another one. One
    /// thread at a time may do this.
    pub fn work(self: &Arc<Errand>, slice: &dyn Slice) -> bool {
        if self.give_up_unless(|waiter| waiter.is_waiting(slice.now())) {
            return false;
        }
        let brought = match &mut *self.lock_job() {
            Some((step, _)) => step(slice),
            None => return false,
        };
        let Some(brought) = brought else {
            return true;
        };
        *self.lock_job() = None;
        // Only this and an `Outing`, which is gone, set the result. Waiters take it from here, whatever its age
        // by now.
        let _ = self.brought.set((brought, false));
        self.end();
        false
    }

    /// Ends the errand without anything. Who waited is told so, and is not to wait for it again.
    pub fn give_up(self: &Arc<Errand>) {
        self.give_up_unless(|_| false);
    }

    /// Whether it was [given up](Errand::give_up).
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed)
    }

    fn give_up_unless(
        self: &Arc<Errand>,
        mut is_waiting: impl FnMut(&mut Box<dyn Waiter>) -> bool,
    ) -> bool {
        let waiters = {
            // Under the lock, so that nobody comes between the look and the end.
            let mut lock = self.lock();
            let mut waiters = lock.iter_mut().flatten();
            if waiters.any(&mut is_waiting) {
                return false;
            }
            self.is_given_up.store(true, Ordering::Relaxed);
            lock.take()
        };
        *self.lock_job() = None;
        self.call(waiters);
        true
    }

    fn is_over(&self) -> bool {
        self.lock().is_none()
    }

    fn call(self: &Arc<Errand>, waiters: Option<Vec<Box<dyn Waiter>>>) {
        for waiter in waiters.into_iter().flatten() {
            waiter.call(self);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<Box<dyn Waiter>>>> {
        // Nothing in here panics.
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_job(&self) -> MutexGuard<'_, Option<(JobStep, JobPermit)>> {
        // A job that has panicked is given up, and not asked again.
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that is under way.
impl Default for Errand {
    fn default() -> Errand {
        Errand {
            waiters: Mutex::new(Some(Vec::new())),
            brought: OnceLock::new(),
            job: Mutex::default(),
            is_unclaimed: AtomicBool::new(false),
            is_given_up: AtomicBool::new(false),
        }
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
            .field("is_given_up", &self.is_given_up)
            .finish_non_exhaustive()
    }
}

/// The errands for each `T` that is named by a `K`.
#[derive(Debug)]
pub struct Errands<K, T> {
    /// Nobody is kept here: an errand lives as long as somebody is at it, or wants what it has brought.
    known: Mutex<HashMap<K, Weak<Errand>>>,
    brings: PhantomData<fn() -> T>,
}

impl<K, T> Default for Errands<K, T> {
    fn default() -> Errands<K, T> {
        Errands {
            known: Mutex::default(),
            brings: PhantomData,
        }
    }
}

impl<K: Hash + Eq, T: Send + Sync + 'static> Errands<K, T> {
    /// Sets out for `key`. `is_usable` tells whether the caller can use what another has brought.
    ///
    /// # Errors
    /// Another's errand, if that is under way, or has brought what those who waited are about to ask for.
    pub fn set_out(
        &self,
        key: K,
        is_usable: impl Fn(&T) -> bool,
    ) -> Result<Outing<T>, Arc<Errand>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, errand| errand.strong_count() > 0);
        let others = known.get(&key).and_then(Weak::upgrade);
        // One that is over without anything was in vain: its thread has panicked, or has left what it
        // found in memory, and that is gone; or it was given up.
        if let Some(errand) =
            others.filter(|other| !other.is_over() || other.brought::<T>().is_some_and(&is_usable))
        {
            return Err(errand);
        }
        let errand = Errand::new();
        known.insert(key, Arc::downgrade(&errand));
        Ok(Outing {
            errand: Some(errand),
            brings: PhantomData,
        })
    }
}

/// The errand of the thread that has this. It is over when this is dropped.
#[derive(Debug)]
pub struct Outing<T> {
    /// `None` if it was left.
    errand: Option<Arc<Errand>>,
    brings: PhantomData<fn() -> T>,
}

impl<T: Send + Sync + 'static> Outing<T> {
    /// Comes back with `brought`, for all who wait. `is_kept` says that memory has it too.
    pub fn bring(self, brought: T, is_kept: bool) {
        if let Some(errand) = &self.errand {
            // Nothing else sets the result, and `self` is gone then.
            let _ = errand.brought.set((Box::new(brought), is_kept));
        }
    }

    /// Comes back without anything: the rest is for `job`, which whoever waits for the errand has others
    /// do ([`Errand::claim_job`]). If nobody waits, nobody does it.
    #[must_use]
    pub fn leave(
        mut self,
        mut job: impl Job<Output = T> + 'static,
        permit: JobPermit,
    ) -> Arc<Errand> {
        let errand = self.errand.take().unwrap_or_default();
        let step: JobStep = Box::new(move |slice| Some(Box::new(job.step(slice)?)));
        *errand.lock_job() = Some((step, permit));
        errand.is_unclaimed.store(true, Ordering::Relaxed);
        errand
    }
}

impl<T> Drop for Outing<T> {
    fn drop(&mut self) {
        if let Some(errand) = &self.errand {
            errand.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::waiting::job::{JobPermits, WholeSlice};
    use std::sync::atomic::AtomicUsize;

    const SLICE: WholeSlice = WholeSlice(Millis(0));

    type Texts = Errands<char, &'static str>;

    fn set_out(errands: &Texts, key: char) -> Result<Outing<&'static str>, Arc<Errand>> {
        errands.set_out(key, |_| true)
    }

    fn others(errands: &Texts) -> Arc<Errand> {
        set_out(errands, 'a').expect_err("another is away")
    }

    /// Leaves word with `errand`; counts the calls.
    fn wait(errand: &Arc<Errand>) -> Arc<AtomicUsize> {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        errand.wait(Box::new(move |_: &Arc<Errand>| {
            counted.fetch_add(1, Ordering::Relaxed);
        }));
        calls
    }

    fn number(calls: &AtomicUsize) -> usize {
        calls.load(Ordering::Relaxed)
    }

    #[test]
    fn one_goes_and_the_others_are_called_once_when_it_is_back() {
        let errands = Texts::default();
        let outing = set_out(&errands, 'a').expect("the first");
        let waiting: Vec<_> = (0..3).map(|_| wait(&others(&errands))).collect();
        assert!(set_out(&errands, 'b').is_ok(), "another key");
        assert!(waiting.iter().all(|calls| number(calls) == 0));
        outing.bring("text", true);
        assert!(waiting.iter().all(|calls| number(calls) == 1));
        assert!(set_out(&errands, 'a').is_ok());
    }

    #[test]
    fn who_comes_too_late_to_wait_is_called_at_once() {
        let errands = Texts::default();
        let outing = set_out(&errands, 'a').expect("the first");
        let errand = others(&errands);
        drop(outing);
        assert_eq!(number(&wait(&errand)), 1);
    }

    #[test]
    fn what_was_brought_stays_for_those_who_waited_and_no_longer() {
        let errands = Texts::default();
        let outing = set_out(&errands, 'a').expect("the first");
        let errand = others(&errands);
        outing.bring("text", false);
        assert!(errand.needs_disk());
        assert!(others(&errands).brought() == Some(&"text"));
        drop(errand);
        assert!(set_out(&errands, 'a').is_ok());
    }

    #[test]
    fn an_errand_in_vain_keeps_nobody_from_the_next() {
        let errands = Texts::default();
        let outing = set_out(&errands, 'a').expect("the first");
        let errand = others(&errands);
        let calls = wait(&errand);
        drop(outing);
        assert_eq!(number(&calls), 1);
        assert!(set_out(&errands, 'a').is_ok());
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

    /// A job of so many slices.
    struct Countdown(u32);

    impl Job for Countdown {
        type Output = &'static str;

        fn step(&mut self, _slice: &dyn Slice) -> Option<&'static str> {
            self.0 -= 1;
            (self.0 == 0).then_some("text")
        }
    }

    fn left(errands: &Texts, slices: u32) -> Arc<Errand> {
        let outing = set_out(errands, 'a').expect("the first");
        let permit = JobPermits::default().take().expect("a permit");
        outing.leave(Countdown(slices), permit)
    }

    #[test]
    fn a_job_that_was_left_is_done_in_slices_for_all_who_wait() {
        let errands = Texts::default();
        let errand = left(&errands, 3);
        let calls = [wait(&errand), wait(&others(&errands))];
        assert!(errand.claim_job() && !others(&errands).claim_job());
        assert!(errand.work(&SLICE) && errand.work(&SLICE));
        assert!(calls.iter().all(|calls| number(calls) == 0));
        assert!(!errand.work(&SLICE), "that was the last");
        assert!(calls.iter().all(|calls| number(calls) == 1));
        assert!(errand.needs_disk() && others(&errands).brought() == Some(&"text"));
        assert!(errands.set_out('a', |_| false).is_ok(), "of no use");
    }

    /// Waits until it is told that it does not.
    struct Leaving(Arc<AtomicBool>, Arc<AtomicUsize>);

    impl Waiter for Leaving {
        fn is_waiting(&mut self, _now: Millis) -> bool {
            !self.0.load(Ordering::Relaxed)
        }

        fn call(self: Box<Self>, errand: &Arc<Errand>) {
            assert!(errand.is_given_up() && errand.needs_disk());
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_job_ends_when_the_last_who_waited_has_left() {
        let errands = Texts::default();
        let errand = left(&errands, 9);
        let has_left = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let calls = Arc::new(AtomicUsize::new(0));
        for has_left in &has_left {
            errand.wait(Box::new(Leaving(Arc::clone(has_left), Arc::clone(&calls))));
        }
        assert!(errand.work(&SLICE));
        has_left[0].store(true, Ordering::Relaxed);
        assert!(errand.work(&SLICE), "one is left");
        has_left[1].store(true, Ordering::Relaxed);
        assert!(!errand.work(&SLICE));
        assert_eq!(number(&calls), 2);
        assert!(
            set_out(&errands, 'a').is_ok(),
            "who comes later begins anew"
        );
    }
}
