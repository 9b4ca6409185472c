//! How far an answer may go for what it says.
//!
//! A thread that other connections wait for asks with [`Reach::Memory`]. A request that cannot be answered
//! so is asked again by a thread that has the time: a worker with [`Reach::Disk`], or a spare worker with
//! [`Reach::Roots`]. No thread waits for another one.

use std::sync::Arc;

use super::errand::Errand;

/// How far an answer may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Only to what is in memory and may be used without another look: no system call that can wait
    /// for a disk, and no waiting for a thread that makes one.
    Memory,
    /// To the file systems that the roots are on, but not beyond mount points below a root: file systems
    /// behind those may hang by themselves.
    Roots,
    /// To any file system.
    Disk,
}

/// The answer lies beyond the reach of the thread that asked. A thread that asks again with a longer reach
/// finds all the work still to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfReach;

/// Why there is no answer yet.
#[derive(Debug, PartialEq, Eq)]
pub enum NeedsDisk {
    /// The thread that asks is not to go that far: see [`OutOfReach`].
    OutOfReach,
    /// Another thread has gone there for the same thing. To be asked again when it is back, and not
    /// before: [`Errand::wait`] tells.
    UnderWay(Arc<Errand>),
}

impl From<OutOfReach> for NeedsDisk {
    fn from(OutOfReach: OutOfReach) -> NeedsDisk {
        NeedsDisk::OutOfReach
    }
}

impl Reach {
    /// To be asked before a step that may wait for the disk of the roots.
    ///
    /// # Errors
    /// [`OutOfReach`] if only memory is in reach.
    pub fn disk(self) -> Result<(), OutOfReach> {
        match self {
            Reach::Memory => Err(OutOfReach),
            Reach::Roots | Reach::Disk => Ok(()),
        }
    }

    /// To be asked before a step that may wait for any file system.
    ///
    /// # Errors
    /// [`OutOfReach`] unless all of them are in reach.
    pub fn any_disk(self) -> Result<(), OutOfReach> {
        match self {
            Reach::Memory | Reach::Roots => Err(OutOfReach),
            Reach::Disk => Ok(()),
        }
    }
}
