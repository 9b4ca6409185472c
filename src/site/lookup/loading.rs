//! Loads files and sidecars into cache entries: at once if a slice suffices, else as a [`Job`].

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::absence_log::AbsenceLog;
use super::cached::NEEDS_DISK;
use super::files::absence_of;
use super::opening::Lookup;
use super::sidecar_only::{DecodedSidecar, SidecarDecoder};
use crate::clock::{Millis, Now};
use crate::http::accept_encoding::Coding;
use crate::site::content::{
    Compressibility, EncodedNames, LoadLimits, MIN_COMPRESSED_BYTES, Metadata, OriginalFile,
    Representation, RepresentationLoader, Sidecars, sidecar_path,
};
use crate::site::disk::{Identity, OpenedFile, SearchRoot};
use crate::site::memory::{
    Absence, EncodedVariants, FileEntry, Freshness, KeptSitePath, LookupResult, Memory,
    NegativeEntry, OriginalState, SitePath,
};
use crate::site::rules::CodingPolicy;
use crate::site::waiting::{Job, Slice};

/// The load of a file into a [`FileEntry`].
#[derive(Debug)]
pub(super) struct FileLoad {
    loading: RepresentationLoader,
    key: KeptSitePath,
    name: Vec<u8>,
    pub(super) sidecars: Option<Sidecars>,
    /// Set if the file itself does not exist, and a sidecar is loaded instead.
    pub(super) decoder: Option<Box<SidecarDecoder>>,
    /// The sizes of files that are compressed. An empty range means none.
    compressible: RangeInclusive<u64>,
    generation: u64,
    begun_at: Millis,
}

/// The file that is loaded.
#[derive(Debug, Clone, Copy)]
struct LoadTarget<'w> {
    search_root: &'w SearchRoot<'w>,
    /// The path under which it is cached.
    key: SitePath<'w>,
    /// The name below the root.
    name: &'w [u8],
    now: Now,
}

impl Lookup {
    /// Opens the file that the path of `key` names, and begins to load it.
    pub(super) fn begin(
        &self,
        search_root: &SearchRoot<'_>,
        key: SitePath<'_>,
        now: Now,
    ) -> Result<FileLoad, Absence> {
        match self.open_file(search_root, key.path) {
            Ok((opened, name)) => {
                let name = &name;
                self.begin_file(
                    LoadTarget {
                        search_root,
                        key,
                        name,
                        now,
                    },
                    opened,
                )
            }
            Err(absence) => self.begin_sidecar_only(search_root, key, absence, now),
        }
    }

    /// Begins to read the `opened` file of `target`, and looks up its sidecars.
    fn begin_file(&self, target: LoadTarget<'_>, opened: OpenedFile) -> Result<FileLoad, Absence> {
        let LoadTarget { key, name, now, .. } = target;
        Lookup::check_load(target.search_root, &opened, now)?;
        let text = String::from_utf8_lossy(name);
        let coding = self.encoded_names.coding(&text);
        let is_plain = coding == Coding::Identity;
        let content_type = if is_plain {
            self.types.of(&text)
        } else {
            EncodedNames::content_type(&text, &self.types)
        };
        let policy = self.coding_policy(key, &content_type);
        let compressibility = policy.compressibility;
        let compressibility = compressibility.unwrap_or_else(|| Compressibility::of(&content_type));
        let is_compressible = is_plain && compressibility == Compressibility::High;
        let most = self.compressed_bytes_max(is_compressible, policy);
        let sidecars = if is_plain {
            self.find_sidecars(target, &opened.identity)
        } else {
            None
        };
        let metadata = Metadata {
            content_type: &content_type,
            coding,
            varies: is_compressible && self.sidecar_verification.is_some()
                || most > 0
                || sidecars.as_ref().is_some_and(Sidecars::has_usable),
            etag: self.etag,
        };
        let loading = self.begin_reading(opened, &metadata, name, now);
        let loading = loading.map_err(absence_of)?;
        let mut load = target.load(loading, most);
        load.sidecars = sidecars;
        Ok(load)
    }

