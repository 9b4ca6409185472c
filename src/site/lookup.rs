//! From a path to the file that it names, or to why there is none.
//!
//! What was found before is used as long as it is fresh; that part needs no disk. The rest (a name
//! that is new, a comparison that is due, a root that may have been swapped) does, and is left to a
//! caller that may wait.

use std::borrow::Cow;
use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::absences::{Absence, Absences, Nothing};
use super::cache::{Cache, Entry};
use super::freshness::{Freshness, Trust};
use super::reach::{NeedsDisk, Reach};
use super::representation::{Identity, Representation};
use super::resolve::{OpenError, Resolver};
use super::root::{Root, RootDirectory};
use crate::clock::{Millis, Now};
use crate::config::Config;

/// Served for a directory that is asked for with its slash.
const INDEX: &[u8] = b"index.html";

/// What a path names.
#[derive(Debug)]
pub enum Found {
    /// A regular file.
    File(Arc<Entry>),
    /// No file that is served.
    Nothing(Arc<Nothing>),
}

/// The files below the root.
#[derive(Debug)]
pub struct Lookup {
    root: Root,
    resolver: Resolver,
    memory: Option<Memory>,
    file_bytes: u64,
    revalidate_millis: u64,
    has_logged_outside_link: AtomicBool,
}

/// What was found before. A path is in one of them, or in neither.
#[derive(Debug)]
struct Memory {
    files: Cache,
    absences: Absences,
}

impl Lookup {
    /// Opens the configured root.
    ///
    /// # Errors
    /// If the root is not a directory that can be read.
    pub fn open(config: &Config) -> std::io::Result<Lookup> {
        let cache = &config.cache;
        Ok(Lookup {
            root: Root::open(&config.site.root)?,
            resolver: Resolver::new(),
            memory: (cache.bytes > 0).then(|| Memory {
                files: Cache::new(cache.bytes, cache.file_bytes),
                absences: Absences::new(),
            }),
            file_bytes: cache.file_bytes,
            revalidate_millis: u64::from(cache.revalidate_secs) * 1_000,
            has_logged_outside_link: AtomicBool::new(false),
        })
    }

    /// What `path`, decoded and normalised, names.
    ///
    /// # Errors
    /// [`NeedsDisk`] if memory does not tell and is all that is in `reach`.
    pub fn find(&self, path: &[u8], reach: Reach, now: Now) -> Result<Found, NeedsDisk> {
        let Some(memory) = &self.memory else {
            reach.disk()?;
            self.root.generation(reach, now.monotonic)?;
            return Ok(match self.load(path, now) {
                Ok(entry) => Found::File(Arc::new(entry)),
                Err(nothing) => Found::Nothing(nothing),
            });
        };
        let generation = self.root.generation(reach, now.monotonic)?;
        let trust =
            |learnt: &Freshness| learnt.trust(generation, now.monotonic, self.revalidate_millis);
        if let Some(entry) = memory.files.find(path) {
            match trust(&entry.freshness) {
                Trust::Holds => return Ok(Found::File(entry)),
                Trust::Due => {
                    reach.disk()?;
                    if self.is_file_current(&entry, now.monotonic) {
                        return Ok(Found::File(entry));
                    }
                }
                Trust::Void => reach.disk()?,
            }
            memory.files.drop_stale(path, &entry);
        } else if let Some(nothing) = memory.absences.find(path) {
            match trust(&nothing.freshness) {
                Trust::Holds => return Ok(Found::Nothing(nothing)),
                Trust::Due => {
                    reach.disk()?;
                    if self.is_still_nothing(path, &nothing, now.monotonic) {
                        return Ok(Found::Nothing(nothing));
                    }
                }
                Trust::Void => reach.disk()?,
            }
            memory.absences.forget(path, &nothing);
        }
        reach.disk()?;
        Ok(self.load_and_keep(memory, path, generation, now))
    }

    /// Compares a file with the disk, unless another thread is at it or was just now.
    fn is_file_current(&self, entry: &Entry, now: Millis) -> bool {
        if !entry.freshness.claim_check(now, self.revalidate_millis) {
            return true;
        }
        // Following a link out of the root does no harm here: only a file that is the very one that
        // was loaded through the resolver compares equal.
        let directory = self.root.directory();
        let stat = rustix::fs::statat(&directory.fd, entry.path.as_slice(), AtFlags::empty());
        stat.is_ok_and(|stat| entry.representation.is_current(&Identity::of_stat(&stat)))
    }

