//! Whether a thread may block on a disk while it looks for a response.
//!
//! The event loop asks with [`MayBlock::Never`], because other connections wait for it. If that gives no
//! response, a worker asks again with [`MayBlock::Anywhere`], and some spare workers with
//! [`MayBlock::OnRoots`]. No thread waits for another thread.

use std::sync::Arc;

use super::single_flight::Flight;

/// The file systems on which a thread may block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayBlock {
    /// None: the cache answers, or the kernel's memory. The thread makes no system call that can wait for a
    /// disk, and does not wait for a thread that makes one.
    Never,
    /// Those of the roots. File systems mounted below a root are excluded, as they may hang on their own.
    OnRoots,
    /// All.
    Anywhere,
}

/// The response needs a disk on which the calling thread may not block. No work has been done yet: another
/// thread begins from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WouldBlockOnDisk;

/// The reason why there is no response yet.
#[derive(Debug, PartialEq, Eq)]
pub enum WouldBlock {
    /// The calling thread may not block on the disk: see [`WouldBlockOnDisk`].
    OnDisk,
    /// Another thread is loading the result. The request is repeated when the flight is over, and not
    /// before: [`Flight::wait`] tells when.
    InFlight(Arc<Flight>),
}

impl From<WouldBlockOnDisk> for WouldBlock {
    fn from(WouldBlockOnDisk: WouldBlockOnDisk) -> WouldBlock {
        WouldBlock::OnDisk
    }
}

impl MayBlock {
    /// Checks that the thread may block on the disk of a root. To be called before a step that may do so.
    ///
    /// # Errors
    /// [`WouldBlockOnDisk`] if the thread may not block at all.
    pub fn disk(self) -> Result<(), WouldBlockOnDisk> {
        match self {
            MayBlock::Never => Err(WouldBlockOnDisk),
            MayBlock::OnRoots | MayBlock::Anywhere => Ok(()),
        }
    }

    /// Checks that the thread may block on any file system. To be called before a step that may do so.
    ///
    /// # Errors
    /// [`WouldBlockOnDisk`] unless the thread may block anywhere.
    pub fn any_disk(self) -> Result<(), WouldBlockOnDisk> {
        match self {
            MayBlock::Never | MayBlock::OnRoots => Err(WouldBlockOnDisk),
            MayBlock::Anywhere => Ok(()),
        }
    }
}
