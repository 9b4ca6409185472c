//! The global keys of the configuration: the name, range, unit and field of each.

use std::num::NonZeroU32;

use super::kinds::{
    AcceptedValues, Key, Reason, Refusals, boolean, int, toml_list, toml_string, words,
};
use super::site_keys::SITE_KEYS;
use super::value::{Value, ValueData};
use crate::config::advertised::TIMEOUT_MAX_SECS;
use crate::config::pattern::flaw_of_path;
use crate::config::settings::WORKERS_MAX;
use crate::config::{
    ADVERTISED_MAX, AccessLogFormat, AccessLogTarget, Config, IdleClose, ListenAddress, Proxy,
    SandboxMode, SocketMode,
};

/// The most event loops.
const EVENT_LOOPS_MAX: u64 = 256;

const SECS_MAX: u64 = ADVERTISED_MAX as u64;
const GRACE_MAX: u64 = SECS_MAX - 1;
const DAY_SECS: u64 = 86_400;
/// Seconds, longer than any round trip.
const HANDSHAKES_MAX: u64 = 60;
const CONNECTIONS_MAX: u64 = 1 << 24;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// A key for the name of a user or group. Whether there is one depends on the machine, and is checked later.
macro_rules! account {
    ($name:literal, $field:ident) => {
        Key {
            name: $name,
            accepted: AcceptedValues::Other("a name or number in quotes, or \"\" for none"),
            read: |config| toml_string(config.$field.as_deref().unwrap_or_default()),
            write: |config, value| {
                let name = value.parsed(|name| Ok::<_, &str>(name.to_owned()))?;
                config.$field = Some(name).filter(|name| !name.is_empty());
                Ok(())
            },
        }
    };
}

