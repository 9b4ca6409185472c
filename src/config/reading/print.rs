//! A configuration as a TOML file.

use std::fmt::{Display, Write};

use super::flags::SELF_SIGNED;
use super::keys::KEYS;
use super::kinds::{toml_list, toml_string};
use super::page::SPA;
use super::site_keys::SITE_KEYS;
use crate::config::single_page_apps::as_text;
use crate::config::{Config, FileCoding, HeaderRule, SiteConfig, Statuses};

impl Config {
    /// The configuration as a TOML file. Loading the file gives an equal configuration, if `--self-signed` is
    /// repeated: the file can say that only in a comment.
    ///
    /// Paths that are not UTF-8 cannot be in a TOML file. They are printed with replacement characters.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut writer = TomlWriter::default();
        if self.self_signed {
            writer.text =
                format!("# Needs the option {SELF_SIGNED}, which makes the certificate.\n");
        }
        writer.keys(&self.site);
        let mut section = "";
        for key in KEYS {
            if key.section() != section {
                section = key.section();
                writer.heading(format_args!("[{section}]"));
            }
            writer.line(key.leaf(), (key.read)(self));
        }
        let site = &self.site;
        writer.tables(site, &SiteConfig::default());
        writer.prefix = "host.";
        for host in &self.hosts {
            writer.heading("[[host]]");
            writer.list("name", &host.names);
            writer.keys(&host.site);
            writer.tables(&host.site, site);
        }
        writer.text
    }
}

/// Writes settings as TOML.
#[derive(Default)]
struct TomlWriter {
    text: String,
    /// The prefix of the names of a site's tables: empty, or `host.`.
    prefix: &'static str,
}

impl TomlWriter {
    fn heading(&mut self, heading: impl Display) {
        // Writing to a String cannot fail. The same holds below.
        let _ = writeln!(self.text, "\n{heading}");
    }

    fn rule(&mut self, name: &str) {
        let prefix = self.prefix;
        self.heading(format_args!("[[{prefix}{name}]]"));
    }

    fn line(&mut self, key: impl Display, value: impl Display) {
        let _ = writeln!(self.text, "{key} = {value}");
    }

    fn string(&mut self, key: impl Display, value: impl Display) {
        self.line(key, toml_string(&value.to_string()));
    }

    /// Writes a list, unless it is empty.
    fn list(&mut self, key: &str, items: &[impl Display]) {
        if !items.is_empty() {
            self.line(key, toml_list(items));
        }
    }

    /// Writes the keys of a site.
    fn keys(&mut self, site: &SiteConfig) {
        let has_tables = as_text(&site.spa).is_none();
        for key in SITE_KEYS {
            if key.name != SPA || !has_tables {
                self.line(key.name, (key.read)(site));
            }
        }
    }

    /// Writes the tables of a site, except the rules that it inherits from `general`: reading would add
    /// them a second time.
    fn tables(&mut self, site: &SiteConfig, general: &SiteConfig) {
        let prefix = self.prefix;
        self.heading(format_args!("[{prefix}error_pages]"));
        for (status, path) in &site.error_pages {
            self.string(status, path);
        }
        for status in general.error_pages.keys() {
            if !site.error_pages.contains_key(status) {
                self.string(status, "");
            }
        }
        if !site.types.is_empty() {
            self.heading(format_args!("[{prefix}types]"));
        }
        for (extension, media_type) in &site.types {
            self.string(format_args!("\"{extension}\""), media_type);
        }
        self.heading(format_args!("[{prefix}encodings]"));
        for (extension, coding) in &site.encodings {
            let coding = coding.map_or("", FileCoding::name);
            self.string(format_args!("\"{extension}\""), coding);
        }
        if as_text(&site.spa).is_none() {
            for application in own(site.spa.strip_suffix(&*general.spa), &site.spa) {
                self.rule(SPA);
                self.string("path", &application.path);
                self.string("page", &application.page);
                self.list("except", &application.except);
            }
        }
        for rule in own(site.headers.strip_prefix(&*general.headers), &site.headers) {
            self.header(rule);
        }
        let redirects = site.redirects.strip_suffix(&*general.redirects);
        for rule in own(redirects, &site.redirects) {
            self.rule("redirect");
            self.string("from", &rule.from);
            if let Some(to) = &rule.to {
                self.string("to", to);
            }
            self.line("status", rule.status);
        }
        let rewrites = site.rewrites.strip_suffix(&*general.rewrites);
        for rule in own(rewrites, &site.rewrites) {
            self.rule("rewrite");
            self.string("from", &rule.from);
            self.string("to", &rule.to);
        }
    }

    fn header(&mut self, rule: &HeaderRule) {
        self.rule("header");
        self.string("path", &rule.path);
        match &rule.status {
            Statuses::Unspecified => {}
            Statuses::Any => self.string("status", Statuses::ANY),
            Statuses::Listed(ranges) => self.list("status", ranges),
        }
        self.list("type", &rule.types);
        let set = rule.set.iter();
        let set = set.map(|(name, value)| format!("\"{name}\" = {}", toml_string(value.as_str())));
        let set: Vec<String> = set.collect();
        if !set.is_empty() {
            self.line("set", format_args!("{{ {} }}", set.join(", ")));
        }
        self.list("unset", &rule.unset);
    }
}

/// The rules of a site without the inherited ones, or all of them.
fn own<'r, R>(without_inherited: Option<&'r [R]>, all: &'r [R]) -> &'r [R] {
    without_inherited.unwrap_or(all)
}
