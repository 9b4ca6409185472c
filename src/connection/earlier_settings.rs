//! Settings from before a reload that still hold for connections from that time.
//!
//! A client knows T and `max`, and its session keeps both. Other settings decide as well how long a connection
//! lives: the grace, the maximum age, and the limits at which pressure begins. If a reload lowers one of them,
//! connections from before keep the higher value. So no reload ends a connection that it would have let live.

use super::limits::connection_gauge::ConnectionGauge;
use crate::clock::Millis;
use crate::config::Config;

/// The highest values so far, for connections from before the last reload that lowered a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EarlierSettings {
    /// When the last reload that lowered a value took effect.
    before: Millis,
    values: LifetimeSettings,
}

/// The settings on which the life of a connection depends, apart from its promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LifetimeSettings {
    /// `keep_alive.grace` in seconds.
    pub(super) grace_secs: u32,
    /// `keep_alive.max_age` in milliseconds; `u64::MAX` without a maximum age.
    pub(super) max_age_millis: u64,
    /// `limits.connections`; `usize::MAX` without a limit.
    pub(super) connections: usize,
    /// `limits.connections_per_ip`; `usize::MAX` without a limit.
    pub(super) connections_per_ip: usize,
}

impl LifetimeSettings {
    /// The settings in `config`, with at most `connections`.
    pub(super) fn new(config: &Config, connections: usize) -> LifetimeSettings {
        LifetimeSettings {
            grace_secs: config.keep_alive.grace_secs,
            max_age_millis: match config.keep_alive.max_age_secs {
                0 => u64::MAX,
                secs => u64::from(secs) * 1000,
            },
            connections,
            connections_per_ip: match config.limits.connections_per_ip {
                0 => usize::MAX,
                limit => limit,
            },
        }
    }

    /// The higher value of each setting.
    fn max(self, other: LifetimeSettings) -> LifetimeSettings {
        LifetimeSettings {
            grace_secs: self.grace_secs.max(other.grace_secs),
            max_age_millis: self.max_age_millis.max(other.max_age_millis),
            connections: self.connections.max(other.connections),
            connections_per_ip: self.connections_per_ip.max(other.connections_per_ip),
        }
    }

    /// Whether the gauge of the server or that of the client is under pressure by these limits.
    pub(super) fn are_under_pressure(
        &self,
        server: &ConnectionGauge,
        client: Option<&ConnectionGauge>,
    ) -> bool {
        server.excess_over(self.connections) > 0
            || client.is_some_and(|client| client.excess_over(self.connections_per_ip) > 0)
    }
}

impl EarlierSettings {
    /// The settings after a reload at `now` from `old` to `new`, where `earlier` held before.
    pub(super) fn after_reload(
        earlier: Option<EarlierSettings>,
        old: LifetimeSettings,
        new: LifetimeSettings,
        now: Millis,
    ) -> Option<EarlierSettings> {
        let lowers_a_value = new.max(old) != new;
        let before = match earlier {
            _ if lowers_a_value => now,
            // Connections from the time since then take the new values, which are at least as high.
            Some(earlier) => earlier.before,
            None => return None,
        };
        let values = earlier.map_or(old, |earlier| earlier.values.max(old));
        Some(EarlierSettings {
            before,
            values: values.max(new),
        })
    }

    /// The settings of a connection that was accepted, or has been idle since, `since`; `None` for those of new
    /// connections.
    pub(super) fn at(&self, since: Millis) -> Option<&LifetimeSettings> {
        (since < self.before).then_some(&self.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(grace_secs: u32, max_age_secs: u32, per_ip: usize) -> LifetimeSettings {
        let mut config = Config::default();
        config.keep_alive.grace_secs = grace_secs;
        config.keep_alive.max_age_secs = max_age_secs;
        config.limits.connections_per_ip = per_ip;
        LifetimeSettings::new(&config, 100)
    }

    #[test]
    fn a_connection_from_before_a_reload_keeps_the_higher_values() {
        let (first, second) = (settings(10, 0, 8), settings(2, 60, 4));
        let earlier = EarlierSettings::after_reload(None, first, second, Millis(500));
        let earlier = earlier.expect("values were lowered");
        assert_eq!(earlier.at(Millis(499)), Some(&first));
        assert_eq!(earlier.at(Millis(500)), None);
        let third = settings(3, 30, 0);
        let earlier = EarlierSettings::after_reload(Some(earlier), second, third, Millis(900));
        let earlier = earlier.expect("the age was lowered");
        let kept = earlier.at(Millis(899)).expect("it is from before");
        assert_eq!((kept.grace_secs, kept.max_age_millis), (10, u64::MAX));
        assert_eq!(kept.connections_per_ip, usize::MAX);
    }

    #[test]
    fn a_reload_that_lowers_nothing_keeps_what_held_before() {
        let (low, high) = (settings(1, 60, 4), settings(2, 0, 0));
        assert_eq!(
            EarlierSettings::after_reload(None, low, high, Millis(500)),
            None
        );
        let earlier = EarlierSettings::after_reload(None, high, low, Millis(500));
        let kept = EarlierSettings::after_reload(earlier, low, low, Millis(900));
        assert_eq!(kept, earlier);
        let higher = settings(20, 0, 0);
        let raised = EarlierSettings::after_reload(kept, low, higher, Millis(950));
        let raised = raised.expect("it was lowered before");
        assert_eq!(raised.at(Millis(0)).map(|kept| kept.grace_secs), Some(20));
        assert_eq!(raised.at(Millis(700)), None);
    }
}