    /// Begins to load the sidecar that answers the path of `key`, which has no file because of `absence`.
    ///
    /// # Errors
    /// `absence` if there is no sidecar either; else the reason why it cannot be read.
    fn begin_sidecar_only(
        &self,
        search_root: &SearchRoot<'_>,
        key: SitePath<'_>,
        absence: Absence,
        now: Now,
    ) -> Result<FileLoad, Absence> {
        let (name, sidecars) = self
            .find_sidecar_only(search_root, key.path, absence, now)
            .ok_or(absence)?;
        if search_root.is_cached_only() {
            // Decoding takes long.
            return Err(NEEDS_DISK);
        }
        let usable = |coding: &Coding| sidecars.usable(*coding).is_some();
        let coding = Coding::COMPRESSED.into_iter().find(usable);
        let coding = coding.ok_or(absence)?;
        let path = &sidecar_path(&name, coding).ok_or(absence)?;
        let opened = search_root.open(path);
        let content_type = self.types.of(&String::from_utf8_lossy(&name));
        let policy = self.coding_policy(key, &content_type);
        let is_compressible = policy
            .compressibility
            .is_none_or(|it| it == Compressibility::High);
        // The decoded content is compressed with the other codings.
        let most = self.compressed_bytes_max(is_compressible, policy);
        let metadata = Metadata {
            content_type: &content_type,
            coding,
            varies: true,
            etag: self.etag,
        };
        let opened = opened.map_err(Absence::Open)?;
        let loading = self.begin_reading(opened, &metadata, path, now);
        let loading = loading.map_err(absence_of)?;
        let target = LoadTarget {
            search_root,
            key,
            name: &name,
            now,
        };
        let mut load = target.load(loading, most);
        load.sidecars = Some(sidecars);
        load.decoder = Some(Box::new(SidecarDecoder::new(
            coding,
            self.decoded_bytes,
            Arc::clone(&self.unused_sidecars),
        )));
        Ok(load)
    }

    /// The size of the largest content that is compressed under `policy`, in bytes; 0 if none is.
    fn compressed_bytes_max(&self, is_compressible: bool, policy: CodingPolicy) -> u64 {
        if is_compressible && !policy.no_transform {
            self.compressible_bytes
        } else {
            0
        }
    }

    /// Looks up the sidecars of the file with this `identity`, if the site uses sidecars.
    fn find_sidecars(&self, target: LoadTarget<'_>, identity: &Identity) -> Option<Sidecars> {
        let verification = self.sidecar_verification?;
        if !self.may_have_sidecars(target.search_root, target.name, target.now) {
            return Sidecars::none_of(target.name);
        }
        let original = OriginalFile {
            path: target.name,
            identity,
            verdicts: self.memory.as_deref().map(|memory| &*memory.verdicts),
        };
        let sidecars = Sidecars::find(target.search_root, original, verification, target.now);
        self.note_sidecar_lookup(target.search_root, target.name, target.now.monotonic);
        for coding in sidecars.iter().flat_map(Sidecars::too_old) {
            let path = sidecar_path(target.name, coding);
            self.unused_sidecars.warn(
                path.as_deref().unwrap_or(target.name),
                "it is older than the file that it lies beside, and their contents are not compared \
                 (without a cache, or above 64 MiB): not sent",
            );
        }
        sidecars
    }

    pub(super) fn begin_reading(
        &self,
        opened: OpenedFile,
        metadata: &Metadata<'_>,
        name: &[u8],
        now: Now,
    ) -> io::Result<RepresentationLoader> {
        let limits = LoadLimits {
            read: self.limits,
            descriptors: &self.descriptors,
        };
        let loading = RepresentationLoader::new(opened, metadata, limits, now)?;
        if loading.is_too_large_to_hash()
            && !self.has_logged_large_file.swap(true, Ordering::Relaxed)
        {
            log::warn!(
                "{}: the file is larger than {} bytes, the most that are hashed if etag = \"content\" or \
                 mtime is a placeholder: it is sent without ETag and Last-Modified (logged once)",
                name.escape_ascii(),
                self.limits.hash_bytes
            );
        }
        Ok(loading)
    }

    /// Opens the sidecar that was seen, and begins to read it. `None` if it cannot be opened.
    pub(super) fn begin_sidecar(
        &self,
        entry: &Arc<FileEntry>,
        coding: Coding,
        now: Now,
    ) -> Option<VariantLoad> {
        entry.sidecars.as_ref()?.usable(coding)?;
        let path = &sidecar_path(&entry.path, coding)?;
        let directory = self.root.directory();
        let opened = self.search_root(&directory).open(path).ok()?;
        let metadata = Metadata {
            content_type: &entry.representation.content_type(),
            coding,
            varies: true,
            etag: self.etag,
        };
        Some(VariantLoad {
            loading: self.begin_reading(opened, &metadata, path, now).ok()?,
            entry: Arc::clone(entry),
            coding,
        })
    }
}

impl LoadTarget<'_> {
    /// The load of this file. Variants are made of content of at most `most` bytes.
    fn load(&self, loading: RepresentationLoader, most: u64) -> FileLoad {
        FileLoad {
            loading,
            key: self.key.keep(),
            name: self.name.to_vec(),
            sidecars: None,
            decoder: None,
            compressible: MIN_COMPRESSED_BYTES as u64..=most,
            generation: self.search_root.directory().generation,
            begun_at: self.now.monotonic,
        }
    }
}

