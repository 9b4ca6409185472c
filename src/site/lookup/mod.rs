//! From a path to the file that it names, or to why there is none.
//!
//! What was found before is used as long as it is fresh; that part needs no disk. The rest (a name
//! that is new, a comparison that is due, a root that may have been swapped) does, and is left to a
//! caller that may wait.
//!
//! Of those who ask at the same time for what is not there yet, one looks at the disk. The others are
//! told so ([`NeedsDisk::UnderWay`]), wait without a thread, and ask again ([`errand`](crate::site::waiting::errand)).
//! Without a cache each looks for itself.

mod alone;
mod checked;
mod encoded;
mod listed;
mod loading;
mod names;
mod policies;
mod ranged;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

use crate::clock::Now;
use crate::config;
use crate::config::{EtagSource, Precompressed, SiteConfig, SymlinkPolicy};
use crate::http::accept_encoding::Coding;
use crate::site::content::encoded_names::EncodedNames;
use crate::site::content::media_types::MediaTypes;
use crate::site::content::siblings::Evidence;
use crate::site::disk::descriptors::DescriptorBudget;
use crate::site::disk::reading::ReadLimits;
use crate::site::disk::resolve::{LinkPolicy, OpenError, Resolver};
use crate::site::disk::root::{Root, RootDirectory};
use crate::site::memory::absences::{Absence, Absences, Nothing};
use crate::site::memory::cache::{Cache, Entry};
use crate::site::memory::checkers::Checkers;
use crate::site::memory::checks::Checks;
use crate::site::memory::compressor::Compressor;
use crate::site::memory::freshness::{Freshness, Trust};
use crate::site::memory::judge::Judge;
use crate::site::memory::logged_names::LoggedNames;
use crate::site::memory::site_path::{KeptSitePath, SitePath};
use crate::site::rules::coding_policy::{CodingPolicy, CodingRules};
use crate::site::waiting::errand::Errands;
use crate::site::waiting::job::{FirstSlice, JobPermits, WholeSlice};
use crate::site::waiting::reach::{NeedsDisk, Reach};
use loading::LoadJob;
use names::{Name, is_itself, slash_form};

/// A file is compressed only if the cache could keep this many of its size: with all its forms, each
/// smaller than itself, it must leave room for others.
const MIN_KEPT: u64 = 8;

/// Without a cache, the largest file that is read before it is sent, in bytes: that takes a millisecond.
const UNCACHED_BYTES: u64 = 1024 * 1024;

/// More is being loaded than there are places for.
const TOO_MUCH: Absence = Absence::Open(OpenError::Exhausted);

/// What a path names.
#[derive(Debug, Clone)]
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
    resolver: Arc<Resolver>,
    /// The site's in what all remember together.
    number: u32,
    /// The first of the numbers that tell its paths from those of other sites there: one for each
    /// [`CodingPolicy`], and before them one for the policy of the path itself.
    first_key: u32,
    memory: Option<Arc<Memory>>,
    /// The budget of descriptors: a large file takes one for as long as it is open.
    descriptors: Arc<DescriptorBudget>,
    /// Where comparisons on the root's own file system are ordered; `None` without a memory.
    checks: Option<Arc<Checks>>,
    /// The device of that file system.
    device: u64,
    index: Vec<String>,
    has_clean_urls: bool,
    /// Whether a directory without an index is listed.
    lists: bool,
    /// Whether there are applications of one page, which may have routes with the names of directories.
    has_applications: bool,
    shows_hidden: bool,
    types: MediaTypes,
    /// The names that carry a coding.
    encoded_names: EncodedNames,
    limits: ReadLimits,
    revalidate_millis: u64,
    has_logged_outside_link: AtomicBool,
    has_logged_large_file: AtomicBool,
    etag: EtagSource,
    /// The evidence that a form beside a file needs; `None` if forms are not looked for there.
    evidence: Option<Evidence>,
    /// Forms beside files that are not sent.
    unused_forms: Arc<LoggedNames>,
    /// The largest file that forms are made of, in bytes; 0 if none are.
    compressible_bytes: u64,
    coding_rules: Option<CodingRules>,
    /// The largest content that is decoded of a file that is there in an encoded form only, in bytes.
    decoded_bytes: u64,
}

/// What was found before, in all sites. A path is in one of them, or in neither.
#[derive(Debug)]
pub struct Memory {
    files: Arc<Cache>,
    absences: Absences,
    compressor: Compressor,
    judge: Judge,
    /// What is being loaded: files, and forms of files. With a form comes the file, which has the form now if
    /// there is one.
    errands: Errands<(KeptSitePath, Coding), Found>,
    /// For what takes long to load.
    permits: JobPermits,
    checkers: Checkers,
}

impl Found {
    fn freshness(&self) -> &Freshness {
        match self {
            Found::File(entry) => &entry.freshness,
            Found::Nothing(nothing) => &nothing.freshness,
        }
    }
}

