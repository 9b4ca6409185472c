//! From a path to the file that it names, or to why there is none.
//!
//! What was found before is used as long as it is fresh; that part needs no disk. The rest (a name
//! that is new, a comparison that is due, a root that may have been swapped) does, and is left to a
//! caller that may wait.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::absences::{Absence, Absences, Nothing};
use super::cache::{Cache, Entry};
use super::clean_urls;
use super::compressor::{Compressor, Order};
use super::content_coding::MIN_BYTES;
use super::forms::{Forms, State};
use super::freshness::{Freshness, Trust};
use super::identity::Identity;
use super::listing::Listings;
use super::media_types::{content_type_among, is_compressible, is_opaque};
use super::reach::{NeedsDisk, Reach};
use super::representation::{Metadata, Representation};
use super::resolve::{LinkPolicy, OpenError, Resolver};
use super::root::{Root, RootDirectory};
use super::siblings::Siblings;
use super::site_path::SitePath;
use crate::clock::{Millis, Now};
use crate::config;
use crate::config::{EtagSource, SiteConfig, SymlinkPolicy};
use crate::http::accept_encoding::{AcceptedCodings, Coding};
use crate::http::request::RequestHead;
use crate::http::response::Response;

/// The largest file that is compressed while its client waits, in bytes. Brotli, the slowest, was
/// measured to take 0.7 ms for it, and 6 ms for the 256 KiB that the cache keeps of a file by default.
const QUICK_BYTES: u64 = 32 * 1024;

/// A file is compressed only if the cache could keep this many of its size: with all its forms, each
/// smaller than itself, it must leave room for others.
const MIN_KEPT: u64 = 8;

/// What a path names.
#[derive(Debug)]
pub enum Found {
    /// A regular file.
    File(Arc<Entry>),
    /// No file that is served.
    Nothing(Arc<Nothing>),
}

/// The files below the root of one site.
#[derive(Debug)]
pub struct Lookup {
    root: Root,
    resolver: Resolver,
    /// The site's in what all remember together.
    number: u32,
    memory: Option<Arc<Memory>>,
    index: Vec<String>,
    has_clean_urls: bool,
    types: HashMap<String, String>,
    file_bytes: u64,
    revalidate_millis: u64,
    has_logged_outside_link: AtomicBool,
    etag: EtagSource,
    /// Whether forms are looked for beside a file.
    looks_beside: bool,
    /// The largest file that forms are made of, in bytes; 0 if none are.
    compressible_bytes: u64,
}

/// What was found before, in all sites. A path is in one of them, or in neither.
#[derive(Debug)]
pub struct Memory {
    files: Arc<Cache>,
    absences: Absences,
    compressor: Compressor,
}

impl Memory {
    /// Of the size that is configured; `None` if nothing is to be remembered.
    #[must_use]
    pub fn new(cache: &config::Cache) -> Option<Memory> {
        (cache.bytes > 0).then(|| Memory {
            files: Arc::new(Cache::new(cache.bytes, cache.file_bytes)),
            absences: Absences::new(),
            compressor: Compressor::new(),
        })
    }
}

