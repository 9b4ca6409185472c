//! SingleFlight to the disk: what one thread has gone for, and who waits until it is back.
//!
//! Of those who want the same thing of the disk one goes, however many ask. The others must not stand
//! and wait for it: each is a thread that others may need, and a disk takes as long as it likes. They
//! leave word where they are to be found ([`Flight::wait`]) and do something else.
//!
//! ```text
//!   first    SingleFlight::begin  ->  FlightLeader        loads            FlightLeader::bring, or drop
//!   others   SingleFlight::begin  ->  the flight    Flight::wait       |
//!                                                  ...            each Waiter is called, once
//! ```
//!
//! What was brought is mostly kept in memory, where who waited finds it. What is not (a file that is too
//! large, a failure) goes from the flight to all who waited for it, or each of them would set out again,
//! one after the other: they hold on to the flight until they have asked again. With the last of them it
//! is forgotten.
//!
//! # Long ones
//!
//! An flight that takes longer than a slice is left without a thread, as a [`Job`]: whoever waits puts it
//! into a queue, where workers go on with it, a slice each time. Between two slices it is asked whether
//! anybody waits still ([`Waiter::is_waiting`]); if not, the job is dropped, and those who have stopped
//! waiting are called all the same.
//!
//! # Bounds
//!
//! SingleFlight under way are bounded by the threads that can be at the disk and by
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

/// Told when an flight is over, or need not be waited for any longer.
pub trait Waiter: Send {
    /// Whether what is brought is still wanted at `now`.
    fn is_waiting(&mut self, now: Millis) -> bool;

    /// The flight is over. This must not block.
    fn call(self: Box<Self>, flight: &Arc<Flight>);
}

/// A function waits until it is called.
impl<F: FnOnce(&Arc<Flight>) + Send> Waiter for F {
    fn is_waiting(&mut self, _now: Millis) -> bool {
        true
    }

    fn call(self: Box<Self>, flight: &Arc<Flight>) {
        (*self)(flight);
    }
}

/// One way to the disk.
pub struct Flight {
    /// `None` when it is over.
    waiters: Mutex<Option<Vec<Box<dyn Waiter>>>>,
    /// The result, and whether memory has it too.
    brought: OnceLock<(AnyResult, bool)>,
    /// The work that is left, unless a thread is at it.
    job: Mutex<Option<(JobStep, JobPermit)>>,
    is_unclaimed: AtomicBool,
    is_given_up: AtomicBool,
}

/// The result of an flight: a `T` of an flight from [`SingleFlight<_, T>`](SingleFlight).
type AnyResult = Box<dyn Any + Send + Sync>;

/// A [`Job`] for an flight.
type JobStep = Box<dyn FnMut(&dyn Slice) -> Option<AnyResult> + Send>;

impl Flight {
    /// One that is under way.
    #[must_use]
    pub fn new() -> Arc<Flight> {
        Arc::default()
    }

    /// Has `waiter` called when the flight is over; at once if it is.
    pub fn wait(self: &Arc<Flight>, waiter: Box<dyn Waiter>) {
        if let Some(waiters) = &mut *self.lock() {
            return waiters.push(waiter);
        }
        waiter.call(self);
    }

    /// The flight is over.
    pub fn end(self: &Arc<Flight>) {
        let waiters = self.lock().take();
        self.call(waiters);
    }

    /// Calls those who wait, though it is not over.
    pub fn release(self: &Arc<Flight>) {
        let waiters = self.lock().as_mut().map(std::mem::take);
        self.call(waiters);
    }

    /// Whether who waited for it needs the disk again, if only to ask what was brought: memory will not
    /// tell.
    #[must_use]
    pub fn needs_disk(&self) -> bool {
        self.is_given_up() || self.brought.get().is_some_and(|(_, is_kept)| !is_kept)
    }