impl Memory {
    /// Of the size that is configured; `None` if nothing is to be remembered.
    #[must_use]
    pub fn new(cache: &config::Cache, descriptors: &DescriptorBudget) -> Option<Memory> {
        (cache.bytes > 0).then(|| Memory {
            files: Arc::new(Cache::new(
                cache.bytes,
                cache.file_bytes,
                descriptors.cached_files(),
            )),
            absences: Absences::new(),
            compressor: Compressor::new(),
            judge: Judge::default(),
            errands: Errands::default(),
            permits: JobPermits::default(),
            checkers: Checkers::default(),
        })
    }

    /// Those who carry out the comparisons.
    #[must_use]
    pub fn checkers(&self) -> &Checkers {
        &self.checkers
    }

    /// What is known of a path, whatever its age.
    fn recall(&self, key: SitePath<'_>) -> Option<Found> {
        let file = self.files.find(key).map(Found::File);
        file.or_else(|| self.absences.find(key).map(Found::Nothing))
    }

    /// Keeps what was loaded for `key`.
    fn keep(&self, key: SitePath<'_>, loaded: Result<Entry, Arc<Nothing>>) -> Found {
        match loaded {
            Ok(entry) => {
                let entry = Arc::new(entry);
                if !entry.representation.is_torn {
                    self.files.keep(Arc::clone(&entry));
                }
                Found::File(entry)
            }
            Err(nothing) => {
                self.absences.remember(key, &nothing);
                Found::Nothing(nothing)
            }
        }
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
        descriptors: Arc<DescriptorBudget>,
    ) -> io::Result<Lookup> {
        // Without a cache every request would compress.
        let compressible_bytes = if site.compress {
            cache.file_bytes.min(cache.bytes / MIN_KEPT)
        } else {
            0
        };
        // Nor does anybody read for others: what takes long is not read.
        let most = if cache.bytes > 0 {
            u64::MAX
        } else {
            UNCACHED_BYTES
        };
        let limits = ReadLimits {
            memory_bytes: cache.file_bytes.min(most),
            hash_bytes: cache.hash_bytes.min(most),
        };
        let evidence = match site.precompressed {
            Precompressed::Never => None,
            Precompressed::Always => Some(Evidence::Nothing),
            Precompressed::Current if memory.is_some() => Some(Evidence::Content),
            // Nobody would remember a verdict.
            Precompressed::Current => Some(Evidence::WholeSeconds),
        };
        let root = Root::open(&site.root)?;
        Ok(Lookup {
            checks: memory
                .as_ref()
                .map(|memory| memory.checkers.of_root(root.device())),
            device: root.device(),
            root,
            resolver: Arc::new(Resolver::with_policy(match site.symlinks {
                SymlinkPolicy::Inside => LinkPolicy::Inside,
                SymlinkPolicy::Never => LinkPolicy::Never,
                SymlinkPolicy::Anywhere => LinkPolicy::Anywhere,
            })),
            number,
            first_key: number.saturating_mul(CodingPolicy::NUMBERS),
            memory,
            descriptors,
            index: site.index.clone(),
            has_clean_urls: site.clean_urls,
            lists: site.listing,
            has_applications: !site.spa.is_empty(),
            shows_hidden: site.hidden,
            types: MediaTypes::new(&site.types, &site.default_type),
            encoded_names: EncodedNames::new(&site.encodings),
            limits,
            revalidate_millis: u64::from(cache.revalidate_secs) * 1_000,
            has_logged_outside_link: AtomicBool::new(false),
            has_logged_large_file: AtomicBool::new(false),
            etag: site.etag,
            evidence,
            unused_forms: Arc::default(),
            compressible_bytes,
            coding_rules: CodingRules::new(&site.headers),
            decoded_bytes: alone::most_decoded(cache.bytes),
        })
    }

    /// What `path`, decoded and normalised, names.
    ///
    /// # Errors
    /// [`NeedsDisk`] if memory does not tell and is all that is in `reach`, or if another thread is
    /// loading it.
    pub fn find(&self, path: &[u8], reach: Reach, now: Now) -> Result<Found, NeedsDisk> {
        self.find_at(self.key(path), reach, now)
    }

