//! A file on its way from the disk into an entry, and a form into its place there: at once if that is
//! soon done, else as a [`Job`].

use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::alone::{Alone, DecodedAlone};
use super::files::absence_of;
use super::opening::Lookup;
use crate::clock::{Millis, Now};
use crate::http::accept_encoding::Coding;
use crate::site::content::{
    Beside, EncodedNames, LoadLimits, Loading, MIN_COMPRESSED_BYTES, Metadata, Redundancy,
    Representation, Sidecars,
};
use crate::site::disk::{Identity, OpenError, RootDirectory};
use crate::site::memory::{
    Absence, EncodedVariants, FileEntry, Found, Freshness, KeptSitePath, Memory, NegativeEntry,
    Original, SitePath,
};
use crate::site::waiting::{Job, Slice};

/// A file on its way into a [`FileEntry`].
#[derive(Debug)]
pub(super) struct Load {
    loading: Loading,
    key: KeptSitePath,
    name: Vec<u8>,
    pub(super) sidecars: Option<Sidecars>,
    /// Set if the file itself is not there, and one of its forms is loaded.
    pub(super) alone: Option<Box<Alone>>,
    /// The sizes that forms are made of; none if the range is empty.
    compressible: RangeInclusive<u64>,
    generation: u64,
    begun_at: Millis,
}

/// The file that is to be loaded.
#[derive(Debug, Clone, Copy)]
struct Wanted<'w> {
    directory: &'w RootDirectory,
    /// The path that it is kept for.
    key: SitePath<'w>,
    /// Its name below the root.
    name: &'w [u8],
    now: Now,
}

impl Lookup {
    /// Opens what the path of `key` stands for and begins to load it.
    pub(super) fn begin(
        &self,
        directory: &RootDirectory,
        key: SitePath<'_>,
        now: Now,
    ) -> Result<Load, Absence> {
        match self.open_file(directory, key.path) {
            Ok((file, name)) => {
                let name = &name;
                self.begin_file(
                    Wanted {
                        directory,
                        key,
                        name,
                        now,
                    },
                    file,
                )
            }
            Err(absence) => self.begin_alone(directory, key, absence, now),
        }
    }

    /// Begins to read the open `file`, which is the one that is `wanted`, and looks at what lies beside it.
    fn begin_file(&self, wanted: Wanted<'_>, file: File) -> Result<Load, Absence> {
        let Wanted { key, name, now, .. } = wanted;
        let text = String::from_utf8_lossy(name);
        let coding = self.encoded_names.coding(&text);
        let is_plain = coding == Coding::Identity;
        let content_type = if is_plain {
            self.types.of(&text)
        } else {
            EncodedNames::content_type(&text, &self.types)
        };
        let policy = self.coding_policy(key, &content_type);
        let redundancy = policy.redundancy;
        let redundancy = redundancy.unwrap_or_else(|| Redundancy::of(&content_type));
        let is_compressible = is_plain && redundancy == Redundancy::Much;
        // The largest file that forms are made of.
        let most = if is_compressible && !policy.no_transform {
            self.compressible_bytes
        } else {
            0
        };
        let sidecars = if is_plain {
            self.look_beside(wanted, &file)?
        } else {
            None
        };
        let metadata = Metadata {
            content_type: &content_type,
            coding,
            varies: is_compressible && self.evidence.is_some()
                || most > 0
                || sidecars.as_ref().is_some_and(Sidecars::has_usable),
            etag: self.etag,
        };
        let loading = self.begin_reading(file, &metadata, name, now);
        let loading = loading.map_err(absence_of)?;
        let mut load = wanted.load(loading, most);
        load.sidecars = sidecars;
        Ok(load)
    }