    /// The result, if it is not for memory alone to tell. `T` is that of the [`SingleFlight`].
    #[must_use]
    pub fn brought<T: 'static>(&self) -> Option<&T> {
        self.brought.get()?.0.downcast_ref()
    }

    /// Whether the caller, who waits for it, has to see to it that it is [worked](Flight::work) on: true
    /// once for one that was left without a thread.
    #[must_use]
    pub fn claim_job(&self) -> bool {
        self.is_unclaimed.swap(false, Ordering::Relaxed)
    }

    /// Goes on with the job for a slice, if anybody waits for it. Whether it wants another one. One
    /// thread at a time may do this.
    pub fn work(self: &Arc<Flight>, slice: &dyn Slice) -> bool {
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
        // Only this and an `FlightLeader`, which is gone, set the result. Waiters take it from here, whatever its age
        // by now.
        let _ = self.brought.set((brought, false));
        self.end();
        false
    }

    /// Ends the flight without anything. Who waited is told so, and is not to wait for it again.
    pub fn give_up(self: &Arc<Flight>) {
        self.give_up_unless(|_| false);
    }

    /// Whether it was [given up](Flight::give_up).
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed)
    }

    fn give_up_unless(
        self: &Arc<Flight>,
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

    fn call(self: &Arc<Flight>, waiters: Option<Vec<Box<dyn Waiter>>>) {
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
impl Default for Flight {
    fn default() -> Flight {
        Flight {
            waiters: Mutex::new(Some(Vec::new())),
            brought: OnceLock::new(),
            job: Mutex::default(),
            is_unclaimed: AtomicBool::new(false),
            is_given_up: AtomicBool::new(false),
        }
    }
}

/// An flight is the same as itself only.
impl PartialEq for Flight {
    fn eq(&self, other: &Flight) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Flight {}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight")
            .field("is_given_up", &self.is_given_up)
            .finish_non_exhaustive()
    }
}

/// The flights for each `T` that is named by a `K`.
#[derive(Debug)]
pub struct SingleFlight<K, T> {
    /// Nobody is kept here: an flight lives as long as somebody is at it, or wants what it has brought.
    known: Mutex<HashMap<K, Weak<Flight>>>,
    brings: PhantomData<fn() -> T>,
}

impl<K, T> Default for SingleFlight<K, T> {
    fn default() -> SingleFlight<K, T> {
        SingleFlight {
            known: Mutex::default(),
            brings: PhantomData,
        }
    }
}

impl<K: Hash + Eq, T: Send + Sync + 'static> SingleFlight<K, T> {
    /// Sets out for `key`. `is_usable` tells whether the caller can use what another has brought.
    ///
    /// # Errors
    /// Another's flight, if that is under way, or has brought what those who waited are about to ask for.
    pub fn begin(
        &self,
        key: K,
        is_usable: impl Fn(&T) -> bool,
    ) -> Result<FlightLeader<T>, Arc<Flight>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, flight| flight.strong_count() > 0);
        let others = known.get(&key).and_then(Weak::upgrade);
        // One that is over without anything was in vain: its thread has panicked, or has left what it
        // found in memory, and that is gone; or it was given up.
        if let Some(flight) =
            others.filter(|other| !other.is_over() || other.brought::<T>().is_some_and(&is_usable))
        {
            return Err(flight);
        }
        let flight = Flight::new();
        known.insert(key, Arc::downgrade(&flight));
        Ok(FlightLeader {
            flight: Some(flight),
            brings: PhantomData,
        })
    }
}

/// The flight of the thread that has this. It is over when this is dropped.
#[derive(Debug)]
pub struct FlightLeader<T> {
    /// `None` if it was left.
    flight: Option<Arc<Flight>>,
    brings: PhantomData<fn() -> T>,
}

impl<T: Send + Sync + 'static> FlightLeader<T> {
    /// Comes back with `brought`, for all who wait. `is_kept` says that memory has it too.
    pub fn bring(self, brought: T, is_kept: bool) {
        if let Some(flight) = &self.flight {
            // Nothing else sets the result, and `self` is gone then.
            let _ = flight.brought.set((Box::new(brought), is_kept));
        }
    }

    /// Comes back without anything: the rest is for `job`, which whoever waits for the flight has others
    /// do ([`Flight::claim_job`]). If nobody waits, nobody does it.
    #[must_use]
    pub fn leave(
        mut self,
        mut job: impl Job<Output = T> + 'static,
        permit: JobPermit,
    ) -> Arc<Flight> {
        let flight = self.flight.take().unwrap_or_default();
        let step: JobStep = Box::new(move |slice| Some(Box::new(job.step(slice)?)));
        *flight.lock_job() = Some((step, permit));
        flight.is_unclaimed.store(true, Ordering::Relaxed);
        flight
    }
}

