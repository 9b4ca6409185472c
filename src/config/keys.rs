//! Every key of the configuration, once: its name, range and unit, and the field it stands for.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use super::{ADVERTISED_MAX, Config, IdleClose, ListenAddress, Proxy};

/// Most worker threads.
pub(super) const WORKERS_MAX: usize = 1024;

/// Most event loops.
const EVENT_LOOPS_MAX: u64 = 256;

/// Default of `keep_alive.grace`, in seconds. The longest timeout leaves room for it.
pub(super) const GRACE_DEFAULT_SECS: u32 = 10;

const SECS_MAX: u64 = ADVERTISED_MAX as u64;
/// The longest T, in seconds.
pub(super) const TIMEOUT_MAX: u64 = SECS_MAX - GRACE_DEFAULT_SECS as u64;
const GRACE_MAX: u64 = SECS_MAX - 1;
const DAY_SECS: u64 = 86_400;
const CONNECTIONS_MAX: u64 = 1 << 24;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// One key.
pub(super) struct Key {
    /// Section and name, dotted: `keep_alive.timeout`. A key of no section has no dot.
    pub name: &'static str,
    /// What kind of value it takes, and how to reach that value in a [`Config`].
    pub kind: Kind,
}

/// The kinds of value.
pub(super) enum Kind {
    /// A whole number of `unit`, `min` to `max` inclusive. `write` is called with a number in that
    /// range only, and the range fits the field, so its cast loses nothing.
    Integer {
        min: u64,
        max: u64,
        unit: &'static str,
        read: fn(&Config) -> u64,
        write: fn(&mut Config, u64),
    },
    /// `true` or `false`.
    Boolean {
        read: fn(&Config) -> bool,
        write: fn(&mut Config, bool),
    },
    /// One of a few words, or a number where the key takes one too. `write` says whether it knows
    /// the value; `read` gives it as TOML writes it.
    Choice {
        expectation: &'static str,
        read: fn(&Config) -> String,
        write: fn(&mut Config, Chosen<'_>) -> bool,
    },
    /// A path, not empty.
    Path {
        read: fn(&Config) -> &Path,
        write: fn(&mut Config, PathBuf),
    },
    /// A list of addresses, not empty.
    Addresses {
        read: fn(&Config) -> &[ListenAddress],
        write: fn(&mut Config, Vec<ListenAddress>),
    },
}

/// A value for a key that takes a choice.
#[derive(Debug, Clone, Copy)]
pub(super) enum Chosen<'a> {
    Word(&'a str),
    /// A whole number; what is out of an `i128`'s range is 0, which no such key takes.
    Number(i128),
}

/// An integer line of the table: name, range, unit and field, with the field's type for the cast.
/// Invoked with braces, which rustfmt leaves alone, so that the table stays a table.
macro_rules! int {
    ($name:literal, $min:literal ..= $max:expr, $unit:literal, $($field:ident).+ as $type:ty) => {
        Key {
            name: $name,
            kind: Kind::Integer {
                min: $min,
                max: $max,
                unit: $unit,
                read: |config| config.$($field).+ as u64,
                write: |config, value| config.$($field).+ = value as $type,
            },
        }
    };
}

/// The table, in the order in which a configuration is printed: a section's keys are together, and
/// the keys of no section come first, as TOML wants it.
pub(super) static KEYS: &[Key] = &[
    Key {
        name: "root",
        kind: Kind::Path {
            read: |config| &config.root,
            write: |config, value| config.root = value,
        },
    },
    Key {
        name: "listen",
        kind: Kind::Addresses {
            read: |config| &config.listen,
            write: |config, value| config.listen = value,
        },
    },
    int! { "workers", 1..=WORKERS_MAX as u64, "threads", workers as usize },
    int! { "event_loops", 1..=EVENT_LOOPS_MAX, "threads", event_loops as usize },
    int! { "keep_alive.timeout", 1..=TIMEOUT_MAX, "seconds", keep_alive.timeout_secs as u32 },
    int! { "keep_alive.grace", 1..=GRACE_MAX, "seconds", keep_alive.grace_secs as u32 },
    Key {
        name: "keep_alive.max_requests",
        kind: Kind::Integer {
            min: 1,
            max: ADVERTISED_MAX as u64,
            unit: "requests",
            read: |config| u64::from(config.keep_alive.max_requests.get()),
            write: |config, value| {
                config.keep_alive.max_requests =
                    NonZeroU32::new(value as u32).unwrap_or(NonZeroU32::MIN);
            },
        },
    },
    int! { "keep_alive.max_age", 0..=SECS_MAX, "seconds", keep_alive.max_age_secs as u32 },
    Key {
        name: "keep_alive.close",
        kind: Kind::Choice {
            expectation: "\"idle\" or \"pressure\"",
            read: |config| match config.keep_alive.close {
                IdleClose::Timeout => toml_string("idle"),
                IdleClose::Pressure => toml_string("pressure"),
            },
            write: |config, value| {
                config.keep_alive.close = match value {
                    Chosen::Word("idle") => IdleClose::Timeout,
                    Chosen::Word("pressure") => IdleClose::Pressure,
                    _ => return false,
                };
                true
            },
        },
    },
    Key {
        name: "keep_alive.behind",
        kind: Kind::Choice {
            expectation: "\"none\", \"nginx\", \"haproxy\", \"alb\", \"gcp\", \"cloudfront\" or \
                          the proxy's idle limit, 1 to 2147483617 seconds",
            read: |config| {
                let proxy = config.keep_alive.behind;
                let limit = proxy.idle_limit_secs().unwrap_or_default();
                proxy.name().map_or(limit.to_string(), toml_string)
            },
            write: |config, value| {
                let proxy = match value {
                    Chosen::Word(name) => Proxy::named(name),
                    Chosen::Number(secs) => u32::try_from(secs)
                        .ok()
                        .filter(|secs| (1..=Proxy::LIMIT_MAX_SECS).contains(&u64::from(*secs)))
                        .map(Proxy::Seconds),
                };
                if let Some(proxy) = proxy {
                    config.keep_alive.behind = proxy;
                }
                proxy.is_some()
            },
        },
    },
    Key {
        name: "keep_alive.http10",
        kind: Kind::Boolean {
            read: |config| config.keep_alive.http10,
            write: |config, value| config.keep_alive.http10 = value,
        },
    },
    // The kernel's own limits on the three TCP options.
    int! { "tcp_keep_alive.idle", 1..=32_767, "seconds", tcp_keep_alive.idle_secs as u32 },
    int! { "tcp_keep_alive.interval", 1..=32_767, "seconds", tcp_keep_alive.interval_secs as u32 },
    int! { "tcp_keep_alive.count", 1..=127, "probes", tcp_keep_alive.count as u32 },
    int! { "timeouts.head", 1..=DAY_SECS, "seconds", timeouts.head_secs as u32 },
    int! { "timeouts.body", 1..=DAY_SECS, "seconds", timeouts.body_secs as u32 },
    int! { "timeouts.write", 1..=DAY_SECS, "seconds", timeouts.write_secs as u32 },
    int! { "timeouts.linger", 1..=60, "seconds", timeouts.linger_secs as u32 },
    int! { "limits.connections", 0..=CONNECTIONS_MAX, "connections", limits.connections as usize },
    int! { "limits.connections_per_ip", 0..=CONNECTIONS_MAX, "connections",
    limits.connections_per_ip as usize },
    int! { "limits.target_bytes", 64..=1_048_576, "bytes", limits.target_bytes as usize },
    int! { "limits.head_bytes", 1024..=1_048_576, "bytes", limits.head_bytes as usize },
    int! { "limits.headers", 1..=1000, "field lines", limits.headers as usize },
    int! { "limits.body_bytes", 0..=TIB, "bytes", limits.body_bytes as u64 },
    int! { "limits.min_rate", 0..=GIB, "bytes per second", limits.min_rate as u32 },
    int! { "cache.bytes", 0..=TIB, "bytes", cache.bytes as u64 },
    int! { "cache.file_bytes", 0..=TIB, "bytes", cache.file_bytes as u64 },
    int! { "cache.revalidate", 0..=3600, "seconds", cache.revalidate_secs as u32 },
    int! { "shutdown.accept_for", 0..=SECS_MAX, "seconds", shutdown.accept_for_secs as u32 },
    int! { "shutdown.drain", 0..=SECS_MAX, "seconds", shutdown.drain_secs as u32 },
];

impl Key {
    /// The section the key is in; empty for a key of none.
    pub fn section(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(section, _)| section)
    }

