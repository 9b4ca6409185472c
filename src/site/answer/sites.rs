//! The sites of a server, and the selection of a site by the Host field (RFC 9110 section 7.2).

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, io};

use super::health::Health;
use crate::clock::{Millis, Now};
use crate::config::{Config, HOST_NAME_MAX, HostName, SiteConfig, has_hidden_segment};
use crate::http::request::RequestHead;
use crate::http::response::Response;
use crate::http::status::Status;
use crate::site::disk::DescriptorBudget;
use crate::site::listing::Listings;
use crate::site::lookup::Lookup;
use crate::site::memory::{FileStore, LookupCounts, LookupTotals, Revalidation, Revalidators};
use crate::site::pages;
use crate::site::rules::{Applications, EditedFields, FieldEditor, ResponseFacts, SiteRules};
use crate::site::waiting::{MayBlock, WouldBlock};

/// Edited fields may take one part in this many of `cache.bytes`, in addition to it, if there are rules.
const EDITED_PART: u64 = 16;

/// The default site and the sites of the virtual hosts.
///
/// All sites share one cache, so a site with more requests gets more of it. `cache.bytes` and the limit on
/// descriptors hold for all sites together.
#[derive(Debug)]
pub struct Sites {
    hosts: VirtualHosts,
    default: Site,
    /// In the order of [`Config::hosts`].
    of_hosts: Vec<Site>,
    shared: SharedBySites,
}

/// The error of a site that cannot be opened.
#[derive(Debug)]
pub struct OpenSiteError {
    /// The root directory of the site.
    pub root: PathBuf,
    /// The reason.
    pub error: io::Error,
}

impl fmt::Display for OpenSiteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot serve {}: {}", self.root.display(), self.error)
    }
}

impl std::error::Error for OpenSiteError {}

impl Sites {
    /// Opens all sites at their configured roots, without a limit on descriptors.
    ///
    /// # Errors
    /// If a root is not a readable directory.
    pub fn open(config: &Config) -> Result<Sites, OpenSiteError> {
        Sites::open_within(config, Arc::new(DescriptorBudget::unlimited()))
    }

    /// Opens all sites at their configured roots. Large files take their descriptors from the budget
    /// `descriptors`.
    ///
    /// # Errors
    /// If a root is not a readable directory.
    pub fn open_within(
        config: &Config,
        descriptors: Arc<DescriptorBudget>,
    ) -> Result<Sites, OpenSiteError> {
        Sites::open_counting(config, descriptors, Arc::default())
    }

    /// Opens the sites of another configuration for the server of these. They share the budget of descriptors and
    /// go on counting lookups.
    ///
    /// # Errors
    /// If a root is not a readable directory.
    pub fn reopen(&self, config: &Config) -> Result<Sites, OpenSiteError> {
        let FileStore {
            descriptors,
            lookups,
            ..
        } = &self.shared.store;
        Sites::open_counting(config, Arc::clone(descriptors), Arc::clone(lookups))
    }

    fn open_counting(
        config: &Config,
        descriptors: Arc<DescriptorBudget>,
        lookups: Arc<LookupCounts>,
    ) -> Result<Sites, OpenSiteError> {
        let edited = (config.cache.bytes > 0 && config.sites().any(Site::edits_fields))
            .then(|| Arc::new(EditedFields::new(config.cache.bytes / EDITED_PART)));
        let shared = SharedBySites {
            store: FileStore::new(&config.cache, descriptors, lookups),
            edited,
            health: Health::new(&config.shutdown),
        };
        let open = |site: &SiteConfig, number| {
            let opened = Site::open(site, number, &shared);
            opened.map_err(|error| OpenSiteError {
                root: site.root.clone(),
                error,
            })
        };
        let of_hosts = config.hosts.iter().zip(1..);
        Ok(Sites {
            hosts: VirtualHosts::new(config),
            default: open(&config.site, 0)?,
            of_hosts: of_hosts
                .map(|(host, number)| open(&host.site, number))
                .collect::<Result<_, _>>()?,
            shared,
        })
    }

    /// The budget of descriptors. A large file takes one as long as it is open.
    #[must_use]
    pub fn descriptors(&self) -> &Arc<DescriptorBudget> {
        &self.shared.store.descriptors
    }

    /// Makes the health check report that the server is shutting down.
    pub fn leave(&self) {
        if let Some(health) = &self.shared.health {
            health.leave();
        }
    }

    /// The revalidators, which compare the cache with the disk. Each takes orders and calls
    /// [`carry_out`](Sites::carry_out) with them. `None` if there is no cache.
    #[must_use]
    pub fn revalidators(&self) -> Option<&Revalidators> {
        let memory = self.shared.store.memory.as_ref();
        memory.map(|memory| memory.revalidators())
    }

    /// How often memory had the result of a lookup, also for the sites that these have [replaced](Sites::reopen),
    /// and the loads from the disk under way. `None` if there is no cache.
    #[must_use]
    pub fn lookups(&self) -> Option<(LookupTotals, usize)> {
        let memory = self.shared.store.memory.as_ref()?;
        Some((self.shared.store.lookups.totals(), memory.loads()))
    }

