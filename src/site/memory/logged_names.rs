//! File names that a warning has been logged for, so that each is logged only once.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The largest number of names that are remembered. Further names are not logged.
const MAX_NAMES: usize = 1_000;

/// Names of files below one root.
#[derive(Debug, Default)]
pub struct LoggedNames {
    names: Mutex<HashSet<Vec<u8>>>,
}

impl LoggedNames {
    /// Warns that the file `name` is not used and why, unless that has been logged before.
    pub fn warn(&self, name: &[u8], reason: &str) {
        let (is_new, is_last) = self.remember(name);
        if is_new {
            log::warn!("{}: {reason} (logged once)", name.escape_ascii());
        }
        if is_last {
            log::warn!("{MAX_NAMES} unused files have been logged; no more are logged");
        }
    }

    /// Forgets `name`, which is used again. The next warning for it is logged.
    pub fn forget(&self, name: &[u8]) {
        self.lock().remove(name);
    }

    /// Returns whether the name is new, and whether it is the last one that is remembered.
    fn remember(&self, name: &[u8]) -> (bool, bool) {
        let mut names = self.lock();
        let is_new = names.len() < MAX_NAMES && names.insert(name.to_vec());
        (is_new, is_new && names.len() == MAX_NAMES)
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Vec<u8>>> {
        // No code panics while it holds this lock.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_new_once_until_it_is_forgotten_and_names_are_bounded() {
        let logged = LoggedNames::default();
        assert_eq!(logged.remember(b"a"), (true, false));
        assert_eq!(logged.remember(b"a"), (false, false));
        logged.forget(b"a");
        assert_eq!(logged.remember(b"a"), (true, false));
        for number in 2..=MAX_NAMES {
            let is_last = number == MAX_NAMES;
            let name = number.to_string();
            assert_eq!(logged.remember(name.as_bytes()), (true, is_last));
        }
        assert_eq!(logged.remember(b"b"), (false, false));
    }
}
