//! Files of which only sidecars exist: `app.js.br` without `app.js`.
//!
//! The sidecar then answers `/app.js`: as it is for clients that accept its coding, decoded for others. Every
//! name that a path can stand for is tried as a file first, so existing files are found as before. Only names
//! of media types that compress are tried as sidecars, so `x.tar` is never made of `x.tar.gz`.
//!
//! The content is decoded once, when the sidecar is loaded, and cached with it. If the content is too large
//! for that, only clients that accept the coding get the file.

use std::sync::Arc;

use bytes::Bytes;

use super::opening::Lookup;
use crate::clock::{Millis, Now};
use crate::http::accept_encoding::Coding;
use crate::http::response::FileSource;
use crate::site::content::{
    Compressibility, Content, ContentDecoder, DecodeError, Representation, Sidecars, sidecar_path,
};
use crate::site::disk::{Identity, Name, OpenError, PathProbe, SearchRoot};
use crate::site::memory::{Absence, FileEntry, LoggedNames, OriginalState};
use crate::site::waiting::Slice;

/// The decoding of a sidecar, which is read first.
#[derive(Debug)]
pub(super) struct SidecarDecoder {
    coding: Coding,
    /// The largest content that is decoded, in bytes.
    most: u64,
    /// The sidecars of the site that a warning has been logged for.
    logged: Arc<LoggedNames>,
    /// Set when the sidecar has been read.
    read: Option<(Representation, Result<ContentDecoder, DecodeError>)>,
}

/// The result of decoding a sidecar.
pub(super) struct DecodedSidecar {
    /// The representation for clients that do not accept the coding.
    pub(super) representation: Representation,
    pub(super) original: OriginalState,
    pub(super) coding: Coding,
    /// `None` if the sidecar is malformed.
    pub(super) variant: Option<Representation>,
}

impl SidecarDecoder {
    /// A decoder of a sidecar in `coding`, whose content is at most `most` bytes. `logged` are the
    /// sidecars that a warning has been logged for.
    pub(super) fn new(coding: Coding, most: u64, logged: Arc<LoggedNames>) -> SidecarDecoder {
        SidecarDecoder {
            coding,
            most,
            logged,
            read: None,
        }
    }

    /// Whether the sidecar has been read, so that [`go_on`](SidecarDecoder::go_on) is next.
    pub(super) fn is_read(&self) -> bool {
        self.read.is_some()
    }

    /// Begins to decode `variant`, the sidecar that was read.
    pub(super) fn begin(&mut self, variant: Representation) {
        let decoding = ContentDecoder::new(self.coding, &variant.content, self.most);
        self.read = Some((variant, decoding));
    }

    /// Decodes until `slice` is over, which gives `None`, or until the result is there, which is
    /// returned once.
    ///
    /// # Errors
    /// [`Absence::IsChanging`] if the sidecar has changed meanwhile.
    pub(super) fn go_on(
        &mut self,
        name: &[u8],
        slice: &dyn Slice,
    ) -> Option<Result<DecodedSidecar, Absence>> {
        let (_, decoding) = self.read.as_mut()?;
        let decoded = match decoding {
            Ok(decoding) => decoding.go_on(slice).transpose()?,
            Err(error) => Err(std::mem::replace(error, DecodeError::TooLarge)),
        };
        let (variant, _) = self.read.take()?;
        if has_changed(&variant) {
            return Some(Err(Absence::IsChanging));
        }
        let coding = self.coding;
        let empty = || variant.decoded(coding, Content::Memory(Bytes::new()));
        Some(Ok(match decoded {
            Ok(content) => DecodedSidecar {
                representation: variant.decoded(coding, content),
                original: OriginalState::Decoded,
                coding,
                variant: Some(variant),
            },
            Err(DecodeError::TooLarge) => DecodedSidecar {
                representation: empty(),
                original: OriginalState::Missing,
                coding,
                variant: Some(variant),
            },
            Err(DecodeError::Malformed(error)) => {
                let reason = format!(
                    "its sidecar in {} cannot be decoded, and is not sent: {error}",
                    coding.token()
                );
                self.logged.warn(name, &reason);
                DecodedSidecar {
                    representation: empty(),
                    original: OriginalState::Missing,
                    coding,
                    variant: None,
                }
            }
        }))
    }
}