    #[inline]
    fn find_at(&self, key: SitePath<'_>, reach: Reach, now: Now) -> Result<Found, NeedsDisk> {
        let Some(memory) = &self.memory else {
            reach.disk()?;
            self.root.generation(reach, now.monotonic)?;
            return Ok(match self.load(key, now) {
                Ok(entry) => Found::File(Arc::new(entry)),
                Err(nothing) => Found::Nothing(nothing),
            });
        };
        let generation = match self.root.known_generation(now.monotonic) {
            Some(generation) => generation,
            None => self.resolve_root(reach, now.monotonic)?,
        };
        let trust =
            |learnt: &Freshness| learnt.trust(generation, now.monotonic, self.revalidate_millis);
        if let Some(entry) = memory.files.find(key) {
            match trust(&entry.freshness) {
                Trust::Holds => return Ok(Found::File(entry)),
                Trust::Due => {
                    if self.is_file_current(&entry, reach, now.monotonic)? {
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
                    if self.is_still_nothing(key, &nothing, reach, now.monotonic)? {
                        return Ok(Found::Nothing(nothing));
                    }
                }
                Trust::Void => reach.disk()?,
            }
            memory.absences.forget(key, &nothing);
        }
        reach.disk()?;
        self.load_and_keep(memory, key, generation, now)
    }

    /// Looks at the disk, unless another thread is at it for the same path.
    fn load_and_keep(
        &self,
        memory: &Arc<Memory>,
        key: SitePath<'_>,
        generation: u64,
        now: Now,
    ) -> Result<Found, NeedsDisk> {
        let is_void =
            |found: &Found| found.freshness().trust(generation, now.monotonic, 0) == Trust::Void;
        let errand_key = (key.keep(), Coding::Identity);
        let is_usable = |found: &Found| !is_void(found);
        let outing = match memory.errands.set_out(errand_key, is_usable) {
            Ok(outing) => outing,
            Err(errand) => {
                return match errand.brought().filter(|found| is_usable(found)) {
                    Some(found) => Ok(found.clone()),
                    None => Err(NeedsDisk::UnderWay(errand)),
                };
            }
        };
        // Another may have come back after we had looked and before we set out.
        if let Some(found) = memory.recall(key).filter(|found| !is_void(found)) {
            return Ok(found);
        }
        let directory = self.root.directory();
        let loaded = match self.begin(&directory, key, now) {
            Err(absence) => Err(absence),
            Ok(mut load) => match load.go_on(&FirstSlice::new(now.monotonic)) {
                Some(loaded) => loaded,
                None => match memory.permits.take() {
                    None => Err(TOO_MUCH),
                    Some(permit) => {
                        let memory = Arc::clone(memory);
                        let job = LoadJob { load, memory };
                        return Err(NeedsDisk::UnderWay(outing.leave(job, permit)));
                    }
                },
            },
        };
        let loaded =
            loaded.map_err(|absence| self.nothing(key.path, absence, directory.generation, now));
        let found = memory.keep(key, loaded);
        // Without an interval nobody takes another's word: who waited looks for itself.
        if self.revalidate_millis > 0 {
            outing.bring(found.clone(), memory.recall(key).is_some());
        }
        Ok(found)
    }

    fn load(&self, key: SitePath<'_>, now: Now) -> Result<Entry, Arc<Nothing>> {
        let directory = self.root.directory();
        let begun = self.begin(&directory, key, now);
        // Nothing takes long without a cache: see `open`.
        let whole = WholeSlice(now.monotonic);
        let loaded = begun.and_then(|mut load| load.go_on(&whole).unwrap_or(Err(TOO_MUCH)));
        loaded.map_err(|absence| self.nothing(key.path, absence, directory.generation, now))
    }

    fn nothing(&self, path: &[u8], absence: Absence, generation: u64, now: Now) -> Arc<Nothing> {
        self.log(absence, path);
        let freshness = Freshness::new(generation, now.monotonic);
        let nothing = Nothing::new(path, absence, freshness);
        Arc::new(nothing.with_forms(self.forms_alone(path, absence)))
    }

    /// Opens the regular file that `path` stands for; returns its name below the root too.
    fn open_file<'p>(
        &self,
        directory: &RootDirectory,
        path: &'p [u8],
    ) -> Result<(File, Name<'p>), Absence> {
        let mut is_directory = false;
        for name in self.names(path) {
            match self.open_regular(directory, &name) {
                Ok(file) => return Ok((file, name)),
                // Neither an index.html nor a page that is itself a directory is of any use.
                Err(Absence::IsDirectory) => is_directory |= is_itself(&name, path),
                Err(Absence::Open(OpenError::NotFound)) => {}
                Err(absence) => return Err(absence),
            }
        }
        Err(if is_directory {
            self.within(directory, path)
        } else {
            Absence::Open(OpenError::NotFound)
        })
    }

    /// Why the directory at `path`, which lacks the slash, has no file: a route of an application, which may
    /// have that name, does not lead to a slash form that shows nothing.
    fn within(&self, directory: &RootDirectory, path: &[u8]) -> Absence {
        if !self.looks_into_directories() {
            return Absence::IsDirectory;
        }
        let slash_form = slash_form(path);
        match self.open_file(directory, &slash_form) {
            Err(absence @ Absence::Open(OpenError::NotFound))
                if !self.is_alone(directory, &slash_form, absence) =>
            {
                absence
            }
            Err(absence) if !absence.is_lasting() => absence,
            Ok(_) | Err(_) => Absence::IsDirectory,
        }
    }

    /// Whether it matters, for a path that lacks the slash of a directory, what is in there.
    fn looks_into_directories(&self) -> bool {
        self.has_applications && !self.lists
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

    fn key<'p>(&self, path: &'p [u8]) -> SitePath<'p> {
        SitePath {
            site: self.first_key,
            path,
        }
    }

    fn log(&self, absence: Absence, path: &[u8]) {
        let path = path.escape_ascii();
        match absence {
            Absence::Open(OpenError::Outside)
                if !self.has_logged_outside_link.swap(true, Ordering::Relaxed) =>
            {
                log::warn!("{path}: a link that leads out of the root is refused (logged once)");
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

#[cfg(test)]
mod tests;
