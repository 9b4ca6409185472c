//! One load for all requests that need it at the same time (*single flight*).
//!
//! If several requests need the same thing from the disk, one thread loads it: the *leader*. The other
//! requests wait without holding a thread, because a disk can take any time. They register a [`Waiter`] with
//! [`Flight::wait`].
//!
//! ```text
//!   first    SingleFlight::begin  ->  FlightLeader   loads    FlightLeader::finish, or drop
//!   others   SingleFlight::begin  ->  the Flight   Flight::wait    |
//!                                                  ...        each Waiter is called, once
//! ```
//!
//! Memory keeps most results, and the waiters find them there. Other results (a file that is too large, a
//! failure) stay in the flight, or each waiter would begin a load of its own, one after the other. The
//! waiters hold the flight until they have asked again. With the last of them the flight is forgotten.
//!
//! # Long loads
//!
//! A load that takes longer than a slice is left as a [`Job`]. The first waiter puts it into a queue, and
//! workers continue it slice by slice. Between two slices each waiter is asked whether it still waits
//! ([`Waiter::is_waiting`]). If none does, the job is dropped, and all waiters are called nevertheless.
//!
//! # Bounds
//!
//! The flights are bounded by the threads that can load at the same time and by
//! [`MAX_JOBS`](super::job::MAX_JOBS). A connection waits for one flight at a time, so the waiters are
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

/// A request that waits until a flight is over or [releases](Flight::release) it.
pub trait Waiter: Send {
    /// Whether the result is still needed at `now`.
    fn is_waiting(&mut self, now: Millis) -> bool;

    /// Ends the wait. Called once; must not block.
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

/// One load from the disk, shared by all requests that need it.
pub struct Flight {
    /// `None` when the flight is over.
    waiters: Mutex<Option<Vec<Box<dyn Waiter>>>>,
    /// The result, and whether memory has it too.
    result: OnceLock<(AnyResult, bool)>,
    /// The rest of the work, if it was left as a job.
    job: Mutex<Option<(JobStep, JobPermit)>>,
    is_unclaimed: AtomicBool,
    is_given_up: AtomicBool,
}

/// The result of a flight: a `T` if the flight is of a [`SingleFlight<_, T>`](SingleFlight).
type AnyResult = Box<dyn Any + Send + Sync>;

/// The [`Job`] of a flight, without its type.
type JobStep = Box<dyn FnMut(&dyn Slice) -> Option<AnyResult> + Send>;

impl Flight {
    /// A flight in progress.
    #[must_use]
    pub fn new() -> Arc<Flight> {
        Arc::default()
    }

    /// Registers `waiter`, which is called when the flight is over. If it is over already, calls it at once.
    pub fn wait(self: &Arc<Flight>, waiter: Box<dyn Waiter>) {
        if let Some(waiters) = &mut *self.lock() {
            return waiters.push(waiter);
        }
        waiter.call(self);
    }

    /// Ends the flight and calls the waiters.
    pub fn end(self: &Arc<Flight>) {
        let waiters = self.lock().take();
        self.call(waiters);
    }

    /// Calls the waiters, though the flight goes on.
    pub fn release(self: &Arc<Flight>) {
        let waiters = self.lock().as_mut().map(std::mem::take);
        self.call(waiters);
    }

    /// Whether a request that has waited must be repeated on a thread that may block, because memory
    /// does not have the result.
    #[must_use]
    pub fn needs_disk(&self) -> bool {
        self.is_given_up() || self.result.get().is_some_and(|(_, is_kept)| !is_kept)
    }

    /// The result, if the leader or the job has left one here. `T` is that of the [`SingleFlight`].
    #[must_use]
    pub fn result<T: 'static>(&self) -> Option<&T> {
        self.result.get()?.0.downcast_ref()
    }

    /// Whether the caller, a waiter, must queue the job so that workers [work](Flight::work) on it. True
    /// once for each flight that was left as a job.
    #[must_use]
    pub fn claim_job(&self) -> bool {
        self.is_unclaimed.swap(false, Ordering::Relaxed)
    }