impl<T> Drop for FlightLeader<T> {
    fn drop(&mut self) {
        if let Some(flight) = &self.flight {
            flight.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::waiting::job::{JobPermits, WholeSlice};
    use std::sync::atomic::AtomicUsize;

    const SLICE: WholeSlice = WholeSlice(Millis(0));

    type Texts = SingleFlight<char, &'static str>;

    fn begin(flights: &Texts, key: char) -> Result<FlightLeader<&'static str>, Arc<Flight>> {
        flights.begin(key, |_| true)
    }

    fn others(flights: &Texts) -> Arc<Flight> {
        begin(flights, 'a').expect_err("another is away")
    }

    /// Leaves word with `flight`; counts the calls.
    fn wait(flight: &Arc<Flight>) -> Arc<AtomicUsize> {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        flight.wait(Box::new(move |_: &Arc<Flight>| {
            counted.fetch_add(1, Ordering::Relaxed);
        }));
        calls
    }

    fn number(calls: &AtomicUsize) -> usize {
        calls.load(Ordering::Relaxed)
    }

    #[test]
    fn one_goes_and_the_others_are_called_once_when_it_is_back() {
        let flights = Texts::default();
        let leader = begin(&flights, 'a').expect("the first");
        let waiting: Vec<_> = (0..3).map(|_| wait(&others(&flights))).collect();
        assert!(begin(&flights, 'b').is_ok(), "another key");
        assert!(waiting.iter().all(|calls| number(calls) == 0));
        leader.bring("text", true);
        assert!(waiting.iter().all(|calls| number(calls) == 1));
        assert!(begin(&flights, 'a').is_ok());
    }

    #[test]
    fn who_comes_too_late_to_wait_is_called_at_once() {
        let flights = Texts::default();
        let leader = begin(&flights, 'a').expect("the first");
        let flight = others(&flights);
        drop(leader);
        assert_eq!(number(&wait(&flight)), 1);
    }

    #[test]
    fn what_was_brought_stays_for_those_who_waited_and_no_longer() {
        let flights = Texts::default();
        let leader = begin(&flights, 'a').expect("the first");
        let flight = others(&flights);
        leader.bring("text", false);
        assert!(flight.needs_disk());
        assert!(others(&flights).brought() == Some(&"text"));
        drop(flight);
        assert!(begin(&flights, 'a').is_ok());
    }

    #[test]
    fn an_errand_in_vain_keeps_nobody_from_the_next() {
        let flights = Texts::default();
        let leader = begin(&flights, 'a').expect("the first");
        let flight = others(&flights);
        let calls = wait(&flight);
        drop(leader);
        assert_eq!(number(&calls), 1);
        assert!(begin(&flights, 'a').is_ok());
        assert!(!flight.needs_disk());
    }

    #[test]
    fn who_is_released_is_not_called_again() {
        let flight = Flight::new();
        let early = wait(&flight);
        flight.release();
        let late = wait(&flight);
        assert_eq!((number(&early), number(&late)), (1, 0));
        flight.end();
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

    fn left(flights: &Texts, slices: u32) -> Arc<Flight> {
        let leader = begin(flights, 'a').expect("the first");
        let permit = JobPermits::default().take().expect("a permit");
        leader.leave(Countdown(slices), permit)
    }

    #[test]
    fn a_job_that_was_left_is_done_in_slices_for_all_who_wait() {
        let flights = Texts::default();
        let flight = left(&flights, 3);
        let calls = [wait(&flight), wait(&others(&flights))];
        assert!(flight.claim_job() && !others(&flights).claim_job());
        assert!(flight.work(&SLICE) && flight.work(&SLICE));
        assert!(calls.iter().all(|calls| number(calls) == 0));
        assert!(!flight.work(&SLICE), "that was the last");
        assert!(calls.iter().all(|calls| number(calls) == 1));
        assert!(flight.needs_disk() && others(&flights).brought() == Some(&"text"));
        assert!(flights.begin('a', |_| false).is_ok(), "of no use");
    }

    /// Waits until it is told that it does not.
    struct Leaving(Arc<AtomicBool>, Arc<AtomicUsize>);

    impl Waiter for Leaving {
        fn is_waiting(&mut self, _now: Millis) -> bool {
            !self.0.load(Ordering::Relaxed)
        }

        fn call(self: Box<Self>, flight: &Arc<Flight>) {
            assert!(flight.is_given_up() && flight.needs_disk());
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_job_ends_when_the_last_who_waited_has_left() {
        let flights = Texts::default();
        let flight = left(&flights, 9);
        let has_left = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let calls = Arc::new(AtomicUsize::new(0));
        for has_left in &has_left {
            flight.wait(Box::new(Leaving(Arc::clone(has_left), Arc::clone(&calls))));
        }
        assert!(flight.work(&SLICE));
        has_left[0].store(true, Ordering::Relaxed);
        assert!(flight.work(&SLICE), "one is left");
        has_left[1].store(true, Ordering::Relaxed);
        assert!(!flight.work(&SLICE));
        assert_eq!(number(&calls), 2);
        assert!(begin(&flights, 'a').is_ok(), "who comes later begins anew");
    }
}
