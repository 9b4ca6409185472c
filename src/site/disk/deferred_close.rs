//! Closing large files that were deleted while they were open.
//!
//! The last close of such a file frees its blocks, which takes up to seconds. Any thread may drop the last response
//! or cache entry that has the file, an event loop too. So a thread of its own closes these files, one after the
//! other. It starts when it is needed, and ends with the last file.

use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// A file to close, and what to do afterwards.
struct ClosingFile {
    file: Arc<File>,
    after: Box<dyn FnOnce() + Send>,
}

/// The files that wait, and whether the thread runs.
struct Waiting {
    files: Vec<ClosingFile>,
    is_served: bool,
}

static WAITING: Mutex<Waiting> = Mutex::new(Waiting {
    files: Vec::new(),
    is_served: false,
});

/// Whether the last close of `file` frees its blocks, because no name leads to it any more.
pub(super) fn is_deleted(file: &File) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| stat.st_nlink == 0)
}

/// Leaves the close of `file`, which the caller is about to drop, to the thread of its own, and then calls `after`.
/// If there can be no thread, the callers close their files themselves.
pub(super) fn close_elsewhere(file: Arc<File>, after: impl FnOnce() + Send + 'static) {
    let after = Box::new(after);
    let mut waiting = lock();
    waiting.files.push(ClosingFile { file, after });
    if waiting.is_served {
        return;
    }
    waiting.is_served = true;
    drop(waiting);
    let thread = thread::Builder::new().name("close".to_owned());
    if thread.spawn(close_all).is_err() {
        while let Some(ClosingFile { after, .. }) = next() {
            after();
        }
    }
}

fn close_all() {
    while let Some(ClosingFile { mut file, after }) = next() {
        // The thread that has dropped the file lets go of it in this moment.
        while let Err(shared) = Arc::try_unwrap(file) {
            file = shared;
            thread::yield_now();
        }
        after();
    }
}

fn next() -> Option<ClosingFile> {
    let mut waiting = lock();
    let next = waiting.files.pop();
    waiting.is_served = next.is_some();
    next
}

fn lock() -> MutexGuard<'static, Waiting> {
    // No code panics while it holds this lock.
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}
