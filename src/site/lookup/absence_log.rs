//! Logs why files are not sent, if the owner of the site or of the machine can do something about it.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::site::disk::OpenError;
use crate::site::memory::Absence;

/// The log of the failed loads of one site.
#[derive(Debug, Default)]
pub(super) struct AbsenceLog {
    has_logged_outside_link: AtomicBool,
    has_logged_exhaustion: AtomicBool,
}

impl AbsenceLog {
    /// Logs the result of a load of `path`, if the result is an absence that deserves it.
    pub(super) fn note<T>(&self, path: &[u8], loaded: &Result<T, Absence>) {
        let Some(reason) = self.reason(loaded.as_ref().err().copied()) else {
            return;
        };
        let path = path.escape_ascii();
        match loaded {
            Err(Absence::Open(OpenError::Failed)) => log::error!("{path}: {reason}"),
            _ => log::warn!("{path}: {reason}"),
        }
    }

    /// The text to log about a load with this `absence`; `None` if there is nothing to log.
    fn reason(&self, absence: Option<Absence>) -> Option<&'static str> {
        match absence {
            None => {
                // The store follows a load, so that threads do not contend for the cache line.
                if self.has_logged_exhaustion.load(Ordering::Relaxed) {
                    self.has_logged_exhaustion.store(false, Ordering::Relaxed);
                }
                None
            }
            Some(Absence::Open(OpenError::Outside)) => {
                let is_first = !self.has_logged_outside_link.swap(true, Ordering::Relaxed);
                is_first.then_some("a link that leads out of the root is refused (logged once)")
            }
            // Otherwise a flood of requests would flood the log.
            Some(Absence::Open(OpenError::Exhausted)) => {
                let is_first = !self.has_logged_exhaustion.swap(true, Ordering::Relaxed);
                is_first.then_some(
                    "the file cannot be read, because the server has no descriptors or memory left, or \
                     already loads too many files (logged once until a file is loaded)",
                )
            }
            Some(Absence::Open(OpenError::Failed)) => Some("the file cannot be read"),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exhaustion_is_logged_once_until_a_file_is_loaded() {
        let log = AbsenceLog::default();
        let exhausted = Some(Absence::Open(OpenError::Exhausted));
        assert!(log.reason(exhausted).is_some());
        assert_eq!(log.reason(exhausted), None);
        // Other absences do not say that the machine has recovered.
        for absence in [OpenError::NotFound, OpenError::Failed] {
            let _ = log.reason(Some(Absence::Open(absence)));
            assert_eq!(log.reason(exhausted), None, "{absence:?}");
        }
        assert_eq!(log.reason(None), None);
        assert!(log.reason(exhausted).is_some());
    }

    #[test]
    fn a_failing_disk_is_logged_each_time_and_an_outside_link_once() {
        let log = AbsenceLog::default();
        let [failed, outside, missing] =
            [OpenError::Failed, OpenError::Outside, OpenError::NotFound]
                .map(|error| Some(Absence::Open(error)));
        for (absence, is_first, is_second) in [
            (failed, true, true),
            (outside, true, false),
            (missing, false, false),
            (Some(Absence::IsChanging), false, false),
        ] {
            let logged = [(); 2].map(|()| log.reason(absence).is_some());
            assert_eq!(logged, [is_first, is_second], "{absence:?}");
        }
    }
}
