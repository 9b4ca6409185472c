//! A thread that only handles SIGINT, so that the process ends in time even if all other threads are stuck.
//!
//! The event loop catches SIGINT too, and closes the connections in order. This thread only counts the
//! signals and the time:
//!
//! | event                                               | action         |
//! |-----------------------------------------------------|----------------|
//! | the first SIGINT                                    | starts a timer |
//! | another one within [`REPEAT_MILLIS`]                | none           |
//! | another one later                                   | exit 1 at once |
//! | the process still runs after [`END_LIMIT_MILLIS`]   | exit 0         |
//!
//! The second row exists because both a terminal and a program that starts others may send the signal of one
//! key press. SIGTERM is not handled here: process managers repeat it for many reasons, and use SIGKILL if
//! they cannot wait.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use signal_hook::consts::SIGINT;
use signal_hook::low_level::exit;
use signal_hook_mio::v1_0::Signals;

use crate::clock::{Clock, Millis};

/// Milliseconds after the first SIGINT within which another one is a repetition.
pub const REPEAT_MILLIS: u64 = 500;

/// Milliseconds after the first SIGINT at which the process ends in any case. The documentation promises two
/// seconds.
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
                log::error!("SIGINT no longer has a time limit: {error}");
            }
        })?;
    Ok(())
}

fn run(mut poll: Poll, mut signals: Signals, clock: &dyn Clock) -> io::Result<()> {
    let mut events = Events::with_capacity(1);
    let mut history = SigintHistory::default();
    loop {
        match poll.poll(&mut events, history.timeout(clock.now().monotonic)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => result?,
        }
        let now = clock.now().monotonic;
        for _ in signals.pending() {
            // An orderly exit would wait for locks that a stuck thread may hold.
            if history.note(now) == SigintAction::ExitNow {
                exit(1);
            }
        }
        if history.timeout(now) == Some(Duration::ZERO) {
            exit(0);
        }
    }
}

/// The reaction to a SIGINT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SigintAction {
    /// End in order.
    ShutDown,
    /// Do nothing: the signal is a repetition.
    Ignore,
    /// End at once.
    ExitNow,
}

/// The SIGINT signals so far.
#[derive(Debug, Default)]
struct SigintHistory {
    first: Option<Millis>,
}

impl SigintHistory {
    /// Notes a SIGINT that comes at `now`.
    fn note(&mut self, now: Millis) -> SigintAction {
        match self.first {
            None => {
                self.first = Some(now);
                SigintAction::ShutDown
            }
            Some(first) if now.since(first) < REPEAT_MILLIS => SigintAction::Ignore,
            Some(_) => SigintAction::ExitNow,
        }
    }

    /// How long the process may still run at `now`; `None` if no SIGINT has come.
    fn timeout(&self, now: Millis) -> Option<Duration> {
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
    fn a_repetition_within_half_a_second_of_the_first_is_ignored() {
        let mut history = SigintHistory::default();
        for (at, action) in [
            (7_000, SigintAction::ShutDown),
            (7_000, SigintAction::Ignore),
            (7_499, SigintAction::Ignore),
            (7_500, SigintAction::ExitNow),
        ] {
            assert_eq!(history.note(Millis(at)), action, "{at}");
        }
    }

    #[test]
    fn the_first_one_starts_the_time_limit() {
        let mut history = SigintHistory::default();
        assert_eq!(history.timeout(Millis(5)), None);
        history.note(Millis(1_000));
        history.note(Millis(1_400));
        let timeout = |at| history.timeout(Millis(at)).map(|left| left.as_millis());
        assert_eq!(timeout(1_400), Some(1_500));
        assert_eq!(timeout(2_900), Some(0));
        assert_eq!(timeout(9_000), Some(0));
    }
}
