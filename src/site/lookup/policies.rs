//! Files whose content coding the header rules of their site decide.

use super::opening::Lookup;
use crate::clock::Now;
use crate::site::memory::{Found, SitePath};
use crate::site::rules::CodingPolicy;
use crate::site::waiting::{NeedsDisk, Reach};

impl Lookup {
    /// As [`find`](Lookup::find), for a request for `asked`, which a rewrite or `spa` has led to `path`:
    /// the header rules are about `asked`. `is_fallback` says that it was `spa`.
    ///
    /// # Errors
    /// As [`find`](Lookup::find).
    pub fn find_for(
        &self,
        asked: &[u8],
        path: &[u8],
        is_fallback: bool,
        reach: Reach,
        now: Now,
    ) -> Result<Found, NeedsDisk> {
        let mut key = self.key(path);
        let found = self.find_at(key, reach, now)?;
        let (Some(rules), Found::File(entry)) = (&self.coding_rules, &found) else {
            return Ok(found);
        };
        let own_type = self.types.of(&String::from_utf8_lossy(&entry.path));
        let policy = rules.policy(asked, &own_type, is_fallback);
        if policy == rules.policy(path, &own_type, false) {
            return Ok(found);
        }
        key.site = self.first_key.saturating_add(policy.number());
        self.find_at(key, reach, now)
    }

    /// The policy for the file of the type `own_type` that is to be kept at `key`.
    pub(super) fn coding_policy(&self, key: SitePath<'_>, own_type: &str) -> CodingPolicy {
        let Some(rules) = &self.coding_rules else {
            return CodingPolicy::default();
        };
        let number = key.site.saturating_sub(self.first_key);
        CodingPolicy::numbered(number).unwrap_or_else(|| rules.policy(key.path, own_type, false))
    }
}
