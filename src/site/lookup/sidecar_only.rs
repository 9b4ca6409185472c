//! Files of which only an encoded variant is there: `app.js.br` without `app.js`.
//!
//! `/app.js` is then answered from the variant: as it is to those who can read it, decoded to others. Names
//! that are there themselves come first, all of them, so nothing changes for what is found without this;
//! and only names of types that compress are looked at in this way, so `x.tar` is never made of
//! `x.tar.gz`.
//!
//! The content is decoded once, when the variant is loaded, and kept in memory beside it. If it is too large
//! for that, only those who accept a variant get an answer.

use std::os::fd::AsFd;
use std::sync::Arc;

use bytes::Bytes;

use super::names::Name;
use super::opening::Lookup;
use crate::clock::{Millis, Now};
use crate::http::accept_encoding::Coding;
use crate::http::response::FileSource;
use crate::site::content::{
    Content, Decoding, Redundancy, Representation, Sidecars, Undecodable, sidecar,
};
use crate::site::disk::{Identity, OpenError, PathProbe, RootDirectory};
use crate::site::memory::{Absence, FileEntry, LoggedNames, OriginalState};
use crate::site::waiting::Slice;

/// A variant on its way from being read to being decoded.
#[derive(Debug)]
pub(super) struct SidecarDecoder {
    coding: Coding,
    /// The largest content, in bytes.
    most: u64,
    /// The variants of the site that the log has been told about.
    logged: Arc<LoggedNames>,
    /// Set when the variant has been read.
    read: Option<(Representation, Result<Decoding, Undecodable>)>,
}

/// The result of decoding a variant.
pub(super) struct DecodedSidecar {
    /// The representation for clients that do not accept a variant.
    pub(super) representation: Representation,
    pub(super) original: OriginalState,
    pub(super) coding: Coding,
    /// `None` if it is malformed.
    pub(super) variant: Option<Representation>,
}

impl SidecarDecoder {
    /// A variant in `coding`, whose content is at most `most` bytes. `logged` are the variants that the log has been
    /// told about.
    pub(super) fn new(coding: Coding, most: u64, logged: Arc<LoggedNames>) -> SidecarDecoder {
        SidecarDecoder {
            coding,
            most,
            logged,
            read: None,
        }
    }

    /// Whether the variant has been read, and [`go_on`](SidecarDecoder::go_on) is next.
    pub(super) fn is_read(&self) -> bool {
        self.read.is_some()
    }

    /// Takes the variant, which has been read.
    pub(super) fn begin(&mut self, variant: Representation) {
        let decoding = Decoding::new(self.coding, &variant.content, self.most);
        self.read = Some((variant, decoding));
    }

    /// Decodes until `slice` is over: `None` if that comes first. An outcome comes once.
    ///
    /// # Errors
    /// [`Absence::IsChanging`] if the variant has changed meanwhile.
    pub(super) fn go_on(
        &mut self,
        name: &[u8],
        slice: &dyn Slice,
    ) -> Option<Result<DecodedSidecar, Absence>> {
        let (_, decoding) = self.read.as_mut()?;
        let decoded = match decoding {
            Ok(decoding) => decoding.go_on(slice).transpose()?,
            Err(error) => Err(std::mem::replace(error, Undecodable::TooLarge)),
        };
        let (variant, _) = self.read.take()?;
        if has_changed(&variant) {
            return Some(Err(Absence::IsChanging));
        }
        let coding = self.coding;
        let stand_in = || variant.decoded(coding, Content::Memory(Bytes::new()));
        Some(Ok(match decoded {
            Ok(content) => DecodedSidecar {
                representation: variant.decoded(coding, content),
                original: OriginalState::Decoded,
                coding,
                variant: Some(variant),
            },
            Err(Undecodable::TooLarge) => DecodedSidecar {
                representation: stand_in(),
                original: OriginalState::Missing,
                coding,
                variant: Some(variant),
            },
            Err(Undecodable::Malformed(error)) => {
                let reason = format!(
                    "its form in {} cannot be decoded, and is not sent: {error}",
                    coding.token()
                );
                self.logged.warn(name, &reason);
                DecodedSidecar {
                    representation: stand_in(),
                    original: OriginalState::Missing,
                    coding,
                    variant: None,
                }
            }
        }))
    }
}

