//! The keys of a site. They stand outside of a section for the default site, and in each `[[host]]` for
//! that host.

use std::fmt;
use std::str::FromStr;

use super::kinds::{AcceptedValues, Key, Reason, boolean, int, toml_list, toml_string, words};
use super::media_type::check_media_type;
use super::page::{SPA, page};
use super::value::ValueData;
use crate::config::single_page_apps::as_text;
use crate::config::{
    CorsOrigin, EtagSource, Precompressed, SinglePageApp, SiteConfig, SymlinkPolicy,
};

/// The message for an empty root.
pub(super) const EMPTY_ROOT: &str = "the path is empty, it must name a directory";

/// Ten years: longer than any client remembers a host without a visit.
const HSTS_MAX_SECS: u64 = 315_360_000;

/// A key for the path of a file, or none.
macro_rules! file {
    ($name:literal, $field:ident) => {
        Key {
            name: $name,
            accepted: AcceptedValues::Other("the path of a PEM file in quotes, or \"\" for none"),
            read: |site| {
                let path = site.$field.as_ref();
                toml_string(&path.map(|path| path.to_string_lossy()).unwrap_or_default())
            },
            write: |site, value| {
                site.$field = value.parsed(|path| match path {
                    "" => Ok::<_, &str>(None),
                    path => Ok(Some(path.into())),
                })?;
                Ok(())
            },
        }
    };
}

/// The table of keys, in the order in which a site is printed.
pub(super) static SITE_KEYS: &[Key<SiteConfig>] = &[
    Key {
        name: "root",
        accepted: AcceptedValues::Other("a path in quotes"),
        read: |site| toml_string(&site.root.to_string_lossy()),
        write: |site, value| {
            site.root = value.parsed(|path| match path {
                "" => Err(EMPTY_ROOT),
                path => Ok(path.into()),
            })?;
            Ok(())
        },
    },
    file! { "certificate", certificate },
    file! { "key", key },
    boolean! { "https_redirect", https_redirect },
    int! { "hsts", 0..=HSTS_MAX_SECS, "seconds", hsts_secs as u32 },
    Key {
        name: "index",
        accepted: AcceptedValues::Other("a list of file names, as in [\"index.html\"]"),
        read: |site| toml_list(&site.index),
        write: |site, value| {
            let names: Vec<IndexName> = value.list_or_one(|_| true)?;
            site.index = names.into_iter().map(|name| name.0).collect();
            Ok(())
        },
    },
    boolean! { "clean_urls", clean_urls },
    Key {
        name: SPA,
        accepted: AcceptedValues::Other(
            "the path of a page, as in \"/index.html\", \"\" for none, or a table for each \
             application, with [[spa]] before its keys",
        ),
        read: |site| toml_string(as_text(&site.spa).unwrap_or_default()),
        write: |site, value| {
            let page = value.parsed(page)?;
            site.spa = page.map(SinglePageApp::everywhere).into_iter().collect();
            Ok(())
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
        accepted: AcceptedValues::Other("true, false or \"always\""),
        read: |site| match site.precompressed {
            Precompressed::Never => "false".to_owned(),
            Precompressed::Current => "true".to_owned(),
            Precompressed::Always => toml_string("always"),
        },
        write: |site, value| {
            site.precompressed = value.choice(match &value.data {
                ValueData::Boolean(false) => Some(Precompressed::Never),
                ValueData::Boolean(true) => Some(Precompressed::Current),
                ValueData::Text(word) if word == "always" => Some(Precompressed::Always),
                _ => None,
            })?;
            Ok(())
        },
    },
    boolean! { "compress", compress },
    Key {
        name: "default_type",
        accepted: AcceptedValues::Other("a media type, as in \"text/plain; charset=utf-8\""),
        read: |site| toml_string(&site.default_type),
        write: |site, value| {
            let checked = |text: &str| check_media_type(text).map(|()| text.to_owned());
            site.default_type = value.parsed(checked)?;
            Ok(())
        },
    },
    words! { "etag", etag, "\"mtime\" or \"content\"",
        "mtime" => EtagSource::Modified,
        "content" => EtagSource::Content
    },
    boolean! { "security", security },
    Key {
        name: "cors",
        accepted: AcceptedValues::Other(
            "a list of origins, as in [\"https://app.example\"], or \"*\"",
        ),
        read: |site| toml_list(&site.cors),
        write: |site, value| {
            let origins = value.list_or_one(|_| true)?;
            if origins.len() > 1 && origins.contains(&CorsOrigin::Any) {
                let message = "* stands for every origin, so it must be alone";
                return Err(value.refused_because(message));
            }
            site.cors = origins;
            Ok(())
        },
    },
];

/// The key with this name.
pub(super) fn named(name: &str) -> Option<&'static Key<SiteConfig>> {
    SITE_KEYS.iter().find(|key| key.name == name)
}

/// The name of an index file, without a slash.
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