impl FileLoad {
    /// Continues until `slice` is over, which gives `None`, or until the file is loaded.
    pub(super) fn go_on(&mut self, slice: &dyn Slice) -> Option<Result<FileEntry, Absence>> {
        let mut decoder = self.decoder.iter();
        if decoder.any(|decoder| decoder.is_read()) {
            return self.decode(slice);
        }
        match self.loading.go_on(slice) {
            Ok(None) => None,
            Ok(Some(representation)) if representation.is_mixture() => {
                Some(Err(Absence::IsChanging))
            }
            Ok(Some(representation)) => match &mut self.decoder {
                None => Some(Ok(self.entry(representation, OriginalState::Present))),
                Some(decoder) => {
                    decoder.begin(representation);
                    self.decode(slice)
                }
            },
            Err(error) => Some(Err(absence_of(error))),
        }
    }

    /// Continues to decode a sidecar that has been read.
    fn decode(&mut self, slice: &dyn Slice) -> Option<Result<FileEntry, Absence>> {
        let DecodedSidecar {
            representation,
            original,
            coding,
            variant,
        } = match self.decoder.as_mut()?.go_on(&self.name, slice)? {
            Ok(outcome) => outcome,
            Err(absence) => return Some(Err(absence)),
        };
        // The snapshots in the entry reveal a sidecar that has changed since it was seen.
        let entry = self.entry(representation, original);
        if let Some(variants) = &entry.variants {
            variants.fill(coding, || variant);
        }
        Some(Ok(entry))
    }

    /// Builds the entry. To be called once.
    fn entry(&mut self, representation: Representation, original: OriginalState) -> FileEntry {
        let sidecars = self.sidecars.take();
        let may_compress =
            !representation.is_torn && self.compressible.contains(&representation.content.len());
        let variants = EncodedVariants::new(sidecars.as_ref(), may_compress);
        FileEntry {
            representation,
            key: self.key.clone(),
            path: std::mem::take(&mut self.name),
            freshness: self.freshness(),
            sidecars,
            variants: variants.map(Box::new),
            original,
        }
    }

    fn freshness(&self) -> Freshness {
        Freshness::new(self.generation, self.begun_at)
    }
}

/// A [`FileLoad`] that takes longer than a slice.
pub(super) struct FileLoadJob {
    pub(super) load: FileLoad,
    pub(super) memory: Arc<Memory>,
    pub(super) log: Arc<AbsenceLog>,
}

impl Job for FileLoadJob {
    type Output = LookupResult;

    fn step(&mut self, slice: &dyn Slice) -> Option<LookupResult> {
        let loaded = self.load.go_on(slice)?;
        let key = self.load.key.site_path();
        self.log.note(key.path, &loaded);
        let loaded = loaded.map_err(|absence| {
            let negative = NegativeEntry::new(key.path, absence, self.load.freshness());
            Arc::new(negative)
        });
        Some(self.memory.keep(key, loaded))
    }
}

/// The load of a sidecar into the entry of its file.
pub(super) struct VariantLoad {
    loading: RepresentationLoader,
    entry: Arc<FileEntry>,
    coding: Coding,
}

impl VariantLoad {
    /// Continues until `slice` is over, which gives `None`, or until the sidecar is read. Returns the
    /// variant if the sidecar is the one that was seen.
    pub(super) fn go_on(&mut self, slice: &dyn Slice) -> Option<Option<Representation>> {
        let variant = match self.loading.go_on(slice) {
            Ok(loaded) => loaded?,
            Err(_) => return Some(None),
        };
        let sidecars = self.entry.sidecars.as_ref();
        let seen = sidecars.and_then(|sidecars| sidecars.usable(self.coding));
        // If the root has been swapped meanwhile, another file may have that name.
        let is_seen = !variant.is_torn && seen == Some(variant.identity());
        // The sidecar may be older than its file. A client that cached the file before its last change,
        // and validates by time alone, must not get a 304.
        let original = self.entry.representation.last_modified;
        Some(is_seen.then(|| variant.modified_no_earlier_than(original)))
    }
}

/// A [`VariantLoad`] that takes longer than a slice.
pub(super) struct VariantLoadJob {
    pub(super) load: VariantLoad,
    pub(super) memory: Arc<Memory>,
}

impl Job for VariantLoadJob {
    type Output = LookupResult;

    fn step(&mut self, slice: &dyn Slice) -> Option<LookupResult> {
        let variant = self.load.go_on(slice)?;
        let VariantLoad { entry, coding, .. } = &self.load;
        self.memory.keep_variant(entry, *coding, variant);
        Some(LookupResult::File(Arc::clone(entry)))
    }
}
