//! The effect of header rules on the content coding of a file.
//!
//! - If a rule sets Content-Type, that type decides whether the content is worth compressing.
//! - `Cache-Control: no-transform` forbids intermediaries to change the content (RFC 9110 section 7.7, RFC
//!   9111 section 5.2.2.6), so the server does not compress it on the fly either. A sidecar is still sent,
//!   because the owner of the site made it.
//!
//! Header rules match the requested path, but the cache keeps files by the path that was looked up. Without
//! a rewrite both are the same, and the policy is determined when the file is loaded. If a rewrite or `spa`
//! leads to a file with another policy, the cache keeps the file once for each policy: see
//! [`Lookup::find_for`](crate::site::lookup::Lookup::find_for).

use super::header_rules::{HeaderRules, ResponseProperties};
use crate::config::HeaderRule;
use crate::http::cache_control::has_directive;
use crate::http::scheme::Scheme;
use crate::http::status::Status;
use crate::site::content::Compressibility;

const CONTENT_TYPE: &str = "Content-Type";
const CACHE_CONTROL: &str = "Cache-Control";
const NO_TRANSFORM: &str = "no-transform";

/// The policy of the header rules for the content coding of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CodingPolicy {
    /// The compressibility of the Content-Type that a rule sets; `None` if the type of the file decides.
    pub compressibility: Option<Compressibility>,
    /// Whether the content must not be compressed on the fly.
    pub no_transform: bool,
}

/// The header rules of a site where at least one rule affects a [`CodingPolicy`].
#[derive(Debug)]
pub struct CodingRules(HeaderRules);

impl CodingPolicy {
    /// The count of [numbers](CodingPolicy::number), including 0.
    pub const NUMBERS: u32 = 9;

    /// A number that identifies the policy. It is never 0, which stands for the policy of the file's own
    /// path.
    #[must_use]
    pub fn number(self) -> u32 {
        let compressibility = self
            .compressibility
            .map_or(0, |compressibility| compressibility as u32 + 1);
        1 + 2 * compressibility + u32::from(self.no_transform)
    }

    /// The policy with this number; `None` for 0 and for unused numbers.
    #[must_use]
    pub fn numbered(number: u32) -> Option<CodingPolicy> {
        let among = |compressibility| {
            let policies = [false, true].map(|no_transform| CodingPolicy {
                compressibility,
                no_transform,
            });
            policies.into_iter().find(|it| it.number() == number)
        };
        let mut compressibilities = Compressibility::ALL.into_iter().map(Some);
        among(None).or_else(|| compressibilities.find_map(among))
    }
}

impl CodingRules {
    /// Prepares `rules`; `None` if every path has the default policy.
    #[must_use]
    pub fn new(rules: &[HeaderRule]) -> Option<CodingRules> {
        let mut set = rules.iter().flat_map(|rule| &rule.set);
        let is_any = set.any(|(name, value)| {
            let name = name.as_str();
            name.eq_ignore_ascii_case(CONTENT_TYPE)
                || name.eq_ignore_ascii_case(CACHE_CONTROL)
                    && has_directive(value.as_str().as_bytes(), NO_TRANSFORM)
        });
        is_any.then(|| CodingRules(HeaderRules::new(false, rules, None)))
    }

    /// The policy for a request for the decoded `path` that gets a file of the type `own_type`, under the
    /// rules for a 200. `is_fallback` says that the file is the page of `spa`, and not the file at the
    /// path.
    #[must_use]
    pub fn policy(&self, path: &[u8], own_type: &str, is_fallback: bool) -> CodingPolicy {
        let answer = ResponseProperties {
            status: Status::OK,
            // No coding depends on it.
            scheme: Scheme::Http,
            is_fallback,
            content_type: Some(own_type.as_bytes()),
        };
        self.policy_of(path, &answer)
    }

    /// The policy for the error page with this status, for a request for the decoded `path`. Rules do not
    /// change the type of an error page.
    #[must_use]
    pub fn policy_for_error(&self, path: &[u8], own_type: &str, status: Status) -> CodingPolicy {
        let answer = ResponseProperties {
            status,
            scheme: Scheme::Http,
            is_fallback: false,
            content_type: Some(own_type.as_bytes()),
        };
        CodingPolicy {
            compressibility: None,
            ..self.policy_of(path, &answer)
        }
    }