impl Lookup {
    /// Opens the root of `site`, which has this `number` in `memory`.
    ///
    /// # Errors
    /// If the root is not a directory that can be read.
    pub fn open(
        site: &SiteConfig,
        number: u32,
        cache: &config::Cache,
        memory: Option<Arc<Memory>>,
    ) -> io::Result<Lookup> {
        let types = site.types.iter();
        // Without a cache every request would compress.
        let compressible_bytes = if site.compress {
            cache.file_bytes.min(cache.bytes / MIN_KEPT)
        } else {
            0
        };
        Ok(Lookup {
            root: Root::open(&site.root)?,
            resolver: Resolver::with_policy(match site.symlinks {
                SymlinkPolicy::Inside => LinkPolicy::Inside,
                SymlinkPolicy::Never => LinkPolicy::Never,
                SymlinkPolicy::Anywhere => LinkPolicy::Anywhere,
            }),
            number,
            memory,
            index: site.index.clone(),
            has_clean_urls: site.clean_urls,
            types: types
                .map(|(extension, name)| (extension.clone(), name.clone()))
                .collect(),
            file_bytes: cache.file_bytes,
            revalidate_millis: u64::from(cache.revalidate_secs) * 1_000,
            has_logged_outside_link: AtomicBool::new(false),
            etag: site.etag,
            looks_beside: site.precompressed,
            compressible_bytes,
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
        let key = self.key(path);
        let trust =
            |learnt: &Freshness| learnt.trust(generation, now.monotonic, self.revalidate_millis);
        if let Some(entry) = memory.files.find(key) {
            match trust(&entry.freshness) {
                Trust::Holds => return Ok(Found::File(entry)),
                Trust::Due => {
                    reach.disk()?;
                    if self.is_file_current(path, &entry, now.monotonic) {
                        return Ok(Found::File(entry));
                    }
                }
                Trust::Void => reach.disk()?,
            }
            memory.files.drop_stale(key, &entry);
        } else if let Some(nothing) = memory.absences.find(key) {
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
            memory.absences.forget(key, &nothing);
        }
        reach.disk()?;
        Ok(self.load_and_keep(memory, path, generation, now))
    }

    /// The representation of a file that a client with these codings is to get: the first form that
    /// there is, or that can be made, in the client's order. A large file is sent as it is, or in
    /// another form that is there, until the one that would be first has been made.
    ///
    /// # Errors
    /// [`NeedsDisk`] if a form has to be read, made or ordered, and only memory is in `reach`.
    pub fn negotiate<'e>(
        &self,
        entry: &'e Arc<Entry>,
        forms: &'e Forms,
        accepted: AcceptedCodings,
        reach: Reach,
        now: Now,
    ) -> Result<&'e Representation, NeedsDisk> {
        let is_large = entry.representation.content.len() > QUICK_BYTES;
        let mut is_awaited = false;
        for &coding in accepted.compressed() {
            let form = match forms.state(coding) {
                State::Ready(form) => Some(form),
                State::None => None,
                State::Beside => {
                    reach.disk()?;
                    self.fill(entry, forms, coding, || {
                        self.read_beside(entry, coding, now)
                    })
                }
                // One that is liked less is not worth making.
                State::Possible | State::Ordered if is_awaited => None,
                State::Possible if is_large => {
                    reach.disk()?;
                    self.order(entry, forms, coding);
                    is_awaited = true;
                    None
                }
                State::Possible => {
                    reach.disk()?;
                    self.fill(entry, forms, coding, || entry.compress(coding))
                }
                State::Ordered => {
                    is_awaited = true;
                    None
                }
            };
            if let Some(form) = form {
                return Ok(form);
            }
        }
        Ok(&entry.representation)
    }

