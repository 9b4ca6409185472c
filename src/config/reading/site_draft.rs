//! The settings of one site in the making.

use std::fs;

use super::draft::Draft;
use super::kinds::Key;
use super::mistakes::{Mistakes, Origin};
use super::page::SPA;
use super::value::Value;
use crate::config::{HeaderRule, Redirect, SiteConfig};

/// The field that `cors` decides.
const CORS_FIELD: &str = "Access-Control-Allow-Origin";

/// One site, the default one or a host's.
pub(super) struct SiteDraft {
    /// All but the rules that follow here.
    pub draft: Draft<SiteConfig>,
    /// With the place of each.
    pub headers: Vec<(HeaderRule, Origin)>,
    /// With the place of each.
    pub redirects: Vec<(Redirect, Origin)>,
    /// Whether something is missing, here or in what is inherited, that decides where redirects lead.
    pub lacks_redirects: bool,
    /// Whether `spa` has been set to a text for this site: nothing comes after that.
    has_spa_text: bool,
}

impl SiteDraft {
    /// The defaults.
    pub fn new() -> SiteDraft {
        SiteDraft {
            draft: Draft::new(SiteConfig::default(), ""),
            headers: Vec::new(),
            redirects: Vec::new(),
            lacks_redirects: false,
            has_spa_text: false,
        }
    }

    /// Begins a host with all that `general` says, but for the rules and applications that come after
    /// its own.
    pub fn inheriting(general: &SiteDraft) -> SiteDraft {
        let settings = SiteConfig {
            rewrites: Vec::new(),
            spa: Vec::new(),
            ..general.draft.settings.clone()
        };
        SiteDraft {
            draft: general.draft.heir(settings, "host.", "root"),
            headers: general.headers.clone(),
            lacks_redirects: !general.knows_trail(),
            ..SiteDraft::new()
        }
    }

    /// Puts the rules and applications of `general` behind the host's own.
    pub fn follow_with(&mut self, general: &SiteDraft) {
        let (own, rules) = (&mut self.draft.settings, &general.draft.settings);
        own.rewrites.extend_from_slice(&rules.rewrites);
        if !self.has_spa_text {
            own.spa.extend_from_slice(&rules.spa);
        }
        self.redirects.extend_from_slice(&general.redirects);
    }

    /// Sets one key.
    pub fn set(&mut self, key: &'static Key<SiteConfig>, value: &Value<'_>) {
        self.draft.set(key, value);
        self.has_spa_text |= key.name == SPA;
    }

    /// Looks whether the root is a directory that can be read.
    pub fn check_root(&mut self) {
        if self.draft.is_wrong("root") {
            return;
        }
        if let Err(error) = fs::read_dir(&self.draft.settings.root) {
            let hint = match self.draft.origin("root") {
                Origin::Default => "; name another directory, as in `abide DIRECTORY`",
                _ => "",
            };
            let root = self.draft.settings.root.display();
            let complaint = format!("{root} cannot be served: {error}{hint}");
            self.draft.blame("root", complaint);
        }
    }

    /// Whether nothing is missing that decides where redirects lead.
    fn knows_trail(&self) -> bool {
        let is_wrong = |name| self.draft.is_wrong(name);
        !(self.lacks_redirects || is_wrong("index") || is_wrong("clean_urls"))
    }

    /// The settings, after a look at the rules between keys.
    pub fn finish(mut self, mistakes: &mut Mistakes) -> SiteConfig {
        self.check_cors();
        let knows_trail = self.knows_trail();
        let (redirects, origins): (Vec<_>, Vec<_>) = self.redirects.into_iter().unzip();
        self.draft.settings.headers = self.headers.into_iter().map(|(rule, _)| rule).collect();
        self.draft.settings.redirects = redirects;
        let Draft { settings, .. } = &self.draft;
        if knows_trail
            && let Some(at) = settings.trail().find_loop()
            && let (Some(rule), Some(origin)) = (settings.redirects.get(at), origins.get(at))
            && let Some(to) = &rule.to
        {
            let complaint = format!(
                "the redirect from {} to {to} leads back to itself, a client would go round in \
                 circles",
                rule.from
            );
            mistakes.push(origin.blame(self.draft.label("redirect"), complaint));
        }
        mistakes.append(self.draft.mistakes);
        self.draft.settings
    }

    /// A rule and `cors` must not both decide who may read an answer: two values are as good as none.
    fn check_cors(&mut self) {
        if self.draft.settings.cors.is_empty() {
            return;
        }
        for (rule, origin) in &self.headers {
            let set = rule.set.iter().map(|(name, _)| name);
            let mut names = set.chain(&rule.unset);
            if !names.any(|name| name.as_str().eq_ignore_ascii_case(CORS_FIELD)) {
                continue;
            }
            let complaint = format!(
                "a header rule for {} changes {CORS_FIELD}, which the key cors decides",
                rule.path
            );
            let cors = (self.draft.origin("cors"), "cors");
            let (origin, name) = cors.max((origin, "header"));
            let mistake = origin.blame(self.draft.label(name), complaint);
            self.draft.mistakes.push(mistake);
        }
    }
}
