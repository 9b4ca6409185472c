//! Files whose content coding the header rules of their site decide.

use super::opening::Lookup;
use crate::clock::Now;
use crate::site::memory::Found;
use crate::site::waiting::{NeedsDisk, Reach};

/// The path that a rewrite or `spa` has led a request to.
#[derive(Debug, Clone, Copy)]
pub struct LedTo<'p> {
    /// The path as it was asked, which the header rules are about.
    pub asked: &'p [u8],
    /// The path that is served.
    pub path: &'p [u8],
    /// Whether it was `spa`.
    pub is_fallback: bool,
}

impl Lookup {
    /// As [`find`](Lookup::find), for a request that was led to another path.
    ///
    /// # Errors
    /// As [`find`](Lookup::find).
    pub fn find_for(&self, led: LedTo<'_>, reach: Reach, now: Now) -> Result<Found, NeedsDisk> {
        let LedTo {
            asked,
            path,
            is_fallback,
        } = led;
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
}