    /// Runs one slice of the job, if any waiter still waits. Returns whether the job needs another
    /// slice. Only one thread at a time may call this.
    pub fn work(self: &Arc<Flight>, slice: &dyn Slice) -> bool {
        if self.give_up_unless(|waiter| waiter.is_waiting(slice.now())) {
            return false;
        }
        let result = match &mut *self.lock_job() {
            Some((step, _)) => step(slice),
            None => return false,
        };
        let Some(result) = result else {
            return true;
        };
        *self.lock_job() = None;
        // Never fails: besides this only the `FlightLeader` sets the result, and that has been dropped.
        // The waiters use the result from here, however old it is.
        let _ = self.result.set((result, false));
        self.end();
        false
    }

    /// Ends the flight without a result. The waiters are told so, and must not wait for it again.
    pub fn give_up(self: &Arc<Flight>) {
        self.give_up_unless(|_| false);
    }

    /// Whether the flight was [given up](Flight::give_up).
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed)
    }

    fn give_up_unless(
        self: &Arc<Flight>,
        mut is_waiting: impl FnMut(&mut Box<dyn Waiter>) -> bool,
    ) -> bool {
        let waiters = {
            // Check and end under one lock, so that no waiter registers in between.
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
        // No code panics while it holds this lock.
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_job(&self) -> MutexGuard<'_, Option<(JobStep, JobPermit)>> {
        // A job that has panicked is given up, and not run again.
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Flight {
    fn default() -> Flight {
        Flight {
            waiters: Mutex::new(Some(Vec::new())),
            result: OnceLock::new(),
            job: Mutex::default(),
            is_unclaimed: AtomicBool::new(false),
            is_given_up: AtomicBool::new(false),
        }
    }
}

/// Two flights are equal only if they are the same object.
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

/// The flights in progress, each of which loads the `T` of its key `K`.
#[derive(Debug)]
pub struct SingleFlight<K, T> {
    /// Weak: a flight lives as long as its leader, a queue or a waiter holds it.
    known: Mutex<HashMap<K, Weak<Flight>>>,
    result_type: PhantomData<fn() -> T>,
}

impl<K, T> Default for SingleFlight<K, T> {
    fn default() -> SingleFlight<K, T> {
        SingleFlight {
            known: Mutex::default(),
            result_type: PhantomData,
        }
    }
}

impl<K: Hash + Eq, T: Send + Sync + 'static> SingleFlight<K, T> {
    /// The number of flights in progress, and of those whose result its waiters have not taken yet.
    #[must_use]
    pub fn under_way(&self) -> usize {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // The flights are only counted: dropping the last reference to one may close a file, and wait for a
        // disk.
        let flights = known.values();
        flights.filter(|flight| flight.strong_count() > 0).count()
    }

    /// Begins a flight for `key`, with the caller as its leader. `is_usable` tells whether the caller
    /// can use the result of another flight.
    ///
    /// # Errors
    /// The load in flight, or one just finished whose result its waiters have not taken yet.
    pub fn begin(
        &self,
        key: K,
        is_usable: impl Fn(&T) -> bool,
    ) -> Result<FlightLeader<T>, Arc<Flight>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, flight| flight.strong_count() > 0);
        let others = known.get(&key).and_then(Weak::upgrade);
        // A flight that is over without a result does not count. Its leader has panicked, or its result
        // was in memory and has been evicted, or the flight was given up.
        if let Some(flight) =
            others.filter(|other| !other.is_over() || other.result::<T>().is_some_and(&is_usable))
        {
            return Err(flight);
        }
        let flight = Flight::new();
        known.insert(key, Arc::downgrade(&flight));
        Ok(FlightLeader {
            flight: Some(flight),
            result_type: PhantomData,
        })
    }
}

/// The duty to load. The flight is over when the leader is dropped, unless a job was left.
#[derive(Debug)]
pub struct FlightLeader<T> {
    /// `None` if a job was left.
    flight: Option<Arc<Flight>>,
    result_type: PhantomData<fn() -> T>,
}

