//! The settings of one site in the making.

use std::fs;

use super::builder::Builder;
use super::kinds::Key;
use super::page::SPA;
use super::validation_errors::{ValidationErrors, ValueSource};
use super::value::Value;
use crate::config::{HeaderRule, Redirect, SiteConfig};

/// The field that `cors` decides.
const CORS_FIELD: &str = "Access-Control-Allow-Origin";

/// One site, the default one or a host's.
pub(super) struct SiteBuilder {
    /// All but the rules that follow here.
    pub builder: Builder<SiteConfig>,
    /// With the place of each.
    pub headers: Vec<(HeaderRule, ValueSource)>,
    /// With the place of each.
    pub redirects: Vec<(Redirect, ValueSource)>,
    /// Whether something is missing, here or in what is inherited, that decides where redirects lead.
    pub has_invalid_redirect: bool,
    /// Whether `spa` has been set to a text for this site: nothing comes after that.
    has_spa_text: bool,
}

impl SiteBuilder {
    /// The defaults.
    pub fn new() -> SiteBuilder {
        SiteBuilder {
            builder: Builder::new(SiteConfig::default(), ""),
            headers: Vec::new(),
            redirects: Vec::new(),
            has_invalid_redirect: false,
            has_spa_text: false,
        }
    }

    /// Begins a host with all that `general` says, but for the rules and applications that come after
    /// its own.
    pub fn inheriting(general: &SiteBuilder) -> SiteBuilder {
        let settings = SiteConfig {
            rewrites: Vec::new(),
            spa: Vec::new(),
            ..general.builder.settings.clone()
        };
        SiteBuilder {
            builder: general.builder.inherit(settings, "host.", "root"),
            headers: general.headers.clone(),
            has_invalid_redirect: !general.redirects_are_known(),
            ..SiteBuilder::new()
        }
    }

    /// Puts the rules and applications of `general` behind the host's own.
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

    /// Looks whether the root is a directory that can be read.
    pub fn check_root(&mut self) {
        if self.builder.is_wrong("root") {
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

    /// Whether nothing is missing that decides where redirects lead.
    fn redirects_are_known(&self) -> bool {
        let is_wrong = |name| self.builder.is_wrong(name);
        !(self.has_invalid_redirect || is_wrong("index") || is_wrong("clean_urls"))
    }

    /// The settings, after a look at the rules between keys.
    pub fn finish(mut self, errors: &mut ValidationErrors) -> SiteConfig {
        self.check_cors();
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
                "the redirect from {} to {to} leads back to itself, a client would go round in \
                 circles",
                rule.from
            );
            errors.push(source.error(self.builder.label("redirect"), message));
        }
        errors.append(self.builder.errors);
        self.builder.settings
    }

    /// A rule and `cors` must not both decide who may read an answer: two values are as good as none.
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
