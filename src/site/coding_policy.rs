//! The part of a site's header rules that says whether a file is sent in a content coding.
//!
//! - A Content-Type that a rule sets is the type of the content, and decides like one whether the
//!   content is worth compressing.
//! - `Cache-Control: no-transform` asks everybody on the way to leave the content as it is (RFC 9110
//!   section 7.7, RFC 9111 section 5.2.2.6). So the server does not compress it on the fly either. A
//!   form that lies beside the file was made by the owner of the site, and is still sent.
//!
//! Header rules are about the path as it was asked for, and files are kept by the path that was looked
//! up. Without a rewrite both are the same, and the policy is worked out when the file is loaded. If a
//! rewrite or `spa` leads to a file whose own path has another policy, the file is kept once for each
//! policy: see [`Lookup::find_for`](super::lookup::Lookup::find_for).

use super::media_types::Redundancy;
use crate::config::{HeaderRule, Pattern};
use crate::http::cache_control::has_directive;

/// The word of the header rules on the content coding of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CodingPolicy {
    /// By the Content-Type that a rule sets; `None` if the file's own decides.
    pub redundancy: Option<Redundancy>,
    /// Whether the content must not be compressed on the fly.
    pub no_transform: bool,
}

/// The rules that change a [`CodingPolicy`], in their order.
#[derive(Debug)]
pub struct CodingRules(Vec<(Pattern, Vec<Edit>)>);

#[derive(Debug)]
enum Edit {
    Redundancy(Option<Redundancy>),
    NoTransform(bool),
}

impl CodingPolicy {
    /// How many [numbers](CodingPolicy::number) there are, 0 included.
    pub const NUMBERS: u32 = 9;

    /// Tells policies apart; never 0, which stands for the policy of the file's own path.
    #[must_use]
    pub fn number(self) -> u32 {
        let redundancy = self
            .redundancy
            .map_or(0, |redundancy| redundancy as u32 + 1);
        1 + 2 * redundancy + u32::from(self.no_transform)
    }

    /// The policy with this number; `None` for 0 and for a number that no policy has.
    #[must_use]
    pub fn numbered(number: u32) -> Option<CodingPolicy> {
        let among = |redundancy| {
            let policies = [false, true].map(|no_transform| CodingPolicy {
                redundancy,
                no_transform,
            });
            policies.into_iter().find(|it| it.number() == number)
        };
        let mut redundancies = Redundancy::ALL.into_iter().map(Some);
        among(None).or_else(|| redundancies.find_map(among))
    }
}

impl CodingRules {
    /// Those of `rules` that matter; `None` if the policy is the default whatever the path.
    #[must_use]
    pub fn new(rules: &[HeaderRule]) -> Option<CodingRules> {
        let rules = rules.iter().map(|rule| (rule.path.clone(), edits(rule)));
        let rules: Vec<_> = rules.filter(|(_, edits)| !edits.is_empty()).collect();
        let mut edits = rules.iter().flat_map(|(_, edits)| edits);
        let is_any = edits.any(|edit| match edit {
            Edit::Redundancy(redundancy) => redundancy.is_some(),
            Edit::NoTransform(is_set) => *is_set,
        });
        is_any.then_some(CodingRules(rules))
    }

    /// The policy for a request for the decoded `path`. All rules that match apply in their order, as
    /// they do to the fields of the answer.
    #[must_use]
    pub fn policy(&self, path: &[u8]) -> CodingPolicy {
        let mut policy = CodingPolicy::default();
        let matching = self.0.iter().filter(|(pattern, _)| pattern.is_match(path));
        for edit in matching.flat_map(|(_, edits)| edits) {
            match *edit {
                Edit::Redundancy(redundancy) => policy.redundancy = redundancy,
                Edit::NoTransform(is_set) => policy.no_transform = is_set,
            }
        }
        policy
    }
}

/// The changes of a policy that follow from the fields of `rule`.
fn edits(rule: &HeaderRule) -> Vec<Edit> {
    let unset = rule.unset.iter().map(|name| (name, None));
    let set = rule.set.iter();
    let set = set.map(|(name, value)| (name, Some(value.as_str())));
    let edits = unset.chain(set).filter_map(|(name, value)| {
        let is_called = |other| name.as_str().eq_ignore_ascii_case(other);
        if is_called("Content-Type") {
            Some(Edit::Redundancy(value.map(Redundancy::of)))
        } else if is_called("Cache-Control") {
            let is_set = value.is_some_and(|value| has_directive(value.as_bytes(), "no-transform"));
            Some(Edit::NoTransform(is_set))
        } else {
            None
        }
    });
    edits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FieldName, FieldValue};

    fn rule(path: &str, set: &[(&str, &str)], unset: &[&str]) -> HeaderRule {
        let unset = unset.iter().map(|name| FieldName::to_unset(name).unwrap());
        let set = set.iter().map(|(name, value)| {
            let value = FieldValue::parse(value).unwrap();
            (FieldName::to_set(name).unwrap(), value)
        });
        HeaderRule {
            path: path.parse().unwrap(),
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
        for (path, redundancy, no_transform) in [
            ("/a.txt", None, true),
            ("/a.dat", Some(Redundancy::Much), true),
            ("/b.dat", Some(Redundancy::Little), true),
            ("/b.txt", Some(Redundancy::Little), true),
            ("/free/a.txt", None, false),
            ("/c.dat", None, false),
        ] {
            let expected = CodingPolicy {
                redundancy,
                no_transform,
            };
            assert_eq!(rules.policy(path.as_bytes()), expected, "{path}");
        }
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
