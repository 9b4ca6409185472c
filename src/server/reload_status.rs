//! How often the configuration was reloaded, and how the last reload ended.
//!
//! The code that reloads writes here, and the admin pages read.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The reloads since the start.
#[derive(Debug, Default)]
pub struct ReloadStatus {
    figures: Mutex<ReloadFigures>,
}

/// A copy of [`ReloadStatus`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReloadFigures {
    /// Reloads that took effect.
    pub applied: u64,
    /// Reloads that were refused, and left everything as it was.
    pub refused: u64,
    /// The last reload; `None` if there was none.
    pub last: Option<LastReload>,
}

/// The last reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastReload {
    /// When it ended, in seconds since 1970-01-01 UTC.
    pub unix_secs: u64,
    /// Why it was refused, with file, line and key; `None` if it took effect.
    pub refusal: Option<String>,
}

impl ReloadStatus {
    /// Notes a reload that took effect at `unix_secs`.
    pub fn note_applied(&self, unix_secs: u64) {
        let mut figures = self.lock();
        figures.applied += 1;
        figures.last = Some(LastReload {
            unix_secs,
            refusal: None,
        });
    }

    /// Notes a reload that was refused at `unix_secs` for the reason `refusal`.
    pub fn note_refused(&self, unix_secs: u64, refusal: String) {
        let mut figures = self.lock();
        figures.refused += 1;
        figures.last = Some(LastReload {
            unix_secs,
            refusal: Some(refusal),
        });
    }

    /// The reloads so far.
    #[must_use]
    pub fn figures(&self) -> ReloadFigures {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, ReloadFigures> {
        // No code panics while it holds the lock.
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReloadFigures {
    /// Whether the configuration in the file is in force, as far as is known: the last reload took effect, or
    /// there was none.
    #[must_use]
    pub fn is_last_applied(&self) -> bool {
        self.last.as_ref().is_none_or(|last| last.refusal.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_reload_decides() {
        let status = ReloadStatus::default();
        assert!(status.figures().is_last_applied(), "there was none");
        status.note_refused(7, "abide.toml:3: listen".to_owned());
        assert!(!status.figures().is_last_applied());
        status.note_applied(9);
        let figures = status.figures();
        assert!(figures.is_last_applied());
        assert_eq!((figures.applied, figures.refused), (1, 1));
        assert_eq!(figures.last.map(|last| last.unix_secs), Some(9));
    }
}
