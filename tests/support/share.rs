//! Limits how many tests that load the machine, or need it quiet, run at a time, whatever the number of
//! test threads: a trial of a client fails if a compiler holds the CPUs for a second.

use std::sync::{Condvar, Mutex};

/// The parts of the machine. A trial of a client takes two, since it starts 250 connections at once; a test
/// that computes a lot takes three.
const PARTS: usize = 6;

static FREE: Mutex<usize> = Mutex::new(PARTS);
static GIVEN_BACK: Condvar = Condvar::new();

/// A share of the machine, given back on drop.
pub struct Share(usize);

impl Share {
    /// Waits until `parts` parts are free. A thread that holds a share must not ask for another.
    pub fn of(parts: usize) -> Share {
        let free = FREE.lock().expect("no thread panics");
        let too_few = |free: &mut usize| *free < parts;
        let mut free = GIVEN_BACK
            .wait_while(free, too_few)
            .expect("no thread panics");
        *free -= parts;
        Share(parts)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *FREE.lock().expect("no thread panics") += self.0;
        GIVEN_BACK.notify_all();
    }
}
