//! How far an answer may go for what it says.
//!
//! A thread that other connections wait for asks with [`MayBlock::Never`]. A request that cannot be answered
//! so is asked again by a thread that has the time: a worker with [`MayBlock::Anywhere`], or a spare worker with
//! [`MayBlock::OnRoots`]. No thread waits for another one.

use std::sync::Arc;

use super::single_flight::Flight;

/// How far an answer may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayBlock {
    /// Only to what is in memory and may be used without another look: no system call that can wait
    /// for a disk, and no waiting for a thread that makes one.
    Never,
    /// To the file systems that the roots are on, but not beyond mount points below a root: file systems
    /// behind those may hang by themselves.
    OnRoots,
    /// To any file system.
    Anywhere,
}

/// The answer lies beyond the may_block of the thread that asked. A thread that asks again with a longer may_block
/// finds all the work still to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WouldBlockOnDisk;

/// Why there is no answer yet.
#[derive(Debug, PartialEq, Eq)]
pub enum WouldBlock {
    /// The thread that asks is not to go that far: see [`WouldBlockOnDisk`].
    OnDisk,
    /// Another thread has gone there for the same thing. To be asked again when it is back, and not
    /// before: [`Flight::wait`] tells.
    InFlight(Arc<Flight>),
}

impl From<WouldBlockOnDisk> for WouldBlock {
    fn from(WouldBlockOnDisk: WouldBlockOnDisk) -> WouldBlock {
        WouldBlock::OnDisk
    }
}

impl MayBlock {
    /// To be asked before a step that may wait for the disk of the roots.
    ///
    /// # Errors
    /// [`WouldBlockOnDisk`] if only memory is in may_block.
    pub fn disk(self) -> Result<(), WouldBlockOnDisk> {
        match self {
            MayBlock::Never => Err(WouldBlockOnDisk),
            MayBlock::OnRoots | MayBlock::Anywhere => Ok(()),
        }
    }

    /// To be asked before a step that may wait for any file system.
    ///
    /// # Errors
    /// [`WouldBlockOnDisk`] unless all of them are in may_block.
    pub fn any_disk(self) -> Result<(), WouldBlockOnDisk> {
        match self {
            MayBlock::Never | MayBlock::OnRoots => Err(WouldBlockOnDisk),
            MayBlock::Anywhere => Ok(()),
        }
    }
}
