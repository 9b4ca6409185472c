//! SIGINT, seen by a thread that does nothing else, so that it ends the process in time whatever the
//! other threads are stuck in.
//!
//! The event loop catches SIGINT too, and closes the connections in order. This thread only counts the
//! signals and the time:
//!
//! | it sees                                             | it does        |
//! |-----------------------------------------------------|----------------|
//! | the first SIGINT                                    | starts a timer |
//! | another one within [`SAME_MILLIS`]                  | nothing        |
//! | another one later                                   | exit 1 at once |
//! | no end of the process within [`END_LIMIT_MILLIS`]   | exit 0         |
//!
//! A program that starts others and a terminal may both send the signal of one key press: hence the
//! second line. SIGTERM has no part in this. Process managers repeat it for many reasons, and one that
//! cannot wait has SIGKILL.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use signal_hook::consts::SIGINT;
use signal_hook::low_level::exit;
use signal_hook_mio::v1_0::Signals;

use crate::clock::{Clock, Millis};

/// Milliseconds within which a repeated SIGINT is the same one.
pub const SAME_MILLIS: u64 = 500;

/// Milliseconds after the first SIGINT at which the process ends, finished or not. The documentation says
/// two seconds.
pub const END_LIMIT_MILLIS: u64 = 1_900;

const SIGNALS: Token = Token(0);

/// Starts the thread.
///
/// # Errors
/// If the signal cannot be caught, or the thread cannot be started.
pub fn watch(clock: Arc<dyn Clock>) -> io::Result<()> {
    let poll = Poll::new()?;
    let mut signals = Signals::new([SIGINT])?;
    poll.registry()
        .register(&mut signals, SIGNALS, Interest::READABLE)?;
    thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(move || {
            if let Err(error) = run(poll, signals, &*clock) {
                log::error!("SIGINT has no time limit any more: {error}");
            }
        })?;
    Ok(())
}

fn run(mut poll: Poll, mut signals: Signals, clock: &dyn Clock) -> io::Result<()> {
    let mut events = Events::with_capacity(1);
    let mut interrupts = Interrupts::default();
    loop {
        match poll.poll(&mut events, interrupts.patience(clock.now().monotonic)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => result?,
        }
        let now = clock.now().monotonic;
        for _ in signals.pending() {
            // Not the orderly exit of a process: that waits for locks, which a stuck thread may hold.
            if interrupts.note(now) == Meaning::AtOnce {
                exit(1);
            }
        }
        if interrupts.patience(now) == Some(Duration::ZERO) {
            exit(0);
        }
    }
}

/// The meaning of a SIGINT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// End in order.
    InOrder,
    /// A repetition of the one before.
    Same,
    /// End now.
    AtOnce,
}

/// The SIGINTs so far.
#[derive(Debug, Default)]
struct Interrupts {
    first: Option<Millis>,
}

impl Interrupts {
    /// Takes note of a SIGINT that comes at `now`.
    fn note(&mut self, now: Millis) -> Meaning {
        match self.first {
            None => {
                self.first = Some(now);
                Meaning::InOrder
            }
            Some(first) if now.since(first) < SAME_MILLIS => Meaning::Same,
            Some(_) => Meaning::AtOnce,
        }
    }

    /// How long the process may still take at `now`; `None` if no SIGINT has come.
    fn patience(&self, now: Millis) -> Option<Duration> {
        let passed = now.since(self.first?);
        Some(Duration::from_millis(
            END_LIMIT_MILLIS.saturating_sub(passed),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repetition_within_half_a_second_of_the_first_is_the_same() {
        let mut interrupts = Interrupts::default();
        for (at, meaning) in [
            (7_000, Meaning::InOrder),
            (7_000, Meaning::Same),
            (7_499, Meaning::Same),
            (7_500, Meaning::AtOnce),
        ] {
            assert_eq!(interrupts.note(Millis(at)), meaning, "{at}");
        }
    }

    #[test]
    fn the_first_one_starts_the_time_limit() {
        let mut interrupts = Interrupts::default();
        assert_eq!(interrupts.patience(Millis(5)), None);
        interrupts.note(Millis(1_000));
        interrupts.note(Millis(1_400));
        let patience = |at| interrupts.patience(Millis(at)).map(|left| left.as_millis());
        assert_eq!(patience(1_400), Some(1_500));
        assert_eq!(patience(2_900), Some(0));
        assert_eq!(patience(9_000), Some(0));
    }
}