/// The table of keys, in the order in which a configuration is printed. The keys of a section are
/// adjacent, and those outside of a section come first, as TOML requires.
pub(super) static KEYS: &[Key<Config>] = &[
    Key {
        name: "listen",
        accepted: AcceptedValues::Other("a list of addresses, as in [\"127.0.0.1:8080\"]"),
        read: |config| toml_list(&config.listen),
        write: |config, value| {
            let addresses = value.list(|_| false)?;
            if addresses.is_empty() {
                return Err(value.refused_because("the list is empty, it must have an address"));
            }
            let repeated = repeated_endpoints(value, &addresses);
            if !repeated.is_empty() {
                return Err(repeated);
            }
            config.listen = addresses;
            Ok(())
        },
    },
    Key {
        name: "socket_mode",
        accepted: AcceptedValues::Other("a string of octal digits, as in \"0660\""),
        read: |config| toml_string(&config.socket_mode.to_string()),
        write: |config, value| {
            config.socket_mode = value.parsed(str::parse::<SocketMode>)?;
            Ok(())
        },
    },
    Key {
        name: "socket_group",
        accepted: AcceptedValues::Other("the name or the number of a group, or \"\" for none"),
        read: |config| {
            let group = config.socket_group.as_ref();
            toml_string(&group.map(ToString::to_string).unwrap_or_default())
        },
        write: |config, value| {
            let group = match &value.data {
                ValueData::Integer(Some(number)) => number.to_string().parse().map(Some),
                ValueData::Text(name) if name.is_empty() => Ok(None),
                ValueData::Text(name) => name.parse().map(Some),
                _ => return Err(value.refused(Reason::WrongType)),
            };
            config.socket_group = group.map_err(|error| value.refused_because(error))?;
            Ok(())
        },
    },
    int! { "workers", 1..=WORKERS_MAX as u64, "threads", workers as usize },
    int! { "event_loops", 1..=EVENT_LOOPS_MAX, "threads", event_loops as usize },
    boolean! { "strict_hosts", strict_hosts },
    Key {
        name: "trusted_proxies",
        accepted: AcceptedValues::Other("a list of addresses and networks, as in [\"10.0.0.0/8\"]"),
        read: |config| toml_list(&config.trusted_proxies),
        write: |config, value| {
            config.trusted_proxies = value.list(|_| true)?;
            Ok(())
        },
    },
    account! { "user", user },
    account! { "group", group },
    words! { "sandbox", sandbox, "\"auto\", \"require\" or \"off\"",
        "auto" => SandboxMode::Auto,
        "require" => SandboxMode::Require,
        "off" => SandboxMode::Off
    },
    int! { "keep_alive.timeout", 1..=TIMEOUT_MAX_SECS, "seconds", keep_alive.timeout_secs as u32 },
    int! { "keep_alive.grace", 1..=GRACE_MAX, "seconds", keep_alive.grace_secs as u32 },
    Key {
        name: "keep_alive.max_requests",
        accepted: AcceptedValues::Range(1..=SECS_MAX, "requests"),
        read: |config| config.keep_alive.max_requests.to_string(),
        write: |config, value| {
            let requests = value.integer(1..=SECS_MAX)? as u32;
            config.keep_alive.max_requests = NonZeroU32::new(requests).unwrap_or(NonZeroU32::MIN);
            Ok(())
        },
    },
    int! { "keep_alive.max_age", 0..=SECS_MAX, "seconds", keep_alive.max_age_secs as u32 },
    words! { "keep_alive.close", keep_alive.close, "\"idle\" or \"pressure\"",
        "idle" => IdleClose::Timeout,
        "pressure" => IdleClose::Pressure
    },
    Key {
        name: "keep_alive.behind",
        accepted: AcceptedValues::Other(
            "\"none\", \"nginx\", \"haproxy\", \"alb\", \"gcp\", \"cloudfront\", \"envoy\", \
             \"traefik\", \"caddy\", \"apache\", \"cloudflared\" or the proxy's idle limit, 1 to \
             2147483617 seconds",
        ),
        read: |config| {
            let proxy = config.keep_alive.behind;
            let limit = proxy.idle_limit_secs().unwrap_or_default();
            proxy.name().map_or(limit.to_string(), toml_string)
        },
        write: |config, value| {
            config.keep_alive.behind = value.choice(match &value.data {
                ValueData::Text(name) => Proxy::named(name),
                ValueData::Integer(Some(secs)) => u32::try_from(*secs)
                    .ok()
                    .filter(|secs| (1..=Proxy::LIMIT_MAX_SECS).contains(&u64::from(*secs)))
                    .map(Proxy::Seconds),
                _ => None,
            })?;
            Ok(())
        },
    },
    boolean! { "keep_alive.http10", keep_alive.http10 },
    // The ranges are the kernel's limits on the three TCP options.
    int! { "tcp_keep_alive.idle", 1..=32_767, "seconds", tcp_keep_alive.idle_secs as u32 },
    int! { "tcp_keep_alive.interval", 1..=32_767, "seconds", tcp_keep_alive.interval_secs as u32 },
    int! { "tcp_keep_alive.count", 1..=127, "probes", tcp_keep_alive.count as u32 },
    int! { "timeouts.handshake", 1..=DAY_SECS, "seconds", timeouts.handshake_secs as u32 },
    int! { "timeouts.head", 1..=DAY_SECS, "seconds", timeouts.head_secs as u32 },
    int! { "timeouts.body", 1..=DAY_SECS, "seconds", timeouts.body_secs as u32 },
    int! { "timeouts.write", 1..=DAY_SECS, "seconds", timeouts.write_secs as u32 },
    int! { "timeouts.linger", 1..=60, "seconds", timeouts.linger_secs as u32 },
    int! { "limits.connections", 0..=CONNECTIONS_MAX, "connections", limits.connections as usize },
    int! { "limits.connections_per_ip", 0..=CONNECTIONS_MAX, "connections",
    limits.connections_per_ip as usize },
    int! { "limits.handshakes", 1..=1_048_576, "handshakes", limits.handshakes as usize },
    int! { "limits.ipv6_prefix", 1..=128, "bits", limits.ipv6_prefix as u8 },
    int! { "limits.target_bytes", 64..=1_048_576, "bytes", limits.target_bytes as usize },
    int! { "limits.head_bytes", 1024..=1_048_576, "bytes", limits.head_bytes as usize },
    int! { "limits.headers", 1..=1000, "field lines", limits.headers as usize },
    int! { "limits.body_bytes", 0..=TIB, "bytes", limits.body_bytes as u64 },
    int! { "limits.min_rate", 0..=GIB, "bytes per second", limits.min_rate as u32 },
    int! { "cache.bytes", 0..=TIB, "bytes", cache.bytes as u64 },
    int! { "cache.file_bytes", 0..=TIB, "bytes", cache.file_bytes as u64 },
    int! { "cache.hash_bytes", 0..=TIB, "bytes", cache.hash_bytes as u64 },
    int! { "cache.revalidate", 0..=3600, "seconds", cache.revalidate_secs as u32 },
    int! { "shutdown.accept_for", 0..=SECS_MAX, "seconds", shutdown.accept_for_secs as u32 },
    int! { "shutdown.handshakes", 0..=HANDSHAKES_MAX, "seconds", shutdown.handshakes_secs as u32 },
    int! { "shutdown.drain", 0..=SECS_MAX, "seconds", shutdown.drain_secs as u32 },
    Key {
        name: "shutdown.health",
        accepted: AcceptedValues::Other("a path, as in \"/health\", or \"\" for none"),
        read: |config| toml_string(config.shutdown.health.as_deref().unwrap_or_default()),
        write: |config, value| {
            config.shutdown.health = value.parsed(|path| match (path, flaw_of_path(path)) {
                ("", _) => Ok(None),
                (_, None) => Ok(Some(path.to_owned())),
                (_, Some(flaw)) => Err(format!("{path:?} is no path, {flaw}")),
            })?;
            Ok(())
        },
    },
    Key {
        name: "access_log.path",
        accepted: AcceptedValues::Other(
            "the path of a file, \"-\" for standard output, or \"\" for none",
        ),
        read: |config| match &config.access_log.target {
            None => toml_string(""),
            Some(AccessLogTarget::Stdout) => toml_string("-"),
            Some(AccessLogTarget::File(path)) => toml_string(&path.to_string_lossy()),
        },
        write: |config, value| {
            config.access_log.target = value.parsed(|path| match path {
                "" => Ok::<_, &str>(None),
                "-" => Ok(Some(AccessLogTarget::Stdout)),
                path => Ok(Some(AccessLogTarget::File(path.into()))),
            })?;
            Ok(())
        },
    },
    words! { "access_log.format", access_log.format,
        "\"common\", \"combined\", \"extended\" or \"json\"",
        "common" => AccessLogFormat::Common,
        "combined" => AccessLogFormat::Combined,
        "extended" => AccessLogFormat::Extended,
        "json" => AccessLogFormat::Json
    },
    boolean! { "access_log.host", access_log.host },
    Key {
        name: "admin.listen",
        accepted: AcceptedValues::Other("an address, as in \"127.0.0.1:9080\", or \"\" for none"),
        read: |config| {
            let address = config.admin.listen.as_ref();
            toml_string(&address.map(ToString::to_string).unwrap_or_default())
        },
        write: |config, value| {
            config.admin.listen = value.parsed(|address| match address {
                "" => Ok(None),
                address => address.parse::<ListenAddress>().map(Some),
            })?;
            Ok(())
        },
    },
    boolean! { "admin.public", admin.public },
    boolean! { "admin.clients", admin.clients },
];