    /// The name within the section.
    pub fn leaf(&self) -> &'static str {
        self.name
            .split_once('.')
            .map_or(self.name, |(_, leaf)| leaf)
    }

    /// What a value must be, to follow "it must be".
    pub fn expectation(&self) -> String {
        match &self.kind {
            Kind::Integer { min, max, unit, .. } => {
                format!("a whole number, {min} to {max} {unit}")
            }
            Kind::Boolean { .. } => "true or false".to_owned(),
            Kind::Choice { expectation, .. } => (*expectation).to_owned(),
            Kind::Path { .. } => "a path in quotes".to_owned(),
            Kind::Addresses { .. } => "a list of addresses, as in [\"127.0.0.1:8080\"]".to_owned(),
        }
    }

    /// The key's value in `config`, as TOML writes it.
    pub fn toml_value(&self, config: &Config) -> String {
        match &self.kind {
            Kind::Integer { read, .. } => read(config).to_string(),
            Kind::Boolean { read, .. } => read(config).to_string(),
            Kind::Choice { read, .. } => read(config),
            Kind::Path { read, .. } => toml_string(&read(config).to_string_lossy()),
            Kind::Addresses { read, .. } => {
                let quoted: Vec<String> = read(config)
                    .iter()
                    .map(|address| toml_string(&address.to_string()))
                    .collect();
                format!("[{}]", quoted.join(", "))
            }
        }
    }
}

