//! All rules of one site, prepared once.

use bytes::Bytes;

use super::cors::Cors;
use super::header_rules::{HeaderRules, ResponseProperties};
use super::redirects::{RedirectAnswer, Redirects, Rewrites};
use crate::config::{RedirectGraph, SiteConfig};
use crate::http::scheme::Scheme;

/// The rules of one site.
#[derive(Debug, Default)]
pub struct SiteRules {
    redirects: Redirects,
    rewrites: Rewrites,
    headers: HeaderRules,
    cors: Option<Cors>,
    /// `None` if there are no redirects.
    redirect_graph: Option<RedirectGraph>,
}

impl SiteRules {
    /// The rules of `site`, which the configuration has already checked.
    #[must_use]
    pub fn new(site: &SiteConfig) -> SiteRules {
        let cors = Cors::new(&site.cors);
        SiteRules {
            redirects: Redirects::new(&site.redirects),
            rewrites: Rewrites::new(&site.rewrites),
            headers: HeaderRules::new(site.security, &site.headers, cors.as_ref())
                .with_hsts(site.hsts_secs),
            cors,
            redirect_graph: (!site.redirects.is_empty()).then(|| site.redirect_graph()),
        }
    }

    /// Whether there are no rules. A site without rules pays only for this check.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.redirects.is_empty()
            && self.rewrites.is_empty()
            && self.headers.is_empty()
            && self.cors.is_none()
    }

    /// Whether the fields of any response are edited.
    #[must_use]
    pub fn edits_fields(&self) -> bool {
        !self.headers.is_empty() || self.cors.is_some()
    }

    /// The redirect for the decoded `path` with this `query`. Redirects come before rewrites, and apply to
    /// the requested path.
    #[must_use]
    pub fn redirect(&self, path: &[u8], query: Option<&[u8]>) -> Option<RedirectAnswer> {
        self.redirects.find(path, query)
    }

    /// The paths through which redirects lead a client; `None` if there are no redirects.
    #[must_use]
    pub fn redirect_graph(&self) -> Option<&RedirectGraph> {
        self.redirect_graph.as_ref()
    }

    /// The path to serve instead of the decoded `path`, decoded and normalised too.
    #[must_use]
    pub fn rewrite(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.rewrites.find(path)
    }

    /// Whether a rule depends on the media type of the response.
    #[must_use]
    pub fn depends_on_type(&self) -> bool {
        self.headers.depends_on_type()
    }

    /// Whether the fields of a response depend on the scheme by which the request came.
    #[must_use]
    pub fn depends_on_scheme(&self) -> bool {
        self.headers.depends_on_scheme()
    }

    /// The line that `hsts` adds to a response that is not edited, if the request came by `scheme`.
    #[must_use]
    pub fn hsts_line(&self, scheme: Scheme) -> Option<&[u8]> {
        self.headers.hsts_line(scheme)
    }

    /// The field lines `fields` of an `answer` for `path`, edited by the rules; unchanged if no rule
    /// applies. The result depends only on the path and the response, so callers can cache it.
    #[must_use]
    pub fn edit_fields(
        &self,
        path: &[u8],
        fields: &Bytes,
        answer: &ResponseProperties<'_>,
    ) -> Bytes {
        self.headers.edit(path, fields, answer)
    }

    /// The CORS rules, if other origins may read the responses.
    #[must_use]
    pub fn cors(&self) -> Option<&Cors> {
        self.cors.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::status::Status;

    #[test]
    fn the_defaults_have_no_rules() {
        assert!(SiteRules::new(&SiteConfig::default()).is_empty());
    }

    #[test]
    fn any_setting_that_concerns_rules_is_seen() {
        let secure = SiteConfig {
            security: true,
            ..SiteConfig::default()
        };
        assert!(!SiteRules::new(&secure).is_empty());
        let open = SiteConfig {
            cors: vec!["*".parse().unwrap()],
            ..SiteConfig::default()
        };
        let rules = SiteRules::new(&open);
        assert!(!rules.is_empty() && rules.cors().is_some());
        let answer = ResponseProperties {
            status: Status::OK,
            scheme: Scheme::Http,
            is_fallback: false,
            content_type: None,
        };
        let fields = rules.edit_fields(b"/", &Bytes::new(), &answer);
        assert!(fields.starts_with(b"Access-Control-Allow-Origin: *\r\n"));
    }
}