    /// Carries out a revalidation, as [`Lookup::carry_out`](crate::site::lookup::Lookup).
    pub fn carry_out(&self, order: &Revalidation, end: impl FnOnce() -> Millis) {
        let site = match order.site.checked_sub(1) {
            None => Some(&self.default),
            Some(host) => self.of_hosts.get(host as usize),
        };
        if let Some(site) = site {
            site.files().carry_out(order, end);
        }
    }

    /// Answers `head` from the site that its Host field names. `path` is a buffer that the caller reuses.
    ///
    /// A response from memory allocates nothing. Exceptions are ranges, rewritten paths, redirects that are
    /// configured or carry a query, all responses of a site with configured redirects, and requests with an
    /// Origin that may read the response.
    ///
    /// # Errors
    /// [`WouldBlock`] if `may_block` does not allow the file access that the response needs, or if another
    /// thread is already loading the file.
    pub fn respond(
        &self,
        head: &RequestHead<'_, '_>,
        path: &mut Vec<u8>,
        may_block: MayBlock,
        now: Now,
    ) -> Result<Response, WouldBlock> {
        if self.hosts.is_empty() {
            return self.default.respond(head, path, may_block, now);
        }
        let site = match self.hosts.find(head.host) {
            // RFC 9110 section 7.4.
            HostMatch::Unknown => {
                // A load balancer may send its health check by address, without a host name.
                let health = self.default.health(head, path);
                return Ok(health.unwrap_or_else(misdirected));
            }
            HostMatch::Default => &self.default,
            HostMatch::Known(index) => self.of_hosts.get(index).unwrap_or(&self.default),
        };
        site.respond(head, path, may_block, now)
    }
}

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

/// One static site.
#[derive(Debug)]
pub struct Site {
    pub(super) files: Lookup,
    /// `None` if the site has no rules.
    pub(super) rules: Option<Arc<SiteRules>>,
    /// `None` if the fields of responses are never edited.
    pub(super) editor: Option<FieldEditor>,
    /// The names of index files; `None` if `clean_urls` is off.
    pub(super) clean_urls: Option<Vec<String>>,
    pub(super) shows_hidden: bool,
    pub(super) listings: Option<Listings>,
    /// `None` if the site has no applications.
    pub(super) applications: Option<Applications>,
    /// The paths of the site's own error pages, by status.
    pub(super) error_pages: BTreeMap<u16, Box<[u8]>>,
    /// `None` if no path is configured for it.
    pub(super) health: Option<Arc<Health>>,
}

/// The state that all sites of a server share.
#[derive(Debug)]
pub(super) struct SharedBySites {
    pub(super) store: FileStore,
    /// `None` if no fields are edited, or if there is no cache.
    pub(super) edited: Option<Arc<EditedFields>>,
    /// `None` if no path is configured for it.
    pub(super) health: Option<Arc<Health>>,
}

/// A request with a valid path, and the thread's permission to block.
#[derive(Clone, Copy)]
pub(super) struct PathRequest<'a, 'b, 's> {
    pub(super) head: &'a RequestHead<'b, 's>,
    /// Decoded and normalised.
    pub(super) path: &'a [u8],
    pub(super) query: Option<&'b [u8]>,
    pub(super) may_block: MayBlock,
    pub(super) now: Now,
    pub(super) facts: &'a ResponseFacts,
}

impl Site {
    /// Opens `site`. Its `number` identifies it in the shared state.
    ///
    /// # Errors
    /// If the root is not a readable directory.
    pub(super) fn open(
        site: &SiteConfig,
        number: u32,
        shared: &SharedBySites,
    ) -> std::io::Result<Site> {
        let SharedBySites {
            store,
            edited,
            health,
        } = shared;
        let rules = Arc::new(SiteRules::new(site));
        let path = |path: &String| Box::from(path.as_bytes());
        let pages = site.error_pages.iter();
        Ok(Site {
            files: Lookup::open(site, number, store)?,
            editor: FieldEditor::new(&rules, !site.spa.is_empty(), number, edited.clone()),
            rules: (!rules.is_empty()).then_some(rules),
            clean_urls: site.clean_urls.then(|| site.index.clone()),
            shows_hidden: site.hidden,
            listings: site.listing.then(|| Listings::new(site, &store.cache)),
            applications: Applications::new(&site.spa),
            error_pages: pages.map(|(status, page)| (*status, path(page))).collect(),
            health: health.clone(),
        })
    }

    /// The files below the root.
    #[must_use]
    pub fn files(&self) -> &Lookup {
        &self.files
    }

    /// Whether a [`FieldEditor`] may edit responses of `site`.
    #[must_use]
    pub fn edits_fields(site: &SiteConfig) -> bool {
        !site.spa.is_empty() || SiteRules::new(site).edits_fields()
    }

    pub(super) fn is_hidden(&self, path: &[u8]) -> bool {
        !self.shows_hidden && has_hidden_segment(path)
    }
}

/// 421 (RFC 9110 section 15.5.20). It has the built-in page, because no site is responsible for it.
fn misdirected() -> Response {
    pages::error(
        Status::MISDIRECTED_REQUEST,
        "No site of this name is served here.",
    )
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
