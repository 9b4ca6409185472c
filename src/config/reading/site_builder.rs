//! The settings of one site under construction.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::builder::Builder;
use super::kinds::Key;
use super::page::SPA;
use super::validation_errors::{ValidationErrors, ValueSource};
use super::value::Value;
use crate::config::{HeaderRule, Redirect, SiteConfig};

/// The field that the key `cors` sets.
const CORS_FIELD: &str = "Access-Control-Allow-Origin";

/// The keys of the two files for TLS.
pub(super) const CERTIFICATE: &str = "certificate";
pub(super) const KEY: &str = "key";
pub(super) const CERTIFICATE_KEYS: [&str; 2] = [CERTIFICATE, KEY];

/// One site: the default one, or that of a host.
pub(super) struct SiteBuilder {
    /// All settings except the header rules and redirects.
    pub builder: Builder<SiteConfig>,
    /// The header rules, each with its place.
    pub headers: Vec<(HeaderRule, ValueSource)>,
    /// The redirects, each with its place.
    pub redirects: Vec<(Redirect, ValueSource)>,
    /// Whether a redirect, or an inherited setting that affects redirects, is invalid.
    pub has_invalid_redirect: bool,
    /// Whether `spa` is a string for this site. Then the site inherits no applications.
    has_spa_text: bool,
}

impl SiteBuilder {
    /// A site of defaults.
    pub fn new() -> SiteBuilder {
        SiteBuilder {
            builder: Builder::new(SiteConfig::default(), ""),
            headers: Vec::new(),
            redirects: Vec::new(),
            has_invalid_redirect: false,
            has_spa_text: false,
        }
    }

    /// A host that inherits the settings of `general`, except the rules and applications that come after
    /// its own, and the certificate, which [`inherit_certificate`](SiteBuilder::inherit_certificate) adds.
    pub fn inheriting(general: &SiteBuilder) -> SiteBuilder {
        let settings = SiteConfig {
            rewrites: Vec::new(),
            spa: Vec::new(),
            certificate: None,
            key: None,
            ..general.builder.settings.clone()
        };
        let own = ["root", CERTIFICATE, KEY];
        SiteBuilder {
            builder: general.builder.inherit(settings, "host.", &own),
            headers: general.headers.clone(),
            has_invalid_redirect: !general.redirects_are_known(),
            ..SiteBuilder::new()
        }
    }

    /// Appends the rules and applications of `general` to those of the host.
    pub fn append_inherited(&mut self, general: &SiteBuilder) {
        let (own, rules) = (&mut self.builder.settings, &general.builder.settings);
        own.rewrites.extend_from_slice(&rules.rewrites);
        if !self.has_spa_text {
            own.spa.extend_from_slice(&rules.spa);
        }
        self.redirects.extend_from_slice(&general.redirects);
    }

    /// Sets one key.
    pub fn set(&mut self, key: &'static Key<SiteConfig>, value: &Value<'_>) {
        self.builder.set(key, value);
        self.has_spa_text |= key.name == SPA;
    }

    /// Checks that the root is a readable directory.
    pub fn check_root(&mut self) {
        if self.builder.is_invalid("root") {
            return;
        }
        if let Err(error) = fs::read_dir(&self.builder.settings.root) {
            let hint = match self.builder.source("root") {
                ValueSource::Default => "; name another directory, as in `abide DIRECTORY`",
                _ => "",
            };
            let root = self.builder.settings.root.display();
            let message = format!("{root} cannot be served: {error}{hint}");
            self.builder.report("root", message);
        }
    }

    /// Takes over the certificate and key of the default site, unless the host has a certificate or a key of its
    /// own, as far as they are not empty. A certificate is of no use with the key of another one.
    pub fn inherit_certificate(&mut self, general: &SiteConfig) {
        let own = &self.builder.settings;
        let has_own = own.certificate.is_some() || own.key.is_some();
        let is_wrong = self.builder.is_invalid(CERTIFICATE) || self.builder.is_invalid(KEY);
        if let (Some(certificate), Some(key), false) =
            (&general.certificate, &general.key, has_own || is_wrong)
        {
            let own = &mut self.builder.settings;
            own.certificate = Some(certificate.clone());
            own.key = Some(key.clone());
        }
    }

    /// Checks that the site's own certificate and key are readable files.
    pub fn check_certificate_files(&mut self) {
        let SiteConfig {
            certificate, key, ..
        } = &self.builder.settings;
        let files = [(CERTIFICATE, certificate.clone()), (KEY, key.clone())];
        for (name, file) in files {
            if let Some(file) = file.filter(|_| !self.builder.is_invalid(name))
                && let Err(error) = open_regular(&file)
            {
                let message = format!("{} cannot be read: {error}", file.display());
                self.builder.report(name, message);
            }
        }
    }

    /// Whether all settings that affect redirects are valid.
    fn redirects_are_known(&self) -> bool {
        let is_invalid = |name: &&str| self.builder.is_invalid(name);
        let keys = ["index", "clean_urls", "hidden"];
        !(self.has_invalid_redirect || keys.iter().any(is_invalid))
    }

    /// Checks the rules between keys, and returns the settings.
    pub fn finish(mut self, errors: &mut ValidationErrors) -> SiteConfig {
        self.check_cors();
        self.check_certificate();
        let redirects_are_known = self.redirects_are_known();
        let (redirects, sources): (Vec<_>, Vec<_>) = self.redirects.into_iter().unzip();
        self.builder.settings.headers = self.headers.into_iter().map(|(rule, _)| rule).collect();
        self.builder.settings.redirects = redirects;
        let Builder { settings, .. } = &self.builder;
        if redirects_are_known
            && let Some(at) = settings.redirect_graph().find_loop()
            && let (Some(rule), Some(source)) = (settings.redirects.get(at), sources.get(at))
            && let Some(to) = &rule.to
        {
            let message = format!(
                "the redirect from {} to {to} leads back to itself, so a client would be redirected \
                 without end",
                rule.from
            );
            errors.push(source.error(self.builder.label("redirect"), message));
        }
        errors.append(self.builder.errors);
        self.builder.settings
    }

    /// Refuses a certificate without a key, and a key without a certificate.
    fn check_certificate(&mut self) {
        let SiteConfig {
            certificate, key, ..
        } = &self.builder.settings;
        let (name, missing) = match (certificate, key) {
            (Some(_), None) => (CERTIFICATE, KEY),
            (None, Some(_)) => (KEY, CERTIFICATE),
            _ => return,
        };
        if !self.builder.is_invalid(CERTIFICATE) && !self.builder.is_invalid(KEY) {
            let message = format!("it is of no use without {missing}, set both or neither");
            self.builder.report(name, message);
        }
    }

    /// Refuses a header rule that changes the field of `cors`, because browsers reject a field with two values.
    fn check_cors(&mut self) {
        if self.builder.settings.cors.is_empty() {
            return;
        }
        for (rule, source) in &self.headers {
            let set = rule.set.iter().map(|(name, _)| name);
            let mut names = set.chain(&rule.unset);
            if !names.any(|name| name.as_str().eq_ignore_ascii_case(CORS_FIELD)) {
                continue;
            }
            let message = format!(
                "a header rule for {} changes {CORS_FIELD}, which the key cors decides",
                rule.path
            );
            let cors = (self.builder.source("cors"), "cors");
            let (source, name) = cors.max((source, "header"));
            let error = source.error(self.builder.label(name), message);
            self.builder.errors.push(error);
        }
    }
}

/// Opens a file to see whether it can be read. Any other file than a regular one may block its reader.
fn open_regular(file: &Path) -> io::Result<File> {
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    File::open(file)
}
