//! The selection of a site by the Host field (RFC 9110 section 7.2).

use std::collections::HashMap;
use std::net::Ipv6Addr;

use crate::config::{Config, HOST_NAME_MAX, HostName};

/// The virtual hosts by name.
///
/// An exact name takes precedence over a wildcard, and the longest of several wildcards over the others.
/// Case, port and a final dot make no difference.
#[derive(Debug)]
pub struct VirtualHosts {
    exact: HashMap<Box<[u8]>, usize>,
    /// Wildcards, by the part after the `*.`.
    below: HashMap<Box<[u8]>, usize>,
    ipv6: HashMap<Ipv6Addr, usize>,
    is_strict: bool,
}

/// The site that a host name selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostMatch {
    /// The virtual host at this index of [`Config::hosts`].
    Known(usize),
    /// The default site, because no virtual host has the name.
    Default,
    /// No site: the response is 421 (RFC 9110 section 15.5.20). Only with `strict_hosts`.
    Unknown,
}

impl VirtualHosts {
    /// The names of all virtual hosts of `config`. No name occurs twice.
    #[must_use]
    pub fn new(config: &Config) -> VirtualHosts {
        let mut hosts = VirtualHosts {
            exact: HashMap::new(),
            below: HashMap::new(),
            ipv6: HashMap::new(),
            is_strict: config.strict_hosts,
        };
        for (index, host) in config.hosts.iter().enumerate() {
            for name in &host.names {
                match name {
                    HostName::Exact(name) => hosts.exact.insert(name.as_bytes().into(), index),
                    HostName::Wildcard(name) => hosts.below.insert(name.as_bytes().into(), index),
                    HostName::Ipv6(address) => hosts.ipv6.insert(*address, index),
                };
            }
        }
        hosts
    }

    /// Whether every name selects the default site.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.is_strict && self.exact.is_empty() && self.below.is_empty() && self.ipv6.is_empty()
    }

    /// Finds the site for `host`, a valid value of Host. HTTP/1.0 allows requests without Host; these name
    /// no virtual host. Nothing is allocated.
    #[must_use]
    pub fn find(&self, host: Option<&[u8]>) -> HostMatch {
        match host.and_then(|host| self.index_of(host)) {
            Some(index) => HostMatch::Known(index),
            None if self.is_strict => HostMatch::Unknown,
            None => HostMatch::Default,
        }
    }

    fn index_of(&self, host: &[u8]) -> Option<usize> {
        if let [b'[', rest @ ..] = host {
            let close = memchr::memchr(b']', rest)?;
            let address = std::str::from_utf8(&rest[..close]).ok()?;
            return self.ipv6.get(&address.parse().ok()?).copied();
        }
        let name = match memchr::memchr(b':', host) {
            Some(colon) => &host[..colon],
            None => host,
        };
        let name = name.strip_suffix(b".").unwrap_or(name);
        // A longer name is not configured.
        let mut buffer = [0; HOST_NAME_MAX];
        let lower = buffer.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        let lower: &[u8] = lower;
        self.exact
            .get(lower)
            .or_else(|| {
                // From left to right, the longest suffix comes first.
                let dots = memchr::memchr_iter(b'.', lower);
                let mut suffixes = dots.filter(|dot| *dot > 0).map(|dot| &lower[dot + 1..]);
                suffixes.find_map(|suffix| self.below.get(suffix))
            })
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{HostConfig, SiteConfig};
    use proptest::prelude::*;

    fn config(hosts: &[&[&str]], strict_hosts: bool) -> Config {
        let hosts = hosts.iter().map(|names| HostConfig {
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
            site: SiteConfig::default(),
        });
        Config {
            hosts: hosts.collect(),
            strict_hosts,
            ..Config::default()
        }
    }

    fn find(hosts: &[&[&str]], host: &str) -> HostMatch {
        VirtualHosts::new(&config(hosts, false)).find(Some(host.as_bytes()))
    }

    #[test]
    fn an_exact_name_wins_over_a_wildcard_and_the_longest_wildcard_over_others() {
        let hosts: [&[&str]; 4] = [
            &["*.example.org"],
            &["www.example.org", "example.org"],
            &["*.deep.example.org"],
            &["*.localhost", "localhost", "192.0.2.1", "[2001:db8::1]"],
        ];
        for (host, index) in [
            ("www.example.org", Some(1)),
            ("example.org", Some(1)),
            ("a.example.org", Some(0)),
            ("a.b.example.org", Some(0)),
            ("deep.example.org", Some(0)),
            ("a.deep.example.org", Some(2)),
            ("a.b.deep.example.org", Some(2)),
            ("aexample.org", None),
            (".example.org", None),
            ("example.org.evil", None),
            ("org", None),
            ("localhost", Some(3)),
            ("x.localhost", Some(3)),
            ("192.0.2.1", Some(3)),
            ("[2001:db8::1]", Some(3)),
            ("[2001:DB8:0:0::1]:8080", Some(3)),
            ("[2001:db8::2]", None),
        ] {
            let expected = index.map_or(HostMatch::Default, HostMatch::Known);
            assert_eq!(find(&hosts, host), expected, "{host}");
        }
    }

    #[test]
    fn case_port_and_final_dot_make_no_difference() {
        for host in [
            "EXAMPLE.org",
            "example.org.",
            "example.org:80",
            "Example.Org.:8080",
            "example.org:",
        ] {
            assert_eq!(
                find(&[&["example.org"]], host),
                HostMatch::Known(0),
                "{host}"
            );
        }
        assert_eq!(
            find(&[&["*.example.org"]], "A.example.ORG.:1"),
            HostMatch::Known(0)
        );
    }

    #[test]
    fn an_unknown_name_is_refused_only_if_hosts_are_strict() {
        let strict = VirtualHosts::new(&config(&[&["a.example"]], true));
        assert_eq!(strict.find(Some(b"a.example")), HostMatch::Known(0));
        let long = [b'a'; 300];
        for host in [
            None,
            Some(&b"b.example"[..]),
            Some(b""),
            Some(b"[::1]"),
            Some(b"[v1.x]"),
            Some(b"["),
            Some(b"%61.example"),
            Some(&long),
        ] {
            assert_eq!(strict.find(host), HostMatch::Unknown);
            assert_eq!(
                VirtualHosts::new(&config(&[&["a.example"]], false)).find(host),
                HostMatch::Default
            );
        }
        assert!(VirtualHosts::new(&Config::default()).is_empty());
        assert!(!strict.is_empty());
    }

    proptest! {
        #[test]
        fn the_best_of_all_names_is_found(
            names in prop::collection::btree_set("(\\*\\.)?[ab](\\.[ab]){0,3}", 1..8),
            host in "[ab](\\.[ab]){0,4}",
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let hosts: Vec<&[&str]> = names.iter().map(std::slice::from_ref).collect();
            let exact = names.iter().position(|name| *name == host);
            let wildcard = (0..names.len())
                .filter(|index| names[*index].strip_prefix('*').is_some_and(|end| host.ends_with(end)))
                .max_by_key(|index| names[*index].len());
            let expected = exact.or(wildcard).map_or(HostMatch::Default, HostMatch::Known);
            prop_assert_eq!(find(&hosts, &host), expected);
        }
    }
}
