//! All sites of a server, and which of them a request is for.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::health::Health;
use super::hosts::{HostMatch, Hosts};
use super::site::{SharedBySites, Site};
use crate::clock::{Millis, Now};
use crate::config::{Config, SiteConfig};
use crate::http::request::RequestHead;
use crate::http::response::Response;
use crate::http::status::Status;
use crate::site::disk::DescriptorBudget;
use crate::site::memory::{CheckOrder, Checkers, FileStore};
use crate::site::pages;
use crate::site::rules::EditedFields;
use crate::site::waiting::{NeedsDisk, Reach};

/// What part of `cache.bytes` may be taken besides for edited fields, if there are rules.
const EDITED_PART: u64 = 16;

/// The default site and those of the virtual hosts.
///
/// They share one cache: a site that is asked for more gets more of it, and `cache.bytes` and the
/// bound on descriptors hold for all of them together.
#[derive(Debug)]
pub struct Sites {
    hosts: Hosts,
    default: Site,
    /// In the order of [`Config::hosts`].
    of_hosts: Vec<Site>,
    shared: SharedBySites,
}

/// A site that cannot be served.
#[derive(Debug)]
pub struct CannotServe {
    /// Its root.
    pub root: PathBuf,
    /// What is wrong with that.
    pub error: io::Error,
}

impl fmt::Display for CannotServe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot serve {}: {}", self.root.display(), self.error)
    }
}

impl std::error::Error for CannotServe {}

impl Sites {
    /// Opens all sites at their configured roots, as if there were any number of descriptors.
    ///
    /// # Errors
    /// If a root is not a directory that can be read.
    pub fn open(config: &Config) -> Result<Sites, CannotServe> {
        Sites::open_within(config, DescriptorBudget::unlimited())
    }

    /// Opens all sites at their configured roots. Large files take their descriptors out of
    /// `descriptors`.
    ///
    /// # Errors
    /// If a root is not a directory that can be read.
    pub fn open_within(
        config: &Config,
        descriptors: DescriptorBudget,
    ) -> Result<Sites, CannotServe> {
        let edited = (config.cache.bytes > 0 && config.sites().any(Site::edits_fields))
            .then(|| Arc::new(EditedFields::new(config.cache.bytes / EDITED_PART)));
        let shared = SharedBySites {
            store: FileStore::new(&config.cache, descriptors),
            edited,
            health: Health::new(&config.shutdown),
        };
        let open = |site: &SiteConfig, number| {
            let opened = Site::open(site, number, &shared);
            opened.map_err(|error| CannotServe {
                root: site.root.clone(),
                error,
            })
        };
        let of_hosts = config.hosts.iter().zip(1..);
        Ok(Sites {
            hosts: Hosts::new(config),
            default: open(&config.site, 0)?,
            of_hosts: of_hosts
                .map(|(host, number)| open(&host.site, number))
                .collect::<Result<_, _>>()?,
            shared,
        })
    }

    /// The budget of descriptors: a large file takes one for as long as it is open.
    #[must_use]
    pub fn descriptors(&self) -> &Arc<DescriptorBudget> {
        &self.shared.store.descriptors
    }

    /// From now on `shutdown.health` says that the server is leaving.
    pub fn leave(&self) {
        if let Some(health) = &self.shared.health {
            health.leave();
        }
    }

    /// Those who compare with the disk: each takes orders and has them
    /// [carried out](Sites::carry_out). `None` if nothing is kept that could be compared.
    #[must_use]
    pub fn checkers(&self) -> Option<&Checkers> {
        let memory = self.shared.store.memory.as_ref();
        memory.map(|memory| memory.checkers())
    }

    /// Compares with the disk what `order` says, as [`Lookup::carry_out`](crate::site::lookup::Lookup).
    pub fn carry_out(&self, order: &CheckOrder, end: impl FnOnce() -> Millis) {
        let site = match order.site.checked_sub(1) {
            None => Some(&self.default),
            Some(host) => self.of_hosts.get(host as usize),
        };
        if let Some(site) = site {
            site.files().carry_out(order, end);
        }
    }

    /// Answers `head`, from the site that it is for. `path` is a buffer of the caller's. An answer from
    /// memory takes no allocation, save for ranges, for a path that is rewritten, for a redirect that is
    /// configured or carries a query, for any on a site that has configured ones, and for an Origin that may
    /// read the answer.
    ///
    /// # Errors
    /// [`NeedsDisk`] if the answer, or the content that goes with it, is not in `reach`, or another
    /// thread is getting it.
    pub fn respond(
        &self,
        head: &RequestHead<'_, '_>,
        path: &mut Vec<u8>,
        reach: Reach,
        now: Now,
    ) -> Result<Response, NeedsDisk> {
        if self.hosts.is_empty() {
            return self.default.respond(head, path, reach, now);
        }
        let site = match self.hosts.find(head.host) {
            // RFC 9110 section 7.4.
            HostMatch::Unknown => {
                // A balancer asks for its health by address.
                let health = self.default.health(head, path);
                return Ok(health.unwrap_or_else(misdirected));
            }
            HostMatch::Default => &self.default,
            HostMatch::Known(index) => self.of_hosts.get(index).unwrap_or(&self.default),
        };
        site.respond(head, path, reach, now)
    }
}

/// 421 (RFC 9110 section 15.5.20). No site's own page: it is none of theirs.
fn misdirected() -> Response {
    pages::error(
        Status::MISDIRECTED_REQUEST,
        "No site of this name is served here.",
    )
}
