//! Decides when a changed certificate is put in use.
//!
//! A certificate and its key are two files, and each may be written in several steps or switched by a link. So files
//! that have changed are read until two reads in a row find the same, and only then loaded. A pair that does not
//! match, a broken file or an expired certificate leaves the one in use. It is reported only if it stays so for
//! some seconds, because the second file may still be to come.
//!
//! ```text
//!   quiet       one look in a second: stat(2) of both files
//!   unsettled   the files have changed: a look in 100 ms, which reads them
//!   settled     two reads found the same: load the pair; for 3 s more, each look reads
//!   failing     the pair cannot be used: each look reads; after 5 s it is reported, once
//! ```

use std::fmt;
use std::path::{Path, PathBuf};

use super::certificate::Certificate;
use super::pem_files::{ContentsId, PairIdentity, PairPaths};
use crate::clock::{Millis, Now};
use crate::http::date::http_date;

/// The milliseconds between two looks at files, and between the two reads of files that have changed.
const QUIET_MILLIS: u64 = 1_000;
const UNSETTLED_MILLIS: u64 = 100;

/// The seconds for which files are read after a change. A second write within a tick of the file system's clock leaves
/// the times as they are, and the longest tick in use is 2 seconds (FAT).
const REREAD_SECS: u32 = 3;

/// The seconds for which a pair may be unusable before that is reported.
const REPORT_AFTER_SECS: u32 = 5;

/// The outcome of a look.
#[derive(Debug)]
pub struct Checked {
    /// The events to report, oldest first.
    pub events: Vec<RenewalEvent>,
    /// The milliseconds until the next look is due.
    pub next_in_millis: u64,
}

impl Default for Checked {
    fn default() -> Checked {
        Checked {
            events: Vec::new(),
            next_in_millis: QUIET_MILLIS,
        }
    }
}

impl Checked {
    /// Adds the outcome for another pair.
    pub(super) fn add(&mut self, other: Checked) {
        self.events.extend(other.events);
        self.next_in_millis = self.next_in_millis.min(other.next_in_millis);
    }
}

/// A change of the certificate in use, or why there is none. [`Display`](fmt::Display) writes a sentence without a full
/// stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RenewalEvent {
    /// New handshakes use the certificate that the files hold now.
    Renewed {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The last second for which it is valid, since 1970-01-01 UTC.
        not_after: u64,
    },
    /// The files have changed but cannot be used.
    Failed {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The reason: a sentence without a full stop.
        reason: String,
        /// The last second for which the certificate that stays in use is valid, since 1970-01-01 UTC.
        not_after: u64,
    },
}

impl fmt::Display for RenewalEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RenewalEvent::Renewed {
                certificate,
                not_after,
            } => write!(
                f,
                "the certificate {} is renewed, valid until {}",
                certificate.display(),
                http_date(*not_after)
            ),
            RenewalEvent::Failed {
                certificate,
                reason,
                not_after,
            } => write!(
                f,
                "the certificate {} is not renewed: {reason}; the old one stays, valid until {}",
                certificate.display(),
                http_date(*not_after)
            ),
        }
    }
}

/// The state of two files that are looked at again and again.
#[derive(Debug)]
pub(super) struct Renewal {
    /// The last look that read the files.
    identity: PairIdentity,
    contents: ContentsId,
    /// The contents of the last attempt to load.
    tried: ContentsId,
    reread_until: Millis,
    /// `None` if the last attempt succeeded.
    failure: Option<Failure>,
    /// The reason that was reported last; `None` if a success came later.
    reported: Option<String>,
}

#[derive(Debug)]
struct Failure {
    reason: String,
    since: Millis,
    /// When the same contents may be usable, in seconds since 1970-01-01 UTC.
    retry_at: Option<u64>,
}

impl Renewal {
    /// The state after files with this identity and these contents were loaded at the time `now`.
    pub fn new(identity: PairIdentity, contents: ContentsId, now: Millis) -> Renewal {
        Renewal {
            identity,
            tried: contents.clone(),
            contents,
            reread_until: now.plus_secs(REREAD_SECS),
            failure: None,
            reported: None,
        }
    }