/// Refuses the addresses whose socket an earlier one has. `value` is the list of the `addresses`.
fn repeated_endpoints<'v>(value: &'v Value<'v>, addresses: &[ListenAddress]) -> Refusals<'v> {
    let items = value.one_or_list().iter().zip(addresses).enumerate();
    let refusals = items.filter_map(|(index, (item, address))| {
        let is_same = |earlier: &&ListenAddress| earlier.endpoint == address.endpoint;
        let mut earlier = addresses[..index]
            .iter()
            .filter(|_| address.endpoint.is_exclusive());
        let earlier = earlier.find(is_same)?;
        Some(item.refused_because(if earlier == address {
            format!("{address} is listed twice")
        } else {
            format!("{address} is the same socket as {earlier}, which speaks something else")
        }))
    });
    refusals.flatten().collect()
}

impl Config {
    /// The names of all keys, sections dotted, in the order of the tables: `keep_alive.timeout`.
    /// The keys of the default site come first.
    pub fn key_names() -> impl Iterator<Item = &'static str> {
        names()
    }
}

/// The key with this dotted name.
pub(super) fn named(name: &str) -> Option<&'static Key<Config>> {
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

/// Whether there is a section with this name.
pub(super) fn is_section(name: &str) -> bool {
    sections().any(|section| section == name)
}

/// The dotted names of all keys. The keys of the default site come first.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let of_site = SITE_KEYS.iter().map(|key| key.name);
    of_site.chain(KEYS.iter().map(|key| key.name))
}

#[cfg(test)]
mod tests {
    use super::super::validation_errors::ValueSource;
    use super::*;

    #[test]
    fn every_range_fits_its_field_and_holds_the_default() {
        for key in KEYS {
            let AcceptedValues::Range(range, _) = &key.accepted else {
                continue;
            };
            let mut config = Config::default();
            let default = (key.read)(&config).parse().unwrap();
            assert!(range.contains(&default), "{}", key.name);
            for number in [*range.start(), *range.end()] {
                let value = Value {
                    data: ValueData::Integer(Some(number.into())),
                    raw: "",
                    source: ValueSource::Default,
                };
                assert!((key.write)(&mut config, &value).is_ok(), "{}", key.name);
                assert_eq!((key.read)(&config), number.to_string(), "{}", key.name);
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
}