    /// Begins to load the form that the path of `key` stands for, of which there is no file: `absence` says why.
    ///
    /// # Errors
    /// `absence` if there is no form either; else why it cannot be read.
    fn begin_alone(
        &self,
        directory: &RootDirectory,
        key: SitePath<'_>,
        absence: Absence,
        now: Now,
    ) -> Result<Load, Absence> {
        let (name, sidecars) = self
            .find_alone(directory, key.path, absence, now)
            .ok_or(absence)?;
        let usable = |coding: &Coding| sidecars.usable(*coding).is_some();
        let coding = Coding::COMPRESSED.into_iter().find(usable);
        let coding = coding.ok_or(absence)?;
        let (form, _) = sidecars.usable(coding).ok_or(absence)?;
        let file = self.resolver.open(directory.fd.as_fd(), form);
        let content_type = self.types.of(&String::from_utf8_lossy(&name));
        let policy = self.coding_policy(key, &content_type);
        let is_compressible = policy.redundancy.is_none_or(|it| it == Redundancy::Much);
        // The largest content of which further forms are made.
        let most = if is_compressible && !policy.no_transform {
            self.compressible_bytes
        } else {
            0
        };
        let metadata = Metadata {
            content_type: &content_type,
            coding,
            varies: true,
            etag: self.etag,
        };
        let file = file.map_err(Absence::Open)?;
        let loading = self.begin_reading(file, &metadata, form, now);
        let loading = loading.map_err(absence_of)?;
        let wanted = Wanted {
            directory,
            key,
            name: &name,
            now,
        };
        let mut load = wanted.load(loading, most);
        load.sidecars = Some(sidecars);
        load.alone = Some(Box::new(Alone::new(
            coding,
            self.decoded_bytes,
            Arc::clone(&self.unused_forms),
        )));
        Ok(load)
    }

    /// Looks for forms of the open `file`, if the site sends such forms.
    fn look_beside(&self, wanted: Wanted<'_>, file: &File) -> Result<Option<Sidecars>, Absence> {
        let Some(evidence) = self.evidence else {
            return Ok(None);
        };
        let beside = Beside {
            path: wanted.name,
            identity: &Identity::of(file).map_err(absence_of)?,
            verdicts: self.memory.as_deref().map(|memory| &*memory.verdicts),
        };
        let place = self.search_root(wanted.directory);
        let sidecars = Sidecars::look(place, beside, evidence, wanted.now);
        for path in sidecars.iter().flat_map(Sidecars::too_old) {
            self.unused_forms.warn(
                path,
                "it is older than the file that it lies beside, and their contents are not compared \
                 (without a cache, or above 64 MiB): not sent",
            );
        }
        Ok(sidecars)
    }

    pub(super) fn begin_reading(
        &self,
        file: File,
        metadata: &Metadata<'_>,
        name: &[u8],
        now: Now,
    ) -> io::Result<Loading> {
        let limits = LoadLimits {
            read: self.limits,
            descriptors: &self.descriptors,
        };
        let loading = Loading::new(file, metadata, limits, now)?;
        if loading.is_too_large_to_hash()
            && !self.has_logged_large_file.swap(true, Ordering::Relaxed)
        {
            log::warn!(
                "{}: the file is larger than {} bytes, the most that are hashed if etag = \"content\" or \
                 the file's time is none: it is sent without ETag and Last-Modified (logged once)",
                name.escape_ascii(),
                self.limits.hash_bytes
            );
        }
        Ok(loading)
    }

    /// Opens the form that was seen beside a file and begins to read it; `None` if it has gone.
    pub(super) fn begin_beside(
        &self,
        entry: &Arc<FileEntry>,
        coding: Coding,
        now: Now,
    ) -> Option<LoadVariant> {
        let (path, _) = entry.sidecars.as_ref()?.usable(coding)?;
        let directory = self.root.directory();
        let file = self.resolver.open(directory.fd.as_fd(), path).ok()?;
        let metadata = Metadata {
            content_type: &entry.representation.content_type(),
            coding,
            varies: true,
            etag: self.etag,
        };
        Some(LoadVariant {
            loading: self.begin_reading(file, &metadata, path, now).ok()?,
            entry: Arc::clone(entry),
            coding,
        })
    }
}

impl Wanted<'_> {
    /// The file on its way into an entry. EncodedVariants are made of at most `most` bytes.
    fn load(&self, loading: Loading, most: u64) -> Load {
        Load {
            loading,
            key: self.key.keep(),
            name: self.name.to_vec(),
            sidecars: None,
            alone: None,
            compressible: MIN_COMPRESSED_BYTES as u64..=most,
            generation: self.directory.generation,
            begun_at: self.now.monotonic,
        }
    }
}

