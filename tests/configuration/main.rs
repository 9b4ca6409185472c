//! The configuration file: its keys, and the messages about a wrong one.
//!
//! `src/config/reading/load.rs` tests the precedence of file and flags, `src/cli.rs` the command line.

mod access_log;
mod admin;
mod admin_clients;
mod certificate_files;
mod command_line;
mod few_rights;
mod listen;
mod mistakes;
mod reload;
mod sandbox;
mod service_manager;
mod sites;
mod sockets;
mod stalled_logs;
mod syntax;
#[cfg(feature = "tls")]
mod tls;
mod unusable_certificates;
mod wrong_rules;
mod wrong_sites;

use std::fs;
use std::path::{Path, PathBuf};

use abide::config::{AccessLogTarget, Config, SandboxMode, SiteConfig};
use tempfile::TempDir;

/// A configuration file, in a directory of its own.
struct ConfigFile {
    directory: TempDir,
}

impl ConfigFile {
    fn new(text: &str) -> ConfigFile {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("abide.toml"), text).unwrap();
        ConfigFile { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("abide.toml")
    }
}

/// The configuration in `text`, or its error without the path of the directory.
fn try_load(text: &str) -> Result<Config, String> {
    let file = ConfigFile::new(text);
    Config::load(&file.path()).map_err(|error| {
        let directory = format!("{}/", file.directory.path().display());
        error.to_string().replace(&directory, "")
    })
}