fn toml_string(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// The key of that dotted name.
pub(super) fn named(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The names of the sections, in order.
pub(super) fn sections() -> impl Iterator<Item = &'static str> {
    let mut last = "";
    KEYS.iter().map(Key::section).filter(move |section| {
        let is_new = *section != last;
        last = section;
        is_new
    })
}

/// The key that was probably meant by an unknown one: at most two letters away, or the same name in
/// another section.
pub(super) fn nearest(section: &str, leaf: &str) -> Option<&'static Key> {
    KEYS.iter()
        .map(|key| {
            let elsewhere = usize::from(key.section() != section);
            (edit_distance(key.leaf(), leaf) + elsewhere, key)
        })
        .filter(|(distance, key)| *distance <= 2 && *distance < key.leaf().len().min(leaf.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, key)| key)
}

/// The section that was probably meant by an unknown one: at most two letters away.
pub(super) fn nearest_section(name: &str) -> Option<&'static str> {
    sections()
        .map(|section| (edit_distance(section, name), section))
        .filter(|(distance, _)| *distance <= 2)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, section)| section)
}

/// Letters to insert, remove or replace to turn one text into the other.
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    // row[j] is the distance between what was read of `from` and the first j letters of `to`.
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_fits_its_field_and_holds_the_default() {
        for key in KEYS {
            let Kind::Integer {
                min,
                max,
                read,
                write,
                ..
            } = &key.kind
            else {
                continue;
            };
            let mut config = Config::default();
            assert!((*min..=*max).contains(&read(&config)), "{}", key.name);
            for value in [*min, *max] {
                write(&mut config, value);
                assert_eq!(read(&config), value, "{}", key.name);
            }
        }
    }

    #[test]
    fn sections_are_together_and_come_last() {
        let names: Vec<&str> = sections().collect();
        let mut unique = names.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), names.len(), "{names:?}");
        assert!(!names.contains(&""), "{names:?}");
    }

    #[test]
    fn an_unknown_key_finds_its_neighbour() {
        let meant = |section, leaf| nearest(section, leaf).map(|key| key.name);
        assert_eq!(meant("keep_alive", "timout"), Some("keep_alive.timeout"));
        assert_eq!(
            meant("keep_alive", "max-requests"),
            Some("keep_alive.max_requests")
        );
        assert_eq!(meant("", "timeout"), Some("keep_alive.timeout"));
        assert_eq!(meant("", "worker"), Some("workers"));
        assert_eq!(meant("timeouts", "idle"), Some("tcp_keep_alive.idle"));
        assert_eq!(meant("limits", "colour"), None);
        assert_eq!(nearest_section("keepalive"), Some("keep_alive"));
        assert_eq!(nearest_section("tls"), None);
    }

    #[test]
    fn edit_distance_counts_letters() {
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("abc", ""), 3);
        assert_eq!(edit_distance("timeout", "timeout"), 0);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
    }
}