impl Load {
    /// Goes on until `slice` is over: `None` if that comes first.
    pub(super) fn go_on(&mut self, slice: &dyn Slice) -> Option<Result<FileEntry, Absence>> {
        if self.alone.as_ref().is_some_and(|alone| alone.is_read()) {
            return self.decode(slice);
        }
        match self.loading.go_on(slice) {
            Ok(None) => None,
            Ok(Some(representation)) if representation.is_mixture() => {
                Some(Err(Absence::IsChanging))
            }
            Ok(Some(representation)) => match &mut self.alone {
                None => Some(Ok(self.entry(representation, Original::There))),
                Some(alone) => {
                    alone.begin(representation);
                    self.decode(slice)
                }
            },
            Err(error) => Some(Err(absence_of(error))),
        }
    }

    /// Goes on with a form that has been read and is alone.
    fn decode(&mut self, slice: &dyn Slice) -> Option<Result<FileEntry, Absence>> {
        let DecodedAlone {
            representation,
            original,
            coding,
            form,
        } = match self.alone.as_mut()?.go_on(&self.name, slice)? {
            Ok(outcome) => outcome,
            Err(absence) => return Some(Err(absence)),
        };
        // The sightings tell when one of the forms has changed since it was looked at.
        let entry = self.entry(representation, original);
        if let Some(forms) = &entry.forms {
            forms.fill(coding, || form);
        }
        Some(Ok(entry))
    }

    /// Makes the entry, once.
    fn entry(&mut self, representation: Representation, original: Original) -> FileEntry {
        let sidecars = self.sidecars.take();
        let may_compress =
            !representation.is_torn && self.compressible.contains(&representation.content.len());
        let forms = EncodedVariants::new(sidecars.as_ref(), may_compress);
        FileEntry {
            representation,
            key: self.key.clone(),
            path: std::mem::take(&mut self.name),
            freshness: self.freshness(),
            sidecars,
            forms: forms.map(Box::new),
            original,
        }
    }

    fn freshness(&self) -> Freshness {
        Freshness::new(self.generation, self.begun_at)
    }
}

/// A [`Load`] that takes longer than a slice.
pub(super) struct LoadJob {
    pub(super) load: Load,
    pub(super) memory: Arc<Memory>,
}

impl Job for LoadJob {
    type Output = Found;

    fn step(&mut self, slice: &dyn Slice) -> Option<Found> {
        let loaded = self.load.go_on(slice)?;
        let key = self.load.key.site_path();
        if let Err(Absence::Open(OpenError::Failed)) = loaded {
            log::error!("{}: the file cannot be read", key.path.escape_ascii());
        }
        let loaded = loaded.map_err(|absence| {
            let nothing = NegativeEntry::new(key.path, absence, self.load.freshness());
            Arc::new(nothing)
        });
        Some(self.memory.keep(key, loaded))
    }
}

/// A form on its way into its file's entry.
pub(super) struct LoadVariant {
    loading: Loading,
    entry: Arc<FileEntry>,
    coding: Coding,
}

impl LoadVariant {
    /// Goes on until `slice` is over: `None` if that comes first, then the form, if it is the one that
    /// was seen.
    pub(super) fn go_on(&mut self, slice: &dyn Slice) -> Option<Option<Representation>> {
        let form = match self.loading.go_on(slice) {
            Ok(loaded) => loaded?,
            Err(_) => return Some(None),
        };
        let sidecars = self.entry.sidecars.as_ref();
        let seen = sidecars.and_then(|sidecars| sidecars.usable(self.coding));
        // In a root that was swapped meanwhile there may be another file of that name.
        let is_seen = !form.is_torn && seen.is_some_and(|(_, seen)| form.identity() == seen);
        // The form may be older than its file. A client that has the file from before its last change, and
        // asks by time alone, must not be told that nothing has changed.
        let original = self.entry.representation.last_modified;
        Some(is_seen.then(|| form.modified_no_earlier_than(original)))
    }
}

/// A [`LoadVariant`] that takes longer than a slice.
pub(super) struct LoadVariantJob {
    pub(super) load: LoadVariant,
    pub(super) memory: Arc<Memory>,
}

impl Job for LoadVariantJob {
    type Output = Found;

    fn step(&mut self, slice: &dyn Slice) -> Option<Found> {
        let form = self.load.go_on(slice)?;
        let LoadVariant { entry, coding, .. } = &self.load;
        self.memory.keep_form(entry, *coding, form);
        Some(Found::File(Arc::clone(entry)))
    }
}
