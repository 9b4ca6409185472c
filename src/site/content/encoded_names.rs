//! Files whose names say that their bytes are in a content coding: `[encodings]`.
//!
//! Such a file has one representation. It is sent with its coding whatever the client accepts, because the
//! client asked for that name. There are no other variants of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::content_coding::is_sidecar_path;
use super::media_types::{Compressibility, MediaTypes};
use crate::config::FileCoding;
use crate::http::accept_encoding::Coding;

/// A compressed archive is sent as it is, without a coding: clients save it and do not show it.
const ARCHIVE: &str = ".tar";

/// A name that is registered together with its coding. Its type does not depend on the rest of the name.
const PICTURE: &str = ".svgz";

/// The extensions that stand for a content coding.
#[derive(Debug)]
pub struct EncodedNames {
    /// By extension, in lower case and without the first dot. `None` means no coding, even if a shorter
    /// extension has one.
    codings: HashMap<String, Option<Coding>>,
    /// The parts of these extensions after their last dots.
    ends: Vec<String>,
}

impl EncodedNames {
    /// The extensions of the configuration.
    #[must_use]
    pub fn new(encodings: &BTreeMap<String, Option<FileCoding>>) -> EncodedNames {
        let coding = |coding: FileCoding| match coding {
            FileCoding::Brotli => Coding::Brotli,
            FileCoding::Zstd => Coding::Zstd,
            FileCoding::Gzip => Coding::Gzip,
        };
        let end = |extension: &str| extension.rsplit('.').next().map(str::to_owned);
        let mut ends: Vec<String> = encodings.keys().filter_map(|key| end(key)).collect();
        ends.sort_unstable();
        ends.dedup();
        let encodings = encodings.iter();
        EncodedNames {
            codings: encodings
                .map(|(extension, given)| (extension.clone(), given.map(coding)))
                .collect(),
            ends,
        }
    }

    /// The coding of the file at the path `name`; identity if the name has no extension with a coding. The
    /// longest extension counts.
    #[must_use]
    pub fn coding(&self, name: &str) -> Coding {
        // Most names end otherwise.
        let (_, end) = name.rsplit_once('.').unwrap_or_default();
        if !self
            .ends
            .iter()
            .any(|known| end.eq_ignore_ascii_case(known))
        {
            return Coding::Identity;
        }
        let name = name.rsplit('/').next().unwrap_or(name);
        let name = name.to_ascii_lowercase();
        let dots = name.match_indices('.').map(|(at, _)| at);
        // A name that begins with its only dot has no extension.
        let mut extensions = dots.filter(|at| *at > 0).map(|at| &name[at + 1..]);
        let given = extensions.find_map(|extension| self.codings.get(extension));
        match given {
            Some(Some(coding)) if !without_last_extension(&name).ends_with(ARCHIVE) => *coding,
            _ => Coding::Identity,
        }
    }

    /// The media type of the encoded file at the path `name`: the type of the name without its last
    /// extension, as `application/wasm` for `x.wasm.gz` and `x.wasm.unityweb`. If that is unknown, as in
    /// `x.svgz`, it is the type of the whole name.
    #[must_use]
    pub fn content_type(name: &str, types: &MediaTypes) -> Arc<str> {
        let lower_case = name.to_ascii_lowercase();
        let inner = without_last_extension(name);
        let own = || {
            let ends_with_coding = is_sidecar_path(lower_case.as_bytes());
            let own = types.known(name).filter(|_| !ends_with_coding);
            // A type that says nothing about the content does not count either.
            own.filter(|own| Compressibility::of(own) != Compressibility::Unknown)
        };
        let is_picture = lower_case.ends_with(PICTURE);
        let known = types.known(inner).filter(|_| !is_picture);
        known.or_else(own).unwrap_or_else(|| types.of(inner))
    }
}

/// `name` up to its last dot.
fn without_last_extension(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(before, _)| before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(encodings: &[(&str, Option<FileCoding>)]) -> EncodedNames {
        let encodings = encodings.iter();
        EncodedNames::new(
            &encodings
                .map(|(extension, coding)| ((*extension).to_owned(), *coding))
                .collect(),
        )
    }

    #[test]
    fn the_longest_extension_counts_whatever_its_case() {
        let names = names(&[
            ("svgz", Some(FileCoding::Gzip)),
            ("br", Some(FileCoding::Brotli)),
            ("wasm.gz", Some(FileCoding::Gzip)),
            ("zip.br", None),
            ("zst", Some(FileCoding::Zstd)),
        ]);
        for (name, expected) in [
            ("a/logo.svgz", Coding::Gzip),
            ("LOGO.SVGZ", Coding::Gzip),
            ("Build/x.data.br", Coding::Brotli),
            ("x.y.wasm.gz", Coding::Gzip),
            ("x.zst", Coding::Zstd),
            ("x.zip.br", Coding::Identity),
            ("x.data.gz", Coding::Identity),
            ("wasm.gz", Coding::Identity),
            (".br", Coding::Identity),
            ("a.br/x", Coding::Identity),
            ("br", Coding::Identity),
        ] {
            assert_eq!(names.coding(name), expected, "{name}");
        }
    }

    #[test]
    fn a_compressed_archive_stays_one() {
        let names = names(&[
            ("gz", Some(FileCoding::Gzip)),
            ("zst", Some(FileCoding::Zstd)),
        ]);
        for name in ["x.tar.gz", "x-1.2.TAR.GZ", "a/x.tar.zst"] {
            assert_eq!(names.coding(name), Coding::Identity, "{name}");
        }
        assert_eq!(names.coding("x.tar.js.gz"), Coding::Gzip);
    }

    #[test]
    fn the_type_is_that_of_the_content() {
        let own = BTreeMap::from([
            ("gz".to_owned(), "application/x-own".to_owned()),
            ("pck".to_owned(), "application/x-godot".to_owned()),
        ]);
        let types = MediaTypes::new(&own, "text/x-default");
        for (name, expected) in [
            ("x.svgz", "image/svg+xml"),
            ("x.wasm.gz", "application/wasm"),
            ("x.WASM.GZ", "application/wasm"),
            ("x.js.br", "text/javascript; charset=utf-8"),
            ("x.data.br", "text/x-default; charset=utf-8"),
            ("x.pck.zst", "application/x-godot"),
            ("x.json.packed", "application/json"),
            ("x.framework.js.unityweb", "text/javascript; charset=utf-8"),
            ("x.wasm.unityweb", "application/wasm"),
            ("x.unityweb", "application/vnd.unity"),
            ("x.com.svgz", "image/svg+xml"),
            ("x.gz", "text/x-default; charset=utf-8"),
        ] {
            assert_eq!(
                &*EncodedNames::content_type(name, &types),
                expected,
                "{name}"
            );
        }
    }
}