fn load(text: &str) -> Config {
    try_load(text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

/// The error of a text with one or more mistakes.
fn error(text: &str) -> String {
    match try_load(text) {
        Ok(config) => panic!("accepted: {text}\n{config:?}"),
        Err(error) => error,
    }
}

/// The message about a text with one mistake, without the column at its end, which `mistakes.rs`
/// tests.
fn refusal(text: &str) -> String {
    let error = error(text);
    assert!(!error.contains('\n'), "more than a line: {error}");
    match error.rsplit_once(" (column ") {
        Some((sentence, column)) => {
            assert!(
                column.trim_end_matches(')').parse::<u32>().is_ok(),
                "{error}"
            );
            sentence.to_owned()
        }
        None => panic!("no column: {error}"),
    }
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example")
}

#[test]
fn the_example_is_equal_to_the_defaults() {
    assert_eq!(Config::load(&example()).unwrap(), Config::default());
}

#[test]
fn the_example_has_every_key_in_its_section() {
    let text = fs::read_to_string(example()).unwrap();
    let mut section = "";
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        }
        let line = line.strip_prefix("# ").unwrap_or(line);
        // An indented line is an example. These two tables have keys of the site's choice.
        if line.starts_with(' ') || ["error_pages", "encodings"].contains(&section) {
            continue;
        }
        if let Some((leaf, _)) = line.split_once(" = ") {
            found.push(match section {
                "" => leaf.to_owned(),
                section => format!("{section}.{leaf}"),
            });
        }
    }
    let known: Vec<&str> = Config::key_names().collect();
    assert_eq!(found, known);
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(load(""), Config::default());
    assert_eq!(
        load("\u{feff}# nothing\r\n[keep_alive]\r\n"),
        Config::default()
    );
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let config = Config::default();
    assert_eq!(config.site, SiteConfig::at("www"));
    assert_eq!(config.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(config.workers, num_cpus::get().clamp(1, 1024));
    let text = config.to_toml();
    let sections = r#"
[keep_alive]
timeout = 120
grace = 10
max_requests = 1000
max_age = 3600
close = "idle"
behind = "none"
http10 = true

[tcp_keep_alive]
idle = 60
interval = 10
count = 6

[timeouts]
handshake = 10
head = 20
body = 20
write = 30
linger = 5

[limits]
connections = 0
connections_per_ip = 0
handshakes = 2048
ipv6_prefix = 64
target_bytes = 8192
head_bytes = 32768
headers = 100
body_bytes = 1048576
min_rate = 1024

[cache]
bytes = 268435456
file_bytes = 262144
hash_bytes = 1073741824
revalidate = 1

[shutdown]
accept_for = 0
handshakes = 1
drain = 130
health = ""

[access_log]
path = ""
format = "common"
host = false

[admin]
listen = ""
public = false
clients = false
"#;
    assert!(text.contains(sections), "{text}");
}

#[test]
fn what_is_printed_loads_back_equal() {
    let changed = load(
        r#"
        root = 'a "quoted" \ path'
        listen = ["[::1]:0", "[::1]:0", "unix:/run/abide.sock", "0.0.0.0:80"]
        workers = 7
        user = "www-data"
        group = "4000"
        sandbox = "require"
        keep_alive = { timeout = 5, grace = 1, max_requests = 1, http10 = false, close = "pressure", behind = 4 }
        tcp_keep_alive.idle = 1
        limits.target_bytes = 0x400
        cache.bytes = 0
        shutdown.drain = 0
        admin = { listen = "0.0.0.0:9080", public = true, clients = true }
        "#,
    );
    assert_eq!(changed.site.root, Path::new("a \"quoted\" \\ path"));
    assert_eq!(changed.listen.len(), 4);
    assert_eq!(changed.user.as_deref(), Some("www-data"));
    assert_eq!(changed.group.as_deref(), Some("4000"));
    assert_eq!(changed.sandbox, SandboxMode::Require);
    assert_eq!(changed.limits.target_bytes, 1024);
    for config in [Config::default(), changed] {
        assert_eq!(load(&config.to_toml()), config);
    }
    let mut odd = Config::default();
    for root in [
        "a\nb",
        "\u{7f}\u{1}",
        "'''\"\"\"",
        "caf\u{e9} \u{1f600}",
        " ",
        "\r\n",
    ] {
        odd.site.root = root.into();
        assert_eq!(load(&odd.to_toml()), odd);
    }
}

#[test]
fn the_access_log_of_the_command_line_is_printed_too() {
    for (target, line) in [
        (AccessLogTarget::Stdout, "path = \"-\"\n"),
        (AccessLogTarget::File("a b".into()), "path = \"a b\"\n"),
    ] {
        let mut config = Config::default();
        config.access_log.target = Some(target);
        let text = config.to_toml();
        assert!(text.contains(line), "{text}");
        assert_eq!(load(&text), config);
    }
}

#[test]
fn a_value_out_of_range_is_refused_with_file_line_and_key() {
    assert_eq!(
        refusal("# a comment\n\n[keep_alive]\ntimeout = 0\n"),
        "abide.toml:4: keep_alive.timeout: 0 is out of range, it must be 1 to 2147483637 seconds"
    );
    assert_eq!(
        refusal("[limits]\nmin_rate = -5"),
        "abide.toml:2: limits.min_rate: -5 is out of range, it must be 0 to 1073741824 bytes per \
         second"
    );
    let huge = "9".repeat(60);
    assert!(refusal(&format!("workers = {huge}")).starts_with("abide.toml:1: workers: 9999"));
}

/// Both ends of each range are accepted, and values beyond them are not.
#[test]
fn the_ranges() {
    let ranges: [(&str, i64, i64, &str); 31] = [
        ("hsts", 0, 315_360_000, ""),
        ("workers", 1, 1024, ""),
        ("event_loops", 1, 256, ""),
        ("keep_alive.timeout", 1, 2_147_483_637, ""),
        (
            "keep_alive.grace",
            1,
            2_147_483_646,
            "keep_alive.timeout = 1",
        ),
        ("keep_alive.max_requests", 1, 2_147_483_647, ""),
        ("keep_alive.max_age", 0, 2_147_483_647, ""),
        ("tcp_keep_alive.idle", 1, 32_767, ""),
        ("tcp_keep_alive.interval", 1, 32_767, ""),
        ("tcp_keep_alive.count", 1, 127, ""),
        ("timeouts.handshake", 1, 86_400, ""),
        ("timeouts.head", 1, 86_400, ""),
        ("timeouts.body", 1, 86_400, ""),
        ("timeouts.write", 1, 86_400, ""),
        ("timeouts.linger", 1, 60, ""),
        ("limits.connections", 0, 16_777_216, ""),
        ("limits.connections_per_ip", 0, 16_777_216, ""),
        ("limits.handshakes", 1, 1_048_576, ""),
        ("limits.ipv6_prefix", 1, 128, ""),
        ("limits.target_bytes", 64, 32_768, ""),
        (
            "limits.head_bytes",
            1024,
            1_048_576,
            "limits.target_bytes = 64",
        ),
        ("limits.headers", 1, 1000, ""),
        ("limits.body_bytes", 0, 1 << 40, ""),
        ("limits.min_rate", 0, 1 << 30, ""),
        ("cache.bytes", 0, 1 << 40, "cache.file_bytes = 0"),
        ("cache.file_bytes", 0, 268_435_456, ""),
        ("cache.hash_bytes", 0, 1 << 40, ""),
        ("cache.revalidate", 0, 3600, ""),
        ("shutdown.accept_for", 0, 2_147_483_647, ""),
        ("shutdown.handshakes", 0, 60, ""),
        ("shutdown.drain", 0, 2_147_483_647, ""),
    ];
    for (key, min, max, with) in ranges {
        for value in [min, max] {
            load(&format!("{with}\n{key} = {value}"));
        }
        for value in [min - 1, max + 1, i64::MIN, i64::MAX] {
            let error = refusal(&format!("{with}\n{key} = {value}"));
            assert!(
                error.starts_with(&format!("abide.toml:2: {key}: ")),
                "{error}"
            );
        }
    }
    let default: toml::Table = Config::default().to_toml().parse().unwrap();
    let value = |key: &str| match key.split_once('.') {
        Some((section, leaf)) => default[section][leaf].clone(),
        None => default[key].clone(),
    };
    let takes_a_number = |key: &&str| value(key).is_integer();
    let integers = Config::key_names().filter(takes_a_number);
    assert!(
        integers.eq(ranges.iter().map(|(key, ..)| *key)),
        "a key without its range"
    );
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_file_line_and_key() {
    for (text, expected) in [
        (
            "workers = \"4\"",
            "abide.toml:1: workers: the string \"4\" was given, it must be a whole number, 1 to \
             1024 threads",
        ),
        (
            "\n[timeouts]\nhead = 1.5",
            "abide.toml:3: timeouts.head: the decimal number 1.5 was given, it must be a whole \
             number, 1 to 86400 seconds",
        ),
        (
            "[keep_alive]\nhttp10 = 1",
            "abide.toml:2: keep_alive.http10: the number 1 was given, it must be true or false",
        ),
        (
            "keep_alive.close = 'never'",
            "abide.toml:1: keep_alive.close: 'never' was given, it must be \"idle\" or \"pressure\"",
        ),
        (
            "root = ['www']",
            "abide.toml:1: root: a list was given, it must be a path in quotes",
        ),
        (
            "listen = \"127.0.0.1:80\"",
            "abide.toml:1: listen: the string \"127.0.0.1:80\" was given, it must be a list of \
             addresses, as in [\"127.0.0.1:8080\"]",
        ),
        (
            "listen = [\n  \"127.0.0.1:80\",\n  81,\n]",
            "abide.toml:3: listen: the number 81 was given, it must be a list of addresses, as in \
             [\"127.0.0.1:8080\"]",
        ),
        (
            "[workers]\nn = 4",
            "abide.toml:1: workers: a table was given, it must be a whole number, 1 to 1024 threads",
        ),
        (
            "keep_alive = 120",
            "abide.toml:1: keep_alive: it is a section: write [keep_alive] and its keys on lines \
             below",
        ),
    ] {
        assert_eq!(refusal(text), expected);
    }
}

#[test]
fn an_unknown_key_is_refused_and_the_nearest_one_suggested() {
    for (text, expected) in [
        (
            "[keep_alive]\ntimout = 5",
            "abide.toml:2: keep_alive.timout: there is no such key, did you mean \
             keep_alive.timeout?",
        ),
        (
            "timeout = 5",
            "abide.toml:1: timeout: there is no such key, did you mean keep_alive.timeout?",
        ),
        (
            "[keepalive]\ntimeout = 5",
            "abide.toml:1: keepalive: there is no such section, did you mean [keep_alive]?",
        ),
        (
            "[shutdown]\ncolour = 'red'",
            "abide.toml:2: shutdown.colour: there is no such key, the keys of [shutdown] are \
             accept_for, handshakes, drain, health",
        ),
        (
            "colour = 'red'",
            "abide.toml:1: colour: there is no such key, the keys outside of a section are root, \
             certificate, key, https_redirect, hsts, index, clean_urls, spa, listing, hidden, symlinks, \
             precompressed, compress, default_type, etag, security, cors, listen, socket_mode, \
             socket_group, workers, event_loops, strict_hosts, trusted_proxies, user, group, sandbox",
        ),
        (
            "[tls]\ncertificate = ''",
            "abide.toml:1: tls: there is no such section, the sections are [keep_alive], \
             [tcp_keep_alive], [timeouts], [limits], [cache], [shutdown], [access_log], \
             [admin], [error_pages], [types], [encodings], [[header]], [[redirect]], [[rewrite]], \
             [[spa]], [[host]]",
        ),
        (
            "\"a\\nb\" = 1",
            "abide.toml:1: a\\nb: there is no such key, the keys outside of a section are root, \
             certificate, key, https_redirect, hsts, index, clean_urls, spa, listing, hidden, symlinks, \
             precompressed, compress, default_type, etag, security, cors, listen, socket_mode, \
             socket_group, workers, event_loops, strict_hosts, trusted_proxies, user, group, sandbox",
        ),
    ] {
        assert_eq!(refusal(text), expected);
    }
}

#[test]
fn an_empty_root_is_refused() {
    assert_eq!(
        refusal("root = ''"),
        "abide.toml:1: root: the path is empty, it must name a directory"
    );
}

#[test]
fn keys_that_do_not_go_together_are_refused_at_the_later_one() {
    assert_eq!(
        refusal("[keep_alive]\ngrace = 11\ntimeout = 2147483637"),
        "abide.toml:3: keep_alive.timeout: keep_alive.timeout + keep_alive.grace = 2147483648 is \
         out of range, it must be at most 2147483647 seconds"
    );
    assert_eq!(
        refusal("[limits]\nhead_bytes = 4096"),
        "abide.toml:2: limits.head_bytes: limits.target_bytes = 8192 is more than \
         limits.head_bytes = 4096, but the target is a part of the head"
    );
    assert_eq!(
        refusal("[cache]\nbytes = 1000\nfile_bytes = 1001"),
        "abide.toml:3: cache.file_bytes: cache.file_bytes = 1001 is more than cache.bytes = 1000, \
         but one file must fit"
    );
}

#[test]
fn a_cache_that_is_off_has_no_say_about_file_sizes() {
    assert_eq!(load("cache.bytes = 0").cache.file_bytes, 262_144);
}

#[test]
fn the_drain_follows_timeout_and_grace_unless_it_is_set() {
    assert_eq!(load("").shutdown.drain_secs, 130);
    assert_eq!(load("keep_alive.timeout = 60").shutdown.drain_secs, 70);
    assert_eq!(load("keep_alive.grace = 5").shutdown.drain_secs, 125);
    assert_eq!(
        load("keep_alive.timeout = 60\nshutdown.drain = 130")
            .shutdown
            .drain_secs,
        130
    );
}

#[test]
fn a_drain_shorter_than_the_promise_is_accepted_with_a_warning() {
    assert_eq!(load("").warnings(), Vec::<String>::new());
    assert_eq!(
        load("shutdown.drain = 131").warnings(),
        Vec::<String>::new()
    );
    let warnings = load("shutdown.drain = 129").warnings();
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].starts_with("shutdown.drain: 129 seconds is less than "),
        "{warnings:?}"
    );
}
