//! The sites of a server.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, io};

use super::health::Health;
use super::https_redirect::{HttpsPort, HttpsRedirect};
use super::virtual_hosts::{HostMatch, VirtualHosts};
use crate::clock::{Millis, Now};
use crate::config::{Config, ListenAddress, SiteConfig, has_hidden_segment};
use crate::http::request::RequestHead;
use crate::http::response::Response;
use crate::http::scheme::Scheme;
use crate::http::status::Status;
use crate::site::disk::DescriptorBudget;
use crate::site::listing::Listings;
use crate::site::lookup::Lookup;
use crate::site::memory::{FileStore, LookupCounts, LookupTotals, Revalidation, Revalidators};
use crate::site::pages;
use crate::site::rules::{Applications, EditedFields, FieldEditor, ResponseFacts, SiteRules};
use crate::site::waiting::{CachedAccess, MayBlock, WouldBlock};

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
            https_port: Arc::new(HttpsPort::new(&config.listen)),
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

    /// The permission to load files from the kernel's memory; `None` without a cache.
    #[must_use]
    pub fn cached_access(&self) -> Option<&CachedAccess> {
        let memory = self.shared.store.memory.as_ref()?;
        Some(&memory.cached_access)
    }

    /// The budget of descriptors. A large file takes one as long as it is open.
    #[must_use]
    pub fn descriptors(&self) -> &Arc<DescriptorBudget> {
        &self.shared.store.descriptors
    }

    /// Notes the addresses on which the server listens, with their real ports. Until this is called, the port of
    /// `https_redirect` is that of the configuration.
    pub fn note_addresses(&self, addresses: &[ListenAddress]) {
        self.shared.https_port.note(addresses);
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

    /// Answers `head`, which came by `scheme`, from the site that its Host field names. `path` is a buffer that the
    /// caller reuses.
    ///
    /// A response from memory allocates nothing. Exceptions are ranges, rewritten paths, redirects that are
    /// configured, carry a query or lead to https, all responses of a site with configured redirects, and requests with an
    /// Origin that may read the response.
    ///
    /// # Errors
    /// [`WouldBlock`] if `may_block` does not allow the file access that the response needs, or if another
    /// thread is already loading the file.
    pub fn respond(
        &self,
        head: &RequestHead<'_, '_>,
        scheme: Scheme,
        path: &mut Vec<u8>,
        may_block: MayBlock,
        now: Now,
    ) -> Result<Response, WouldBlock> {
        if self.hosts.is_empty() {
            return self.default.respond(head, scheme, path, may_block, now);
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
        site.respond(head, scheme, path, may_block, now)
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
    /// `None` if the site is served over plain connections too.
    pub(super) https_redirect: Option<HttpsRedirect>,
}

/// The state that all sites of a server share.
#[derive(Debug)]
pub(super) struct SharedBySites {
    pub(super) store: FileStore,
    /// `None` if no fields are edited, or if there is no cache.
    pub(super) edited: Option<Arc<EditedFields>>,
    /// `None` if no path is configured for it.
    pub(super) health: Option<Arc<Health>>,
    pub(super) https_port: Arc<HttpsPort>,
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
            https_port,
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
            https_redirect: site
                .https_redirect
                .then(|| HttpsRedirect::new(Arc::clone(https_port))),
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
