//! Tests that load the machine, or count on it to be quiet, run a few at a time, however many threads the
//! tests have: a trial of a client fails if a compiler beside it holds the CPUs for a second.

use std::sync::{Condvar, Mutex};

/// The parts of the machine. A trial of a client takes one, what computes a lot takes several.
const PARTS: usize = 6;

static FREE: Mutex<usize> = Mutex::new(PARTS);
static GIVEN_BACK: Condvar = Condvar::new();

/// A share of the machine, given back on drop.
pub struct Share(usize);

impl Share {
    /// Waits until `parts` of the machine are free. A thread that holds a share asks for no other.
    pub fn of(parts: usize) -> Share {
        let free = FREE.lock().expect("nobody panics");
        let too_few = |free: &mut usize| *free < parts;
        let mut free = GIVEN_BACK.wait_while(free, too_few).expect("nobody panics");
        *free -= parts;
        Share(parts)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *FREE.lock().expect("nobody panics") += self.0;
        GIVEN_BACK.notify_all();
    }
}
