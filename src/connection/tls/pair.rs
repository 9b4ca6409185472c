//! A certificate with its key, of which another one can take the place while clients connect.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::certificate::Certificate;
use super::certificate_error::CertificateError;
use super::pem_files::PairPaths;
use super::renewal::{Checked, Renewal};
use super::self_signed;
use crate::clock::Now;

/// A certificate made in memory is replaced when it has less than this many seconds left.
const SELF_SIGNED_RENEWAL_SECS: u64 = self_signed::VALIDITY_SECS / 12;

/// A certificate with its key: the one in use, and where the next one comes from.
#[derive(Debug)]
pub(super) struct Pair {
    in_use: RwLock<Arc<Certificate>>,
    /// Why the last renewal failed.
    failure: Mutex<Option<String>>,
    /// `None` for a certificate that is made in memory.
    files: Option<WatchedFiles>,
}

/// The files of a pair. After the start only the thread that renews looks at them.
#[derive(Debug)]
struct WatchedFiles {
    paths: PairPaths,
    renewal: Mutex<Renewal>,
}

impl Pair {
    /// Reads and checks the files of `paths` at `now`.
    ///
    /// # Errors
    /// If the files hold no certificate that can be used. The dates of the certificate play no part.
    pub fn open(paths: &PairPaths, now: Now) -> Result<Pair, CertificateError> {
        // Before the files are read, so that a later change is seen.
        let identity = paths.identity();
        let contents = paths.read();
        let certificate = Certificate::of_contents(&contents, paths)?;
        let renewal = Renewal::new(identity, contents.id(), now.monotonic);
        Ok(Pair {
            in_use: RwLock::new(Arc::new(certificate)),
            failure: Mutex::default(),
            files: Some(WatchedFiles {
                paths: paths.clone(),
                renewal: Mutex::new(renewal),
            }),
        })
    }

    /// Makes a certificate in memory.
    ///
    /// # Errors
    /// If the random generator of the machine fails.
    pub fn make(unix_now: u64) -> Result<Pair, CertificateError> {
        Ok(Pair {
            in_use: RwLock::new(Arc::new(self_signed::make(unix_now)?)),
            failure: Mutex::default(),
            files: None,
        })
    }

    /// The certificate in use.
    pub fn in_use(&self) -> Arc<Certificate> {
        Arc::clone(&self.in_use.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The paths of the files; `None` for a certificate made in memory.
    pub fn paths(&self) -> Option<&PairPaths> {
        self.files.as_ref().map(|files| &files.paths)
    }

    /// Why the last renewal failed; `None` if none has, or the certificate in use is that of the files.
    pub fn failure(&self) -> Option<String> {
        locked(&self.failure).clone()
    }

    /// Looks for another certificate, and puts it in use.
    pub fn check(&self, now: Now) -> Checked {
        let in_use = self.in_use();
        let Some(WatchedFiles { paths, renewal }) = &self.files else {
            if in_use.not_after < now.unix_secs + SELF_SIGNED_RENEWAL_SECS
                && let Ok(next) = self_signed::make(now.unix_secs)
            {
                self.replace(next);
            }
            return Checked::default();
        };
        let mut renewal = locked(renewal);
        let (next, checked) = renewal.check(paths, &in_use, now);
        if let Some(next) = next {
            self.replace(next);
        }
        *locked(&self.failure) = renewal.reported_failure();
        checked
    }

    fn replace(&self, next: Certificate) {
        let mut in_use = self.in_use.write().unwrap_or_else(PoisonError::into_inner);
        *in_use = Arc::new(next);
    }
}

/// Locks `mutex`. No state is left half changed by a panic: each is replaced as a whole, or looked at again.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
