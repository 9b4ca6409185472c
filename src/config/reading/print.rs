//! A configuration as a TOML file.

use std::fmt::Write;

use super::keys::KEYS;
use super::kinds::{toml_list, toml_string};
use super::site_draft::SPA;
use super::site_keys::SITE_KEYS;
use crate::config::applications::as_text;
use crate::config::{
    Application, Config, FileCoding, HeaderRule, HostConfig, Redirect, Rewrite, SiteConfig,
    Statuses,
};

impl Config {
    /// The configuration as a TOML file that loads back equal.
    ///
    /// What a TOML file cannot hold is lost: paths that are not UTF-8 are printed with replacement
    /// characters.
    #[must_use]
    pub fn to_toml(&self) -> String {
        to_toml(self)
    }
}

/// The whole configuration. Of what a host inherits only the rules are left out: they would be added
/// a second time.
fn to_toml(config: &Config) -> String {
    let mut text = String::new();
    push_keys(&config.site, &mut text);
    let mut section = "";
    for key in KEYS {
        if key.section() != section {
            section = key.section();
            push(&mut text, format_args!("\n[{section}]\n"));
        }
        let (leaf, value) = (key.leaf(), key.toml_value(config));
        push(&mut text, format_args!("{leaf} = {value}\n"));
    }
    let site = &config.site;
    push_maps("", site, &SiteConfig::default(), &mut text);
    if as_text(&site.spa).is_none() {
        push_applications("", &site.spa, &mut text);
    }
    push_rules(
        "",
        &site.headers,
        &site.redirects,
        &site.rewrites,
        &mut text,
    );
    for host in &config.hosts {
        push_host(host, site, &mut text);
    }
    text
}

fn push_host(host: &HostConfig, general: &SiteConfig, text: &mut String) {
    let names = toml_list(host.names.iter().map(ToString::to_string));
    push(text, format_args!("\n[[host]]\nname = {names}\n"));
    let site = &host.site;
    push_keys(site, text);
    push_maps("host.", site, general, text);
    let applications = site.spa.strip_suffix(general.spa.as_slice());
    if as_text(&site.spa).is_none() {
        push_applications("host.", applications.unwrap_or(&site.spa), text);
    }
    let headers = site.headers.strip_prefix(general.headers.as_slice());
    let redirects = site.redirects.strip_suffix(general.redirects.as_slice());
    let rewrites = site.rewrites.strip_suffix(general.rewrites.as_slice());
    push_rules(
        "host.",
        headers.unwrap_or(&site.headers),
        redirects.unwrap_or(&site.redirects),
        rewrites.unwrap_or(&site.rewrites),
        text,
    );
}

fn push_keys(site: &SiteConfig, text: &mut String) {
    let has_tables = as_text(&site.spa).is_none();
    for key in SITE_KEYS {
        if key.name == SPA && has_tables {
            continue;
        }
        push(
            text,
            format_args!("{} = {}\n", key.name, key.toml_value(site)),
        );
    }
}

/// `[error_pages]`, `[types]` and `[encodings]`. `inherited` is what a page can be taken away from.
fn push_maps(prefix: &str, site: &SiteConfig, inherited: &SiteConfig, text: &mut String) {
    push(text, format_args!("\n[{prefix}error_pages]\n"));
    for (status, path) in &site.error_pages {
        push(text, format_args!("{status} = {}\n", toml_string(path)));
    }
    for status in inherited.error_pages.keys() {
        if !site.error_pages.contains_key(status) {
            push(text, format_args!("{status} = \"\"\n"));
        }
    }
    if !site.types.is_empty() {
        push(text, format_args!("\n[{prefix}types]\n"));
    }
    for (extension, media_type) in &site.types {
        let media_type = toml_string(media_type);
        push(text, format_args!("\"{extension}\" = {media_type}\n"));
    }
    push(text, format_args!("\n[{prefix}encodings]\n"));
    for (extension, coding) in &site.encodings {
        let coding = toml_string(coding.map_or("", FileCoding::name));
        push(text, format_args!("\"{extension}\" = {coding}\n"));
    }
}

/// The `[[spa]]` tables.
fn push_applications(prefix: &str, applications: &[Application], text: &mut String) {
    for application in applications {
        let path = toml_string(&application.path.to_string());
        let page = toml_string(&application.page);
        push(
            text,
            format_args!("\n[[{prefix}spa]]\npath = {path}\npage = {page}\n"),
        );
        if !application.except.is_empty() {
            let except = toml_list(application.except.iter().map(ToString::to_string));
            push(text, format_args!("except = {except}\n"));
        }
    }
}

fn push_rules(
    prefix: &str,
    headers: &[HeaderRule],
    redirects: &[Redirect],
    rewrites: &[Rewrite],
    text: &mut String,
) {
    for rule in headers {
        let path = toml_string(&rule.path.to_string());
        push(text, format_args!("\n[[{prefix}header]]\npath = {path}\n"));
        push_scope(rule, text);
        let set: Vec<String> = rule
            .set
            .iter()
            .map(|(name, value)| format!("\"{name}\" = {}", toml_string(value.as_str())))
            .collect();
        if !set.is_empty() {
            push(text, format_args!("set = {{ {} }}\n", set.join(", ")));
        }
        if !rule.unset.is_empty() {
            let names = toml_list(rule.unset.iter().map(ToString::to_string));
            push(text, format_args!("unset = {names}\n"));
        }
    }
    for rule in redirects {
        let from = toml_string(&rule.from.to_string());
        push(
            text,
            format_args!("\n[[{prefix}redirect]]\nfrom = {from}\n"),
        );
        if let Some(to) = &rule.to {
            let to = toml_string(&to.to_string());
            push(text, format_args!("to = {to}\n"));
        }
        push(text, format_args!("status = {}\n", rule.status));
    }
    for rule in rewrites {
        let (from, to) = (rule.from.to_string(), rule.to.to_string());
        push(
            text,
            format_args!(
                "\n[[{prefix}rewrite]]\nfrom = {}\nto = {}\n",
                toml_string(&from),
                toml_string(&to)
            ),
        );
    }
}

/// Which answers a header rule is for, besides their path.
fn push_scope(rule: &HeaderRule, text: &mut String) {
    let status = match &rule.status {
        Statuses::Unsaid => None,
        Statuses::Any => Some(toml_string(Statuses::ANY)),
        Statuses::Listed(ranges) => Some(toml_list(ranges.iter().map(ToString::to_string))),
    };
    if let Some(status) = status {
        push(text, format_args!("status = {status}\n"));
    }
    if !rule.types.is_empty() {
        let types = toml_list(rule.types.iter().map(ToString::to_string));
        push(text, format_args!("type = {types}\n"));
    }
}

fn push(text: &mut String, piece: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(piece);
}
