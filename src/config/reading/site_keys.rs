//! The keys that each site has for itself: outside of a section for the default site, and again in
//! each `[[host]]`.

use std::fmt;
use std::str::FromStr;

use super::kinds::{BadItem, Key, KeyKind, boolean, parse_each, toml_string, words, written};
use super::media_type::check_media_type;
use super::page::page;
use super::value::Given;
use crate::config::applications::as_text;
use crate::config::{
    Application, CorsOrigin, EtagSource, Precompressed, SiteConfig, SymlinkPolicy,
};

/// The complaint about a root without letters.
pub(super) const EMPTY_ROOT: &str = "the path is empty, it must name a directory";

/// The table, in the order in which a site is printed.
pub(super) static SITE_KEYS: &[Key<SiteConfig>] = &[
    Key {
        name: "root",
        kind: KeyKind::Text {
            expectation: "a path in quotes",
            read: |site| site.root.to_string_lossy().into_owned(),
            write: |site, path| {
                if path.is_empty() {
                    return Err(EMPTY_ROOT.to_owned());
                }
                site.root = path.into();
                Ok(())
            },
        },
    },
    Key {
        name: "index",
        kind: KeyKind::List {
            expectation: "a list of file names, as in [\"index.html\"]",
            or_one: true,
            read: |site| site.index.clone(),
            write: |site, names| {
                let names: Vec<IndexName> = parse_each(names, |_| true)?;
                site.index = names.into_iter().map(|name| name.0).collect();
                Ok(())
            },
        },
    },
    boolean! { "clean_urls", clean_urls },
    Key {
        name: "spa",
        kind: KeyKind::Text {
            expectation: "the path of a page, as in \"/index.html\", \"\" for none, or a table for \
                          each application, with [[spa]] before its keys",
            read: |site| as_text(&site.spa).unwrap_or_default().to_owned(),
            write: |site, path| {
                site.spa = page(path)?
                    .map(Application::everywhere)
                    .into_iter()
                    .collect();
                Ok(())
            },
        },
    },
    boolean! { "listing", listing },
    boolean! { "hidden", hidden },
    words! { "symlinks", symlinks, "\"inside\", \"never\" or \"anywhere\"",
        "inside" => SymlinkPolicy::Inside,
        "never" => SymlinkPolicy::Never,
        "anywhere" => SymlinkPolicy::Anywhere
    },
    Key {
        name: "precompressed",
        kind: KeyKind::Choice {
            expectation: "true, false or \"always\"",
            read: |site| match site.precompressed {
                Precompressed::Never => "false".to_owned(),
                Precompressed::Current => "true".to_owned(),
                Precompressed::Always => toml_string("always"),
            },
            write: |site, value| {
                site.precompressed = match &value.given {
                    Given::Boolean(false) => Precompressed::Never,
                    Given::Boolean(true) => Precompressed::Current,
                    Given::Text(word) if word == "always" => Precompressed::Always,
                    _ => return false,
                };
                true
            },
        },
    },
    boolean! { "compress", compress },
    Key {
        name: "default_type",
        kind: KeyKind::Text {
            expectation: "a media type, as in \"text/plain; charset=utf-8\"",
            read: |site| site.default_type.clone(),
            write: |site, media_type| {
                check_media_type(media_type)?;
                media_type.clone_into(&mut site.default_type);
                Ok(())
            },
        },
    },
    words! { "etag", etag, "\"mtime\" or \"content\"",
        "mtime" => EtagSource::Modified,
        "content" => EtagSource::Content
    },
    boolean! { "security", security },
    Key {
        name: "cors",
        kind: KeyKind::List {
            expectation: "a list of origins, as in [\"https://app.example\"], or \"*\"",
            or_one: true,
            read: |site| written(&site.cors),
            write: |site, origins| {
                let origins = parse_each(origins, |_| true)?;
                if origins.len() > 1 && origins.contains(&CorsOrigin::Any) {
                    return Err(BadItem::whole(
                        "* stands for every origin, so it must be alone",
                    ));
                }
                site.cors = origins;
                Ok(())
            },
        },
    },
];

/// The key of that name.
pub(super) fn named(name: &str) -> Option<&'static Key<SiteConfig>> {
    SITE_KEYS.iter().find(|key| key.name == name)
}

/// A member of `index`.
#[derive(PartialEq)]
struct IndexName(String);

impl FromStr for IndexName {
    type Err = String;

    fn from_str(name: &str) -> Result<IndexName, String> {
        let flaw = if name.contains(['/', '\\']) || name.contains(char::is_control) {
            "it must be a name within the directory"
        } else if matches!(name, "" | "." | "..") {
            "it must name a file"
        } else {
            return Ok(IndexName(name.to_owned()));
        };
        Err(format!("{name:?} is no file name, {flaw}"))
    }
}

impl fmt::Display for IndexName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
