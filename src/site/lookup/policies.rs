//! Files whose content coding the header rules of their site decide.

use super::{Found, Lookup};
use crate::clock::Now;
use crate::site::coding_policy::CodingPolicy;
use crate::site::reach::{NeedsDisk, Reach};
use crate::site::site_path::SitePath;

impl Lookup {
    /// As [`find`](Lookup::find), for a request for `asked`, which a rewrite or `spa` has led to `path`:
    /// the header rules are about `asked`.
    ///
    /// # Errors
    /// As [`find`](Lookup::find).
    pub fn find_for(
        &self,
        asked: &[u8],
        path: &[u8],
        reach: Reach,
        now: Now,
    ) -> Result<Found, NeedsDisk> {
        let mut key = self.key(path);
        if let Some(rules) = &self.coding_rules {
            let policy = rules.policy(asked);
            if policy != rules.policy(path) {
                key.site = self.first_key.saturating_add(policy.number());
            }
        }
        self.find_at(key, reach, now)
    }

    /// The policy for what is kept at `key`.
    pub(super) fn coding_policy(&self, key: SitePath<'_>) -> CodingPolicy {
        let Some(rules) = &self.coding_rules else {
            return CodingPolicy::default();
        };
        let number = key.site.saturating_sub(self.first_key);
        CodingPolicy::numbered(number).unwrap_or_else(|| rules.policy(key.path))
    }
}
