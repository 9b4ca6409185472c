//! The keys that each site has for itself: outside of a section for the default site, and again in
//! each `[[host]]`.

use super::kinds::{BadItem, Chosen, Key, Kind, parse_each, toml_string};
use super::media_type::check_media_type;
use super::page::page;
use crate::config::applications::as_text;
use crate::config::{
    Application, CorsOrigin, EtagSource, Precompressed, SiteConfig, SymlinkPolicy,
};

/// A line of the table for a key that is true or false. In braces for the sake of rustfmt.
macro_rules! boolean {
    ($name:literal, $field:ident) => {
        Key {
            name: $name,
            kind: Kind::Boolean {
                read: |site| site.$field,
                write: |site, value| site.$field = value,
            },
        }
    };
}

/// A line of the table for a key that is one of a few words.
macro_rules! words {
    ($name:literal, $field:ident, $expectation:literal, $($word:literal => $value:path),+) => {
        Key {
            name: $name,
            kind: Kind::Choice {
                expectation: $expectation,
                read: |site| match site.$field {
                    $($value => toml_string($word),)+
                },
                write: |site, value| {
                    site.$field = match value {
                        $(Chosen::Word($word) => $value,)+
                        _ => return false,
                    };
                    true
                },
            },
        }
    };
}

/// The table, in the order in which a site is printed.
pub(super) static SITE_KEYS: &[Key<SiteConfig>] = &[
    Key {
        name: "root",
        kind: Kind::Path {
            read: |site| &site.root,
            write: |site, value| site.root = value,
        },
    },
    Key {
        name: "index",
        kind: Kind::List {
            expectation: "a list of file names, as in [\"index.html\"]",
            or_one: true,
            read: |site| site.index.clone(),
            write: |site, names| {
                for (at, name) in names.iter().enumerate() {
                    if let Some(flaw) = flaw_of_index(name) {
                        return Err(BadItem::at(at, format!("{name:?} is no file name, {flaw}")));
                    }
                }
                site.index = parse_each(names, |_| true)?;
                Ok(())
            },
        },
    },
    boolean! { "clean_urls", clean_urls },
    Key {
        name: "spa",
        kind: Kind::Text {
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
        kind: Kind::Choice {
            expectation: "true, false or \"always\"",
            read: |site| match site.precompressed {
                Precompressed::Never => "false".to_owned(),
                Precompressed::Current => "true".to_owned(),
                Precompressed::Always => toml_string("always"),
            },
            write: |site, value| {
                site.precompressed = match value {
                    Chosen::Flag(false) => Precompressed::Never,
                    Chosen::Flag(true) => Precompressed::Current,
                    Chosen::Word("always") => Precompressed::Always,
                    Chosen::Word(_) | Chosen::Number(_) => return false,
                };
                true
            },
        },
    },
    boolean! { "compress", compress },
    Key {
        name: "default_type",
        kind: Kind::Text {
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
        kind: Kind::List {
            expectation: "a list of origins, as in [\"https://app.example\"], or \"*\"",
            or_one: true,
            read: |site| site.cors.iter().map(ToString::to_string).collect(),
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

fn flaw_of_index(name: &str) -> Option<&'static str> {
    if name.contains(['/', '\\']) || name.contains(char::is_control) {
        return Some("it must be a name within the directory");
    }
    matches!(name, "" | "." | "..").then_some("it must name a file")
}