    fn fill<'e>(
        &self,
        entry: &'e Arc<Entry>,
        forms: &'e Forms,
        coding: Coding,
        make: impl FnOnce() -> Option<Representation>,
    ) -> Option<&'e Representation> {
        match &self.memory {
            Some(memory) => memory.files.fill(entry, coding, make),
            None => forms.fill(coding, make).0,
        }
    }

    /// Has a form made, unless that has been ordered already.
    fn order(&self, entry: &Arc<Entry>, forms: &Forms, coding: Coding) {
        let Some(memory) = &self.memory else {
            return;
        };
        if forms.claim_order(coding) {
            let order = Order::new(&memory.files, entry, coding);
            if !memory.compressor.place(order) {
                forms.return_order(coding);
            }
        }
    }

    /// Reads the form that was seen beside a file. If it has gone or changed, or cannot be read just
    /// now, the entry is not kept: the next request looks at all of it again.
    fn read_beside(&self, entry: &Arc<Entry>, coding: Coding, now: Now) -> Option<Representation> {
        let read = self.try_read_beside(entry, coding, now);
        if let (None, Some(memory)) = (&read, &self.memory) {
            memory.files.drop_stale(entry.key.site_path(), entry);
        }
        read
    }

    fn try_read_beside(&self, entry: &Entry, coding: Coding, now: Now) -> Option<Representation> {
        let (path, seen) = entry.siblings.as_ref()?.usable(coding)?;
        let directory = self.root.directory();
        let file = self.resolver.open(directory.fd.as_fd(), path).ok()?;
        let metadata = Metadata {
            content_type: &entry.representation.content_type(),
            coding,
            varies: true,
            etag: self.etag,
        };
        let form = Representation::load(file, &metadata, self.file_bytes, now).ok()?;
        // In a root that was swapped meanwhile there may be another file of that name.
        (!form.is_torn && form.identity() == seen).then_some(form)
    }

    /// Compares a file and what lies beside it with the disk, unless another thread is at it or was
    /// just now.
    fn is_file_current(&self, path: &[u8], entry: &Entry, now: Millis) -> bool {
        if !entry.freshness.claim_check(now, self.revalidate_millis) {
            return true;
        }
        // Following a link out of the root does no harm here: only a file that is the very one that
        // was loaded through the resolver compares equal.
        let directory = self.root.directory();
        let stat = |name: &[u8]| rustix::fs::statat(&directory.fd, name, AtFlags::empty());
        let is_file = |name: &[u8]| {
            stat(name).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file())
        };
        // A file that comes before it may be there by now.
        let mut better = self.names(path).take_while(|name| **name != *entry.path);
        let siblings = entry.siblings.as_ref();
        stat(&entry.path)
            .is_ok_and(|stat| entry.representation.is_current(&Identity::of_stat(&stat)))
            && siblings.is_none_or(|seen| seen.are_current(directory.fd.as_fd()))
            && !better.any(|name| is_file(&name))
    }

    /// Looks again for what was not there, unless another thread is at it or was just now.
    fn is_still_nothing(&self, path: &[u8], nothing: &Nothing, now: Millis) -> bool {
        if !nothing.freshness.claim_check(now, self.revalidate_millis) {
            return true;
        }
        let directory = self.root.directory();
        let found = self.open_file(&directory, path);
        found.is_err_and(|absence| absence == nothing.absence)
    }

    /// Looks at the disk. Of those who ask for the same path at the same time one does, and the
    /// others wait for what it finds.
    fn load_and_keep(&self, memory: &Memory, path: &[u8], generation: u64, now: Now) -> Found {
        let key = self.key(path);
        let loaded = memory.files.find_or_load(key, || {
            // While we waited for our turn, another may have found that there is nothing.
            if let Some(nothing) = memory.absences.find(key) {
                let learnt = &nothing.freshness;
                if learnt.trust(generation, now.monotonic, self.revalidate_millis) == Trust::Holds {
                    return Err(nothing);
                }
            }
            self.load(path, now)
                .inspect_err(|nothing| memory.absences.remember(key, nothing))
        });
        match loaded {
            Ok(entry) => {
                if entry.representation.is_torn {
                    memory.files.drop_stale(key, &entry);
                }
                Found::File(entry)
            }
            Err(nothing) => Found::Nothing(nothing),
        }
    }

    fn load(&self, path: &[u8], now: Now) -> Result<Entry, Arc<Nothing>> {
        let directory = self.root.directory();
        let loaded = self.open_file(&directory, path).and_then(|(file, name)| {
            self.read(&directory, file, path, &name, now)
        });
        loaded.map_err(|absence| {
            self.log(absence, path);
            let freshness = Freshness::new(directory.generation, now.monotonic);
            Arc::new(Nothing::new(path, absence, freshness))
        })
    }

    /// Reads the open file `name` below the root, which `path` stands for, and looks at what lies
    /// beside it.
    fn read(
        &self,
        directory: &RootDirectory,
        file: File,
        path: &[u8],
        name: &[u8],
        now: Now,
    ) -> Result<Entry, Absence> {
        let content_type = content_type_among(&String::from_utf8_lossy(name), &self.types);
        let is_compressible = is_compressible(&content_type);
        let mut siblings = None;
        if self.looks_beside && (is_compressible || is_opaque(&content_type)) {
            let (root, original) = (directory.fd.as_fd(), Identity::of(&file).map_err(absence_of)?);
            siblings = Siblings::look(root, &self.resolver, name, &original, now);
        }
        let can_be_encoded = self.looks_beside || self.compressible_bytes > 0;
        let metadata = Metadata {
            content_type: &content_type,
            coding: Coding::Identity,
            varies: is_compressible && can_be_encoded
                || siblings.as_ref().is_some_and(Siblings::has_usable),
            etag: self.etag,
        };
        let representation = Representation::load(file, &metadata, self.file_bytes, now);
        let representation = representation.map_err(absence_of)?;
        if representation.is_mixture() {
            return Err(Absence::IsChanging);
        }
        let may_compress = is_compressible
            && !representation.is_torn
            && (MIN_BYTES as u64..=self.compressible_bytes).contains(&representation.content.len());
        let forms = Forms::new(siblings.as_ref(), may_compress);
        Ok(Entry {
            representation,
            key: self.key(path).keep(),
            path: name.to_vec(),
            freshness: Freshness::new(directory.generation, now.monotonic),
            siblings,
            forms: forms.map(Box::new),
        })
    }

    /// The names below the root that a request path may stand for, the best one first.
    fn names<'p>(&self, path: &'p [u8]) -> impl Iterator<Item = Cow<'p, [u8]>> {
        let relative = path.strip_prefix(b"/").unwrap_or(path);
        let is_directory = relative.is_empty() || relative.ends_with(b"/");
        let itself = (!is_directory).then_some(Cow::Borrowed(relative));
        let index = self.index.iter().filter(move |_| is_directory);
        let page = (self.has_clean_urls && !is_directory).then_some(clean_urls::SUFFIX);
        let ends = index.map(|name| name.as_bytes()).chain(page);
        let longer = ends.map(move |end| Cow::Owned([relative, end].concat()));
        itself.into_iter().chain(longer)
    }

    /// Opens the regular file that `path` stands for; returns its name below the root too.
    fn open_file<'p>(
        &self,
        directory: &RootDirectory,
        path: &'p [u8],
    ) -> Result<(File, Cow<'p, [u8]>), Absence> {
        let mut is_directory = false;
        for name in self.names(path) {
            match self.open_regular(directory, &name) {
                Ok(file) => return Ok((file, name)),
                // `name/` with an index.html that is itself a directory has no index.
                Err(Absence::IsDirectory) => is_directory = !path.ends_with(b"/"),
                Err(Absence::Open(OpenError::NotFound)) => {}
                Err(absence) => return Err(absence),
            }
        }
        Err(if is_directory {
            Absence::IsDirectory
        } else {
            Absence::Open(OpenError::NotFound)
        })
    }

    fn open_regular(&self, directory: &RootDirectory, name: &[u8]) -> Result<File, Absence> {
        let file = self
            .resolver
            .open(directory.fd.as_fd(), name)
            .map_err(Absence::Open)?;
        let kind = file.metadata().map_err(absence_of)?.file_type();
        if kind.is_file() {
            Ok(file)
        } else if kind.is_dir() {
            Err(Absence::IsDirectory)
        } else {
            Err(Absence::IsSpecial)
        }
    }

    /// Lists the directory at `path`, as [`Listings::respond`] does. Waits for the disk.
    ///
    /// # Errors
    /// Those of [`Listings::respond`].
    pub fn list(
        &self,
        listings: &Listings,
        path: &[u8],
        query: Option<&[u8]>,
        head: &RequestHead<'_, '_>,
        now: Now,
    ) -> Result<Response, OpenError> {
        let directory = self.root.directory();
        listings.respond(directory.fd.as_fd(), &self.resolver, path, query, head, now)
    }

    fn key<'p>(&self, path: &'p [u8]) -> SitePath<'p> {
        SitePath {
            site: self.number,
            path,
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

fn absence_of(error: io::Error) -> Absence {
    let errno = match error.raw_os_error() {
        Some(code) => Errno::from_raw_os_error(code),
        // The standard library found it out before the kernel did.
        None if error.kind() == io::ErrorKind::OutOfMemory => Errno::NOMEM,
        None => Errno::IO,
    };
    Absence::Open(OpenError::from(errno))
}