/// Whether a sidecar may answer a path with this `absence`.
fn may_use_sidecar(absence: Absence) -> bool {
    matches!(
        absence,
        Absence::IsDirectory | Absence::Open(OpenError::NotFound)
    )
}

/// Whether the file of `variant` has changed since it was loaded. A variant in memory cannot change.
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
    /// The first name that `path` can stand for of which only usable sidecars exist.
    pub(super) fn find_sidecar_only<'p>(
        &self,
        search_root: &SearchRoot<'_>,
        path: &'p [u8],
        absence: Absence,
        now: Now,
    ) -> Option<(Name<'p>, Sidecars)> {
        if self.sidecar_verification.is_none() || !may_use_sidecar(absence) {
            return None;
        }
        let mut names = self.names(path);
        names.find_map(|name| {
            if !self.may_have_variants(path, &name) {
                return None;
            }
            let sidecars = Sidecars::find_alone(search_root, &name, now)?;
            // A directory of that name takes precedence.
            let probe = search_root.probe();
            let is_only = sidecars.has_usable() && probe.identity(&name).is_none();
            is_only.then_some((name, sidecars))
        })
    }

    /// Whether only sidecars exist for `path`.
    pub(super) fn has_only_sidecars(
        &self,
        search_root: &SearchRoot<'_>,
        path: &[u8],
        absence: Absence,
    ) -> bool {
        // The age of the sidecars does not matter, as the snapshots are not kept.
        let now = Now {
            monotonic: Millis(0),
            unix_secs: 0,
        };
        self.find_sidecar_only(search_root, path, absence, now)
            .is_some()
    }

    /// The names of the sidecars that could answer `path`, which has no file because of `absence`.
    pub(super) fn sidecar_only_names(
        &self,
        path: &[u8],
        absence: Absence,
    ) -> impl Iterator<Item = Name<'static>> {
        let names = self.names(path).filter(move |_| may_use_sidecar(absence));
        names.flat_map(move |name| self.sidecar_names(path, &name))
    }

    /// Whether the path of an entry without a file still stands for the same sidecars.
    pub(super) fn is_same_sidecar_only(&self, entry: &FileEntry, probe: &PathProbe<'_>) -> bool {
        let path = entry.key.site_path().path;
        let earlier = self.names(path).take_while(|name| **name != *entry.path);
        let mut other_sidecars = earlier.flat_map(|name| self.sidecar_names(path, &name));
        let sidecars = entry.sidecars.as_ref();
        sidecars.is_some_and(|seen| seen.are_current(&entry.path, probe))
            && probe.identity(&entry.path).is_none()
            && !self.names(path).any(|name| probe.is_file(&name))
            && !other_sidecars.any(|name| probe.is_file(&name))
    }

    fn sidecar_names(
        &self,
        path: &[u8],
        name: &[u8],
    ) -> impl Iterator<Item = Name<'static>> + use<> {
        let is_tried = self.sidecar_verification.is_some() && self.may_have_variants(path, name);
        let variants =
            Coding::COMPRESSED.map(|coding| sidecar_path(name, coding).filter(|_| is_tried));
        variants.into_iter().flatten()
    }

    /// Whether the file `name`, which `path` stands for, is of a media type that compresses, by itself
    /// or by a rule, and has no coding itself.
    fn may_have_variants(&self, path: &[u8], name: &[u8]) -> bool {
        let name = &String::from_utf8_lossy(name);
        let own_type = self.types.of(name);
        let rules = self.coding_rules.as_ref();
        let by_rule = rules.and_then(|rules| rules.policy(path, &own_type, false).compressibility);
        by_rule.unwrap_or_else(|| Compressibility::of(&own_type)) == Compressibility::High
            && self.encoded_names.coding(name) == Coding::Identity
    }
}