    /// Looks again for what was not there, unless another thread is at it or was just now.
    fn is_still_nothing(&self, path: &[u8], nothing: &Nothing, now: Millis) -> bool {
        if !nothing.freshness.claim_check(now, self.revalidate_millis) {
            return true;
        }
        let directory = self.root.directory();
        let found = self.open_file(&directory, path, &below_root(path));
        found.is_err_and(|absence| absence == nothing.absence)
    }

    /// Looks at the disk. Of those who ask for the same path at the same time one does, and the
    /// others wait for what it finds.
    fn load_and_keep(&self, memory: &Memory, path: &[u8], generation: u64, now: Now) -> Found {
        let loaded = memory.files.find_or_load(path, || {
            // While we waited for our turn, another may have found that there is nothing.
            if let Some(nothing) = memory.absences.find(path) {
                let learnt = &nothing.freshness;
                if learnt.trust(generation, now.monotonic, self.revalidate_millis) == Trust::Holds {
                    return Err(nothing);
                }
            }
            self.load(path, now)
                .inspect_err(|nothing| memory.absences.remember(path, nothing))
        });
        match loaded {
            Ok(entry) => {
                if entry.representation.is_torn {
                    memory.files.drop_stale(path, &entry);
                }
                Found::File(entry)
            }
            Err(nothing) => Found::Nothing(nothing),
        }
    }

    fn load(&self, path: &[u8], now: Now) -> Result<Entry, Arc<Nothing>> {
        let directory = self.root.directory();
        let relative = below_root(path);
        let loaded = self
            .open_file(&directory, path, &relative)
            .and_then(|file| {
                let name = String::from_utf8_lossy(&relative);
                Representation::load(file, &name, self.file_bytes, now).map_err(absence_of)
            });
        let freshness = Freshness::new(directory.generation, now.monotonic);
        match loaded {
            Ok(representation) => Ok(Entry {
                representation,
                path: relative.into_owned(),
                freshness,
            }),
            Err(absence) => {
                self.log(absence, path);
                Err(Arc::new(Nothing::new(path, absence, freshness)))
            }
        }
    }

    /// Opens the regular file `relative`, which `path` stands for.
    fn open_file(
        &self,
        directory: &RootDirectory,
        path: &[u8],
        relative: &[u8],
    ) -> Result<File, Absence> {
        let file = self
            .resolver
            .open(directory.fd.as_fd(), relative)
            .map_err(Absence::Open)?;
        let kind = file.metadata().map_err(absence_of)?.file_type();
        if kind.is_file() {
            Ok(file)
        } else if !kind.is_dir() {
            Err(Absence::IsSpecial)
        } else if path.ends_with(b"/") {
            // `name/` with an index.html that is itself a directory has no index.
            Err(Absence::Open(OpenError::NotFound))
        } else {
            Err(Absence::IsDirectory)
        }
    }

    fn log(&self, absence: Absence, path: &[u8]) {
        let path = path.escape_ascii();
        match absence {
            Absence::Open(OpenError::Outside)
                if !self.has_logged_outside_link.swap(true, Ordering::Relaxed) =>
            {
                log::warn!(
                    "{path}: a link that is absolute or leads out of the root is refused (logged once)"
                );
            }
            Absence::Open(OpenError::Failed) => log::error!("{path}: the file cannot be read"),
            _ => {}
        }
    }
}

/// The name below the root that a request path stands for.
fn below_root(path: &[u8]) -> Cow<'_, [u8]> {
    let relative = path.strip_prefix(b"/").unwrap_or(path);
    if relative.is_empty() || relative.ends_with(b"/") {
        Cow::Owned([relative, INDEX].concat())
    } else {
        Cow::Borrowed(relative)
    }
}

fn absence_of(error: std::io::Error) -> Absence {
    let errno = match error.raw_os_error() {
        Some(code) => Errno::from_raw_os_error(code),
        // The standard library found it out before the kernel did.
        None if error.kind() == std::io::ErrorKind::OutOfMemory => Errno::NOMEM,
        None => Errno::IO,
    };
    Absence::Open(OpenError::from(errno))
}
