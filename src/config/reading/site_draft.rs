//! The settings of one site in the making, with where each came from.

use std::collections::BTreeMap;
use std::fs;

use super::kinds::{Key, Value};
use super::mistakes::{ConfigError, Origin};
use crate::config::SiteConfig;

/// The key for applications of one page, which can be a text or tables.
pub(super) const SPA: &str = "spa";

/// The field that `cors` decides.
const CORS_FIELD: &str = "Access-Control-Allow-Origin";

/// One site, the default one or a host's.
pub(super) struct SiteDraft {
    pub settings: SiteConfig,
    /// Precedes the names of its keys in errors: empty, or `host.`.
    pub prefix: &'static str,
    /// By the name of the key. What is missing has its default or is inherited.
    origins: BTreeMap<&'static str, Origin>,
    /// One for each of `settings.headers`.
    pub header_origins: Vec<Origin>,
    /// One for each of `settings.redirects`.
    pub redirect_origins: Vec<Origin>,
    /// Whether `spa` has been set to a text for this site: nothing comes after that.
    has_spa_text: bool,
}

impl SiteDraft {
    /// The defaults.
    pub fn new() -> SiteDraft {
        SiteDraft {
            settings: SiteConfig::default(),
            prefix: "",
            origins: BTreeMap::new(),
            header_origins: Vec::new(),
            redirect_origins: Vec::new(),
            has_spa_text: false,
        }
    }

    /// Begins a host with all that `general` says, but for the rules and applications that come after
    /// its own.
    pub fn inheriting(general: &SiteDraft) -> SiteDraft {
        let mut settings = general.settings.clone();
        settings.redirects.clear();
        settings.rewrites.clear();
        settings.spa.clear();
        let mut origins = general.origins.clone();
        origins.remove("root");
        SiteDraft {
            settings,
            prefix: "host.",
            origins,
            header_origins: general.header_origins.clone(),
            redirect_origins: Vec::new(),
            has_spa_text: false,
        }
    }

    /// Puts the rules and applications of `general` behind the host's own.
    pub fn follow_with(&mut self, general: &SiteDraft) {
        let rules = &general.settings;
        self.settings.redirects.extend_from_slice(&rules.redirects);
        self.settings.rewrites.extend_from_slice(&rules.rewrites);
        if !self.has_spa_text {
            self.settings.spa.extend_from_slice(&rules.spa);
        }
        let origins = &general.redirect_origins;
        self.redirect_origins.extend_from_slice(origins);
    }

    /// Sets one key.
    pub fn set(
        &mut self,
        key: &'static Key<SiteConfig>,
        value: &Value<'_>,
    ) -> Result<(), ConfigError> {
        let label = self.label(key.name);
        key.set(&mut self.settings, &label, value)?;
        self.has_spa_text |= key.name == SPA;
        self.remember(key.name, value.origin.clone());
        Ok(())
    }

    /// Notes where the value of the key `name` came from.
    pub fn remember(&mut self, name: &'static str, origin: Origin) {
        self.origins.insert(name, origin);
    }

    /// The name of a key of this site in errors.
    pub fn label(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Whether the key has been set for this site, or inherited.
    pub fn has(&self, name: &str) -> bool {
        self.origins.contains_key(name)
    }

    fn origin(&self, name: &str) -> &Origin {
        self.origins.get(name).unwrap_or(&Origin::Default)
    }

    /// Looks whether the root is a directory that can be read.
    pub fn check_root(&self) -> Result<(), ConfigError> {
        let Err(error) = fs::read_dir(&self.settings.root) else {
            return Ok(());
        };
        let origin = self.origin("root");
        let hint = match origin {
            Origin::Default => "; name another directory, as in `abide DIRECTORY`",
            _ => "",
        };
        let root = self.settings.root.display();
        let complaint = format!("{root} cannot be served: {error}{hint}");
        Err(origin.blame(&self.label("root"), &complaint))
    }

    /// Applies the rules between keys.
    pub fn finish(&self) -> Result<SiteConfig, ConfigError> {
        if let Some(at) = self.settings.trail().find_loop()
            && let (Some(rule), Some(origin)) = (
                self.settings.redirects.get(at),
                self.redirect_origins.get(at),
            )
            && let Some(to) = &rule.to
        {
            let complaint = format!(
                "the redirect from {} to {} leads back to itself, a client would go round in \
                 circles",
                rule.from, to
            );
            return Err(origin.blame(&self.label("redirect"), &complaint));
        }
        self.check_cors()?;
        Ok(self.settings.clone())
    }

    /// A rule and `cors` must not both decide who may read an answer: two values are as good as none.
    fn check_cors(&self) -> Result<(), ConfigError> {
        if self.settings.cors.is_empty() {
            return Ok(());
        }
        for (rule, origin) in self.settings.headers.iter().zip(&self.header_origins) {
            let set = rule.set.iter().map(|(name, _)| name);
            let mut names = set.chain(&rule.unset);
            if !names.any(|name| name.as_str().eq_ignore_ascii_case(CORS_FIELD)) {
                continue;
            }
            let cors = (self.origin("cors"), "cors");
            let (origin, name) = cors.max((origin, "header"));
            let complaint = format!(
                "a header rule for {} changes {CORS_FIELD}, which the key cors decides",
                rule.path
            );
            return Err(origin.blame(&self.label(name), &complaint));
        }
        Ok(())
    }
}