    fn policy_of(&self, path: &[u8], answer: &ResponseProperties<'_>) -> CodingPolicy {
        let mut policy = CodingPolicy::default();
        for (name, value) in self.0.changes(path, answer) {
            if name.eq_ignore_ascii_case(CONTENT_TYPE) {
                let media_type = value.map(String::from_utf8_lossy);
                policy.compressibility = media_type.map(|it| Compressibility::of(&it));
            } else if name.eq_ignore_ascii_case(CACHE_CONTROL) {
                policy.no_transform = value.is_some_and(|it| has_directive(it, NO_TRANSFORM));
            }
        }
        policy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FieldName, FieldValue, Statuses};

    fn rule(path: &str, set: &[(&str, &str)], unset: &[&str]) -> HeaderRule {
        let unset = unset.iter().map(|name| FieldName::to_unset(name).unwrap());
        let set = set.iter().map(|(name, value)| {
            let value = FieldValue::parse(value).unwrap();
            (FieldName::to_set(name).unwrap(), value)
        });
        HeaderRule {
            path: path.parse().unwrap(),
            status: Statuses::default(),
            types: Vec::new(),
            set: set.collect(),
            unset: unset.collect(),
        }
    }

    #[test]
    fn a_site_without_such_rules_has_none() {
        assert!(CodingRules::new(&[]).is_none());
        let others = [
            rule("/**", &[("X", "no-transform")], &["X-Frame-Options"]),
            rule("/**", &[("Cache-Control", "max-age=9")], &["Content-Type"]),
        ];
        assert!(CodingRules::new(&others).is_none());
    }

    #[test]
    fn the_last_rule_that_matches_decides() {
        let rules = [
            rule("/**", &[("cache-control", "public, no-transform")], &[]),
            rule("/*.dat", &[("CONTENT-TYPE", "text/plain")], &[]),
            rule("/b*", &[("Content-Type", "image/png")], &[]),
            rule("/free/**", &[("Cache-Control", "no-cache")], &[]),
            rule("/c.*", &[], &["Content-Type", "Cache-Control"]),
        ];
        let rules = CodingRules::new(&rules).expect("some rules");
        for (path, compressibility, no_transform) in [
            ("/a.txt", None, true),
            ("/a.dat", Some(Compressibility::High), true),
            ("/b.dat", Some(Compressibility::Low), true),
            ("/b.txt", Some(Compressibility::Low), true),
            ("/free/a.txt", None, false),
            ("/c.dat", None, false),
        ] {
            let expected = CodingPolicy {
                compressibility,
                no_transform,
            };
            assert_eq!(
                rules.policy(path.as_bytes(), "a/b", false),
                expected,
                "{path}"
            );
        }
    }

    #[test]
    fn a_rule_decides_only_for_its_types_and_statuses() {
        let no_transform = [("Cache-Control", "no-transform")];
        let mut of_type = rule("/**", &no_transform, &[]);
        of_type.types = vec!["text/html".parse().unwrap()];
        let mut of_errors = rule("/**", &[("Content-Type", "image/png")], &[]);
        of_errors.status = Statuses::Listed(vec!["4xx".parse().unwrap()]);
        let rules = CodingRules::new(&[of_type, of_errors]).expect("some rules");
        let policy = |own_type| rules.policy(b"/a", own_type, false);
        assert!(policy("text/html; charset=utf-8").no_transform);
        assert_eq!(policy("text/css"), CodingPolicy::default());
        // The page of `spa` does not get the field.
        let fallback = rules.policy(b"/a", "text/html", true);
        assert_eq!(fallback, CodingPolicy::default());
    }

    #[test]
    fn every_policy_has_a_number_of_its_own() {
        assert_eq!(CodingPolicy::numbered(0), None);
        assert_eq!(CodingPolicy::numbered(CodingPolicy::NUMBERS), None);
        for number in 1..CodingPolicy::NUMBERS {
            let policy = CodingPolicy::numbered(number).expect("a policy");
            assert_eq!(policy.number(), number);
        }
    }
}
