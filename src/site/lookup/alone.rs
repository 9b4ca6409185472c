//! Files of which only an encoded form is there: `app.js.br` without `app.js`.
//!
//! `/app.js` is then answered from the form: as it is to those who can read it, decoded to others. Names
//! that are there themselves come first, all of them, so nothing changes for what is found without this;
//! and only names of types that compress are looked at in this way, so `x.tar` is never made of
//! `x.tar.gz`.
//!
//! The content is decoded once, when the form is loaded, and kept in memory beside it. If it is too large
//! for that, only those who accept a form get an answer.

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
use crate::site::disk::{Identity, Look, OpenError, RootDirectory};
use crate::site::memory::{Absence, FileEntry, LoggedNames, Original};
use crate::site::waiting::Slice;

/// A form on its way from being read to being decoded.
#[derive(Debug)]
pub(super) struct Alone {
    coding: Coding,
    /// The largest content, in bytes.
    most: u64,
    /// The forms of the site that the log has been told about.
    logged: Arc<LoggedNames>,
    /// Set when the form has been read.
    read: Option<(Representation, Result<Decoding, Undecodable>)>,
}

/// The result of decoding a form.
pub(super) struct DecodedAlone {
    /// The representation for clients that do not accept a form.
    pub(super) representation: Representation,
    pub(super) original: Original,
    pub(super) coding: Coding,
    /// `None` if it is malformed.
    pub(super) form: Option<Representation>,
}

impl Alone {
    /// A form in `coding`, whose content is at most `most` bytes. `logged` are the forms that the log has been
    /// told about.
    pub(super) fn new(coding: Coding, most: u64, logged: Arc<LoggedNames>) -> Alone {
        Alone {
            coding,
            most,
            logged,
            read: None,
        }
    }

    /// Whether the form has been read, and [`go_on`](Alone::go_on) is next.
    pub(super) fn is_read(&self) -> bool {
        self.read.is_some()
    }

    /// Takes the form, which has been read.
    pub(super) fn begin(&mut self, form: Representation) {
        let decoding = Decoding::new(self.coding, &form.content, self.most);
        self.read = Some((form, decoding));
    }

    /// Decodes until `slice` is over: `None` if that comes first. An outcome comes once.
    ///
    /// # Errors
    /// [`Absence::IsChanging`] if the form has changed meanwhile.
    pub(super) fn go_on(
        &mut self,
        name: &[u8],
        slice: &dyn Slice,
    ) -> Option<Result<DecodedAlone, Absence>> {
        let (_, decoding) = self.read.as_mut()?;
        let decoded = match decoding {
            Ok(decoding) => decoding.go_on(slice).transpose()?,
            Err(error) => Err(std::mem::replace(error, Undecodable::TooLarge)),
        };
        let (form, _) = self.read.take()?;
        if has_changed(&form) {
            return Some(Err(Absence::IsChanging));
        }
        let coding = self.coding;
        let stand_in = || form.decoded(coding, Content::Memory(Bytes::new()));
        Some(Ok(match decoded {
            Ok(content) => DecodedAlone {
                representation: form.decoded(coding, content),
                original: Original::Decoded,
                coding,
                form: Some(form),
            },
            Err(Undecodable::TooLarge) => DecodedAlone {
                representation: stand_in(),
                original: Original::Missing,
                coding,
                form: Some(form),
            },
            Err(Undecodable::Malformed(error)) => {
                let reason = format!(
                    "its form in {} cannot be decoded, and is not sent: {error}",
                    coding.token()
                );
                self.logged.warn(name, &reason);
                DecodedAlone {
                    representation: stand_in(),
                    original: Original::Missing,
                    coding,
                    form: None,
                }
            }
        }))
    }
}

/// Whether a path with this `absence` may be answered from a form.
fn may_be_alone(absence: Absence) -> bool {
    matches!(
        absence,
        Absence::IsDirectory | Absence::Open(OpenError::NotFound)
    )
}

/// Whether the file of `form` has changed since the form was loaded. A form in memory cannot change.
fn has_changed(form: &Representation) -> bool {
    let is_current = match &form.content {
        Content::Descriptor(file, _) => {
            Identity::of(file.at(0).0).is_ok_and(|identity| identity == *form.identity())
        }
        Content::Memory(_) | Content::MemfdBody(_) => true,
    };
    form.is_torn || !is_current
}

impl Lookup {
    /// The first name that `path` may stand for of which there are usable forms and no original.
    pub(super) fn find_alone<'p>(
        &self,
        directory: &RootDirectory,
        path: &'p [u8],
        absence: Absence,
        now: Now,
    ) -> Option<(Name<'p>, Sidecars)> {
        if self.evidence.is_none() || !may_be_alone(absence) {
            return None;
        }
        let root = directory.fd.as_fd();
        let mut names = self.names(path);
        names.find_map(|name| {
            if !self.has_forms(path, &name) {
                return None;
            }
            let sidecars = Sidecars::look_alone(self.search_root(directory), &name, now)?;
            // A directory of that name comes first.
            let is_alone = sidecars.has_usable() && Look::anywhere(root).identity(&name).is_none();
            is_alone.then_some((name, sidecars))
        })
    }

    /// Whether forms are all that there is of `path`.
    pub(super) fn is_alone(
        &self,
        directory: &RootDirectory,
        path: &[u8],
        absence: Absence,
    ) -> bool {
        // How old the forms are does not matter, as the sightings are not kept.
        let now = Now {
            monotonic: Millis(0),
            unix_secs: 0,
        };
        self.find_alone(directory, path, absence, now).is_some()
    }

    /// The names of the forms that `path` may stand for if there is no file because of `absence`.
    pub(super) fn forms_alone(
        &self,
        path: &[u8],
        absence: Absence,
    ) -> impl Iterator<Item = Vec<u8>> {
        let names = self.names(path).filter(move |_| may_be_alone(absence));
        names.flat_map(move |name| self.forms_of(path, &name))
    }

    /// Whether the path of an entry without an original still stands for the same forms.
    pub(super) fn is_same_alone(&self, entry: &FileEntry, look: &Look<'_>) -> bool {
        let path = entry.key.site_path().path;
        let mut better = self.names(path).take_while(|name| **name != *entry.path);
        let sidecars = entry.sidecars.as_ref();
        sidecars.is_some_and(|seen| seen.are_current(look))
            && look.identity(&entry.path).is_none()
            && !self.names(path).any(|name| look.is_file(&name))
            && !better.any(|name| self.forms_of(path, &name).any(|form| look.is_file(&form)))
    }

    fn forms_of(&self, path: &[u8], name: &[u8]) -> impl Iterator<Item = Vec<u8>> + use<> {
        let has_forms = self.evidence.is_some() && self.has_forms(path, name);
        let forms = Coding::COMPRESSED.map(|coding| sidecar(name, coding).filter(|_| has_forms));
        forms.into_iter().flatten()
    }

    /// Whether a file of that name, which `path` stands for, is of a type that compresses, its own or one
    /// that a rule sets, and does not carry a coding itself.
    fn has_forms(&self, path: &[u8], name: &[u8]) -> bool {
        let name = &String::from_utf8_lossy(name);
        let own_type = self.types.of(name);
        let rules = self.coding_rules.as_ref();
        let by_rule = rules.and_then(|rules| rules.policy(path, &own_type, false).redundancy);
        by_rule.unwrap_or_else(|| Redundancy::of(&own_type)) == Redundancy::Much
            && self.encoded_names.coding(name) == Coding::Identity
    }
}