    /// The reason that was reported, as long as it holds.
    pub fn reported_failure(&self) -> Option<String> {
        self.reported.clone()
    }

    /// Looks at the files of `paths`. Returns the certificate that has to replace `in_use`, if there is one.
    pub fn check(
        &mut self,
        paths: &PairPaths,
        in_use: &Certificate,
        now: Now,
    ) -> (Option<Certificate>, Checked) {
        let mut checked = Checked::default();
        let identity = paths.identity();
        let is_changed = identity != self.identity;
        if !is_changed && now.monotonic >= self.reread_until && self.failure.is_none() {
            return (None, checked);
        }
        let contents = paths.read();
        let id = contents.id();
        if is_changed || id != self.contents {
            (self.identity, self.contents) = (identity, id);
            self.reread_until = now.monotonic.plus_secs(REREAD_SECS);
            checked.next_in_millis = UNSETTLED_MILLIS;
            return (None, checked);
        }
        let mut next = None;
        if id != self.tried || self.is_worth_another_attempt(now) {
            let loaded = Certificate::of_contents(&contents, paths);
            let loaded = loaded.map_err(|error| (error.to_string(), None));
            let loaded = loaded.and_then(|certificate| current(certificate, paths, now.unix_secs));
            self.tried = id;
            match loaded {
                Ok(certificate) => {
                    checked
                        .events
                        .extend(self.success(&certificate, in_use, &paths.certificate));
                    next = Some(certificate);
                }
                Err((reason, retry_at)) => self.fail(reason, retry_at, now.monotonic),
            }
        }
        checked
            .events
            .extend(self.due_report(&paths.certificate, in_use, now.monotonic));
        (next, checked)
    }

    fn is_worth_another_attempt(&self, now: Now) -> bool {
        let retry_at = self.failure.as_ref().and_then(|failure| failure.retry_at);
        retry_at.is_some_and(|retry_at| retry_at <= now.unix_secs)
    }

    /// Ends a failure. The event for it, unless nothing has changed that anybody heard of.
    fn success(
        &mut self,
        next: &Certificate,
        in_use: &Certificate,
        path: &Path,
    ) -> Option<RenewalEvent> {
        self.failure = None;
        let was_reported = self.reported.take().is_some();
        let is_another = next.certified.cert != in_use.certified.cert;
        (is_another || was_reported).then(|| RenewalEvent::Renewed {
            certificate: path.to_owned(),
            not_after: next.not_after,
        })
    }

    /// Notes that the pair cannot be used. A reason that holds already goes on.
    fn fail(&mut self, reason: String, retry_at: Option<u64>, now: Millis) {
        let earlier = self.failure.take();
        let since = match earlier {
            Some(earlier) if earlier.reason == reason => earlier.since,
            _ => now,
        };
        self.failure = Some(Failure {
            reason,
            since,
            retry_at,
        });
    }

    /// The report of a failure that has lasted for long enough, once.
    fn due_report(
        &mut self,
        path: &Path,
        in_use: &Certificate,
        now: Millis,
    ) -> Option<RenewalEvent> {
        let failure = self.failure.as_ref()?;
        let is_due = now >= failure.since.plus_secs(REPORT_AFTER_SECS);
        if !is_due || self.reported.as_ref() == Some(&failure.reason) {
            return None;
        }
        self.reported = Some(failure.reason.clone());
        Some(RenewalEvent::Failed {
            certificate: path.to_owned(),
            reason: failure.reason.clone(),
            not_after: in_use.not_after,
        })
    }
}

/// `certificate`, if it is valid at the time `unix_now`. Otherwise the reason, and when it begins to be valid.
fn current(
    certificate: Certificate,
    paths: &PairPaths,
    unix_now: u64,
) -> Result<Certificate, (String, Option<u64>)> {
    let file = paths.certificate.display();
    if certificate.not_after < unix_now {
        let end = http_date(certificate.not_after);
        return Err((format!("{file} expired on {end}"), None));
    }
    if certificate.not_before > unix_now {
        let (start, at) = (http_date(certificate.not_before), certificate.not_before);
        return Err((format!("{file} is not valid before {start}"), Some(at)));
    }
    Ok(certificate)
}
