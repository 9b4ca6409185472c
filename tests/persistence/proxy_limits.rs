//! `keep_alive.behind`: T is above the idle limit of the proxy in front, or the server does not start.

use std::fs;

use abide::config::{Config, ConfigError, Proxy};
use support::{Launch, Site};

fn load(text: &str) -> Result<Config, ConfigError> {
    let site = Site::empty();
    let file = site.beside("abide.toml");
    fs::write(&file, text).expect("the configuration file");
    Config::load(&file)
}

fn timeout_secs(text: &str) -> u32 {
    let config = load(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    config.keep_alive.timeout_secs
}

#[test]
fn the_timeout_is_raised_above_the_limit_and_never_lowered() {
    for (behind, expected) in [
        ("\"none\"", 120),
        ("\"nginx\"", 120),
        ("\"haproxy\"", 120),
        ("\"alb\"", 120),
        ("\"gcp\"", 620),
        ("\"cloudfront\"", 120),
        ("\"envoy\"", 3620),
        ("\"traefik\"", 120),
        ("\"caddy\"", 140),
        ("\"apache\"", 120),
        ("\"cloudflared\"", 120),
        ("1", 120),
        ("100", 120),
        ("101", 121),
        ("300", 320),
        ("2147483617", 2_147_483_637),
    ] {
        let text = format!("[keep_alive]\nbehind = {behind}");
        assert_eq!(timeout_secs(&text), expected, "{behind}");
    }
    let config = load("keep_alive.behind = 'gcp'").expect("valid");
    assert_eq!(config.keep_alive.behind, Proxy::Gcp);
    assert_eq!(config.shutdown.drain_secs, 630, "the drain follows");
}

#[test]
fn a_timeout_that_is_set_stays_if_it_is_above_the_limit() {
    assert_eq!(
        timeout_secs("keep_alive = { behind = 'alb', timeout = 61 }"),
        61
    );
    assert_eq!(
        timeout_secs("keep_alive = { timeout = 700, behind = 'gcp' }"),
        700
    );
}

#[test]
fn a_timeout_that_is_not_above_the_limit_is_refused_with_the_reason() {
    for (text, line, key) in [
        ("[keep_alive]\ntimeout = 60\nbehind = 'nginx'", 3, "behind"),
        ("[keep_alive]\nbehind = 'nginx'\ntimeout = 5", 3, "timeout"),
        ("[keep_alive]\nbehind = 600\ntimeout = 120", 3, "timeout"),
    ] {
        let error = load(text).expect_err(text).to_string();
        assert!(
            error.contains(&format!("abide.toml:{line}: keep_alive.{key}: ")),
            "{error}"
        );
        assert!(error.contains("502"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn what_is_no_proxy_and_no_limit_is_refused() {
    for behind in [
        "'squid'",
        "'Nginx'",
        "'60'",
        "0",
        "-1",
        "2147483618",
        "1.5",
        "true",
    ] {
        let error = load(&format!("keep_alive.behind = {behind}")).expect_err(behind);
        let error = error.to_string();
        assert!(
            error.contains("abide.toml:1: keep_alive.behind: "),
            "{error}"
        );
        assert!(error.contains("it must be \"none\", \"nginx\""), "{error}");
    }
}

#[test]
fn the_flag_conflicts_as_the_file_does_and_nothing_is_started() {
    let site = Site::new();
    let ended = Launch::of(site.root())
        .config("keep_alive.behind = 'gcp'\n")
        .args(&["--keep-alive-timeout", "120"])
        .run();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(
        ended.stderr.starts_with("abide: --keep-alive-timeout: "),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("listening"), "{}", ended.stderr);
}

#[test]
fn what_is_advertised_is_above_the_limit() {
    let site = Site::new();
    let server = Launch::of(site.root())
        .config("keep_alive.behind = \"gcp\"\n")
        .start();
    let answer = server.connect().get("/");
    assert_eq!(answer.hint().0, 620);
}