impl<T: Send + Sync + 'static> FlightLeader<T> {
    /// Ends the flight with `result`, for all waiters. `is_kept` says that memory has it too.
    pub fn finish(self, result: T, is_kept: bool) {
        if let Some(flight) = &self.flight {
            // Never fails: only the leader sets the result, and this consumes it.
            let _ = flight.result.set((Box::new(result), is_kept));
        }
    }

    /// Leaves the rest of the load to `job`. The first waiter has workers continue it
    /// ([`Flight::claim_job`]). If there is no waiter, the job is not continued.
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
    use crate::site::waiting::job::{JobPermits, UnboundedSlice};
    use std::sync::atomic::AtomicUsize;

    const SLICE: UnboundedSlice = UnboundedSlice(Millis(0));

    type Texts = SingleFlight<char, &'static str>;

    fn begin(flights: &Texts, key: char) -> Result<FlightLeader<&'static str>, Arc<Flight>> {
        flights.begin(key, |_| true)
    }

    fn others(flights: &Texts) -> Arc<Flight> {
        begin(flights, 'a').expect_err("another request loads")
    }

    /// Registers a waiter with `flight`; returns the number of its calls.
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
    fn one_request_loads_and_the_others_are_called_once_at_its_end() {
        let flights = Texts::default();
        let leader = begin(&flights, 'a').expect("the first");
        let waiting: Vec<_> = (0..3).map(|_| wait(&others(&flights))).collect();
        assert!(begin(&flights, 'b').is_ok(), "another key");
        assert!(waiting.iter().all(|calls| number(calls) == 0));
        leader.finish("text", true);
        assert!(waiting.iter().all(|calls| number(calls) == 1));
        assert!(begin(&flights, 'a').is_ok());
    }

    #[test]
    fn a_waiter_that_comes_too_late_is_called_at_once() {
        let flights = Texts::default();
        let leader = begin(&flights, 'a').expect("the first");
        let flight = others(&flights);
        drop(leader);
        assert_eq!(number(&wait(&flight)), 1);
    }

    #[test]
    fn a_result_stays_until_the_last_waiter_has_taken_it() {
        let flights = Texts::default();
        let leader = begin(&flights, 'a').expect("the first");
        let flight = others(&flights);
        leader.finish("text", false);
        assert!(flight.needs_disk());
        assert!(others(&flights).result() == Some(&"text"));
        drop(flight);
        assert!(begin(&flights, 'a').is_ok());
    }

    #[test]
    fn a_flight_without_a_result_is_followed_by_a_new_one() {
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
    fn a_released_waiter_is_not_called_again() {
        let flight = Flight::new();
        let early = wait(&flight);
        flight.release();
        let late = wait(&flight);
        assert_eq!((number(&early), number(&late)), (1, 0));
        flight.end();
        assert_eq!((number(&early), number(&late)), (1, 1));
    }

    /// A job of this many slices.
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
    fn a_job_is_done_in_slices_for_all_waiters() {
        let flights = Texts::default();
        let flight = left(&flights, 3);
        let calls = [wait(&flight), wait(&others(&flights))];
        assert!(flight.claim_job() && !others(&flights).claim_job());
        assert!(flight.work(&SLICE) && flight.work(&SLICE));
        assert!(calls.iter().all(|calls| number(calls) == 0));
        assert!(!flight.work(&SLICE), "the last slice");
        assert!(calls.iter().all(|calls| number(calls) == 1));
        assert!(flight.needs_disk() && others(&flights).result() == Some(&"text"));
        assert!(
            flights.begin('a', |_| false).is_ok(),
            "the result is not usable"
        );
    }

    /// Waits until its flag is set; counts the calls.
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
    fn a_job_ends_when_its_last_waiter_has_left() {
        let flights = Texts::default();
        let flight = left(&flights, 9);
        let has_left = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let calls = Arc::new(AtomicUsize::new(0));
        for has_left in &has_left {
            flight.wait(Box::new(Leaving(Arc::clone(has_left), Arc::clone(&calls))));
        }
        assert!(flight.work(&SLICE));
        has_left[0].store(true, Ordering::Relaxed);
        assert!(flight.work(&SLICE), "one waiter is left");
        has_left[1].store(true, Ordering::Relaxed);
        assert!(!flight.work(&SLICE));
        assert_eq!(number(&calls), 2);
        assert!(begin(&flights, 'a').is_ok(), "a later request begins anew");
    }
}
