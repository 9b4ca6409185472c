//! The identity of a file: whether it has changed since it was seen.

use std::fs::File;
use std::io;

use crate::clock::Now;

/// A change so shortly before a read may have the same timestamp as a change after it.
const RACY_SECS: u64 = 2;

/// The last second that means "no time": nix stores write 1, other reproducible builds 0.
const LAST_UNSET_SECS: i64 = 1;

/// Other times that tools write instead of the real one: the first second of 1980, where the time of ZIP
/// archives begins, and the second in 1985 that npm gives to every file of a package.
const PLACEHOLDERS: [i64; 2] = [315_532_800, 499_162_500];

/// The properties that tell two states of a file apart. ctime reveals a change after which a tool reset
/// mtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The identity of a file, and whether it proves that the file is unchanged.
#[derive(Debug, Clone, Copy)]
pub struct IdentitySnapshot {
    /// The identity that was seen.
    pub identity: Identity,
    racy: bool,
}

impl IdentitySnapshot {
    /// The snapshot of a file that has `identity` at `now`.
    #[must_use]
    pub fn new(identity: Identity, now: Now) -> IdentitySnapshot {
        IdentitySnapshot {
            identity,
            racy: identity.has_just_changed(now),
        }
    }

    /// Whether a file that now has `identity` is certainly unchanged. A snapshot that was taken just
    /// after a change proves nothing, because a second change may have the same timestamps.
    #[must_use]
    pub fn is_current(&self, identity: &Identity) -> bool {
        !self.racy && self.identity == *identity
    }
}

impl Identity {
    /// The identity of an open file.
    ///
    /// # Errors
    /// As fstat(2).
    pub fn of(file: &File) -> io::Result<Identity> {
        Ok(Identity::of_stat(&rustix::fs::fstat(file)?))
    }

    /// The identity in the result of stat(2).
    #[must_use]
    #[allow(clippy::cast_possible_wrap)] // nanoseconds are below 10^9
    pub fn of_stat(stat: &rustix::fs::Stat) -> Identity {
        Identity {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime, stat.st_ctime_nsec as i64),
        }
    }

    /// The device of the file.
    #[must_use]
    pub fn device(&self) -> u64 {
        self.device
    }

    /// The size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// mtime, in seconds and nanoseconds since 1970.
    #[must_use]
    pub fn modified(&self) -> (i64, i64) {
        self.modified
    }

    /// Whether mtime is the time of a change. If not, it serves for neither a date nor a tag: two builds
    /// of a file may have the same one.
    #[must_use]
    pub fn is_dated(&self) -> bool {
        self.modified.0 > LAST_UNSET_SECS && !PLACEHOLDERS.contains(&self.modified.0)
    }

    /// Whether mtime is a possible time of a change before `now`.
    #[must_use]
    pub fn has_credible_time(&self, now: Now) -> bool {
        let latest = now.unix_secs.saturating_add(RACY_SECS);
        let is_future = u64::try_from(self.modified.0).is_ok_and(|secs| secs > latest);
        self.is_dated() && !is_future
    }

    /// The best known time of the last change at `now`, in seconds and nanoseconds since 1970: mtime, or
    /// ctime if mtime is [not credible](Identity::has_credible_time).
    #[must_use]
    pub fn written(&self, now: Now) -> (i64, i64) {
        if self.has_credible_time(now) {
            self.modified
        } else {
            self.changed
        }
    }

    /// Whether a further change at `now` may leave mtime the same. That is so if mtime has whole
    /// seconds, as some file systems and tools write it, and its second is not over.
    #[must_use]
    pub fn may_change_unseen(&self, now: Now) -> bool {
        // `now` was taken a moment ago, perhaps in the second before.
        let seconds = now.unix_secs..=now.unix_secs.saturating_add(1);
        self.modified.1 == 0 && seconds.contains(&self.modified_secs())
    }

    /// ctime, in seconds and nanoseconds since 1970.
    #[must_use]
    pub fn changed(&self) -> (i64, i64) {
        self.changed
    }

    /// Whether the last change is so recent that another may have the same timestamps. ctime decides,
    /// because every change sets it and no tool can; mtime may be far in the future for ever. ctime is
    /// in the future only if the clock was set back, and such a change is not recent.
    fn has_just_changed(&self, now: Now) -> bool {
        let changed = u64::try_from(self.changed.0).unwrap_or(0);
        changed.abs_diff(now.unix_secs) < RACY_SECS
    }

    /// mtime in whole seconds; a time before 1970 counts as 1970.
    #[must_use]
    pub fn modified_secs(&self) -> u64 {
        u64::try_from(self.modified.0).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Millis;

    fn at(unix_secs: u64) -> Now {
        Now {
            monotonic: Millis(0),
            unix_secs,
        }
    }

    fn identity(modified: (i64, i64), changed: (i64, i64)) -> Identity {
        Identity {
            device: 1,
            inode: 2,
            size: 3,
            modified,
            changed,
        }
    }

    #[test]
    fn a_snapshot_holds_if_the_last_change_was_some_time_ago() {
        let is_current = |modified, changed| {
            let identity = identity(modified, changed);
            IdentitySnapshot::new(identity, at(1_000)).is_current(&identity)
        };
        assert!(is_current((998, 0), (998, 0)));
        assert!(!is_current((999, 0), (999, 0)));
        assert!(
            !is_current((1_001, 5), (1_001, 5)),
            "the clock was read before"
        );
        // A tool has reset mtime.
        assert!(!is_current((5, 0), (999, 9)));
        assert!(is_current((9_000_000, 0), (900, 9)), "in the future");
        assert!(
            is_current((900, 0), (9_000_000, 0)),
            "the clock was set back"
        );
    }

    #[test]
    fn a_placeholder_is_no_time_of_a_change() {
        for (secs, is_dated) in [
            (i64::MIN, false),
            (-1, false),
            (0, false),
            (1, false),
            (2, true),
            (315_532_799, true),
            (315_532_800, false),
            (499_162_500, false),
            (1_700_000_000, true),
        ] {
            assert_eq!(identity((secs, 7), (9, 9)).is_dated(), is_dated, "{secs}");
        }
    }

    #[test]
    fn ctime_replaces_a_placeholder_or_a_future_time() {
        let written = |modified| identity((modified, 5), (900, 9)).written(at(1_000));
        assert_eq!(written(800), (800, 5));
        assert_eq!(written(1_002), (1_002, 5), "the clock was read before");
        for modified in [1, 315_532_800, 9_000_000_000] {
            assert_eq!(written(modified), (900, 9));
        }
    }

    #[test]
    fn within_its_second_a_whole_second_does_not_tell_two_writes_apart() {
        let may_change = |modified, now| identity(modified, (0, 0)).may_change_unseen(at(now));
        assert!(may_change((1_000, 0), 1_000) && may_change((1_000, 0), 999));
        assert!(!may_change((1_000, 0), 1_001) && !may_change((1_000, 0), 998));
        assert!(!may_change((1_000, 1), 1_000));
    }
}