/// Whether a path with this `absence` may be answered from a variant.
fn may_be_sidecar_only(absence: Absence) -> bool {
    matches!(
        absence,
        Absence::IsDirectory | Absence::Open(OpenError::NotFound)
    )
}

/// Whether the file of `variant` has changed since the variant was loaded. A variant in memory cannot change.
fn has_changed(variant: &Representation) -> bool {
    let is_current = match &variant.content {
        Content::Descriptor(file, _) => {
            Identity::of(file.at(0).0).is_ok_and(|identity| identity == *variant.identity())
        }
        Content::Memory(_) | Content::MemfdBody(_) => true,
    };
    variant.is_torn || !is_current
}

impl Lookup {
    /// The first name that `path` may stand for of which there are usable variants and no original.
    pub(super) fn find_sidecar_only<'p>(
        &self,
        directory: &RootDirectory,
        path: &'p [u8],
        absence: Absence,
        now: Now,
    ) -> Option<(Name<'p>, Sidecars)> {
        if self.evidence.is_none() || !may_be_sidecar_only(absence) {
            return None;
        }
        let root = directory.fd.as_fd();
        let mut names = self.names(path);
        names.find_map(|name| {
            if !self.has_variants(path, &name) {
                return None;
            }
            let sidecars = Sidecars::look_alone(self.search_root(directory), &name, now)?;
            // A directory of that name comes first.
            let has_only_sidecars =
                sidecars.has_usable() && PathProbe::anywhere(root).identity(&name).is_none();
            has_only_sidecars.then_some((name, sidecars))
        })
    }

    /// Whether variants are all that there is of `path`.
    pub(super) fn has_only_sidecars(
        &self,
        directory: &RootDirectory,
        path: &[u8],
        absence: Absence,
    ) -> bool {
        // How old the variants are does not matter, as the snapshots are not kept.
        let now = Now {
            monotonic: Millis(0),
            unix_secs: 0,
        };
        self.find_sidecar_only(directory, path, absence, now)
            .is_some()
    }

    /// The names of the variants that `path` may stand for if there is no file because of `absence`.
    pub(super) fn sidecar_only_names(
        &self,
        path: &[u8],
        absence: Absence,
    ) -> impl Iterator<Item = Vec<u8>> {
        let names = self
            .names(path)
            .filter(move |_| may_be_sidecar_only(absence));
        names.flat_map(move |name| self.variants_of(path, &name))
    }

    /// Whether the path of an entry without an original still stands for the same variants.
    pub(super) fn is_same_sidecar_only(&self, entry: &FileEntry, probe: &PathProbe<'_>) -> bool {
        let path = entry.key.site_path().path;
        let mut better = self.names(path).take_while(|name| **name != *entry.path);
        let sidecars = entry.sidecars.as_ref();
        sidecars.is_some_and(|seen| seen.are_current(probe))
            && probe.identity(&entry.path).is_none()
            && !self.names(path).any(|name| probe.is_file(&name))
            && !better.any(|name| {
                self.variants_of(path, &name)
                    .any(|variant| probe.is_file(&variant))
            })
    }

    fn variants_of(&self, path: &[u8], name: &[u8]) -> impl Iterator<Item = Vec<u8>> + use<> {
        let has_variants = self.evidence.is_some() && self.has_variants(path, name);
        let variants =
            Coding::COMPRESSED.map(|coding| sidecar(name, coding).filter(|_| has_variants));
        variants.into_iter().flatten()
    }

    /// Whether a file of that name, which `path` stands for, is of a type that compresses, its own or one
    /// that a rule sets, and does not carry a coding itself.
    fn has_variants(&self, path: &[u8], name: &[u8]) -> bool {
        let name = &String::from_utf8_lossy(name);
        let own_type = self.types.of(name);
        let rules = self.coding_rules.as_ref();
        let by_rule = rules.and_then(|rules| rules.policy(path, &own_type, false).redundancy);
        by_rule.unwrap_or_else(|| Redundancy::of(&own_type)) == Redundancy::Much
            && self.encoded_names.coding(name) == Coding::Identity
    }
}
