//! One site, ready to answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::health::Health;
use crate::clock::Now;
use crate::config::SiteConfig;
use crate::http::request::RequestHead;
use crate::site::listing::Listings;
use crate::site::lookup::Lookup;
use crate::site::memory::{FileStore, has_dot_name};
use crate::site::rules::{Applications, EditedFields, FieldEditor, Remarks, Rules};
use crate::site::waiting::Reach;

/// One static site.
#[derive(Debug)]
pub struct Site {
    pub(super) files: Lookup,
    /// `None` if there are none.
    pub(super) rules: Option<Arc<Rules>>,
    /// `None` if no answer's fields are edited.
    pub(super) editor: Option<FieldEditor>,
    /// Set if `clean_urls` is on: the names of index files.
    pub(super) clean_urls: Option<Vec<String>>,
    pub(super) shows_hidden: bool,
    pub(super) listings: Option<Listings>,
    /// `None` if there are none.
    pub(super) applications: Option<Applications>,
    /// Paths by status.
    pub(super) error_pages: BTreeMap<u16, Box<[u8]>>,
    /// `None` if no path tells it.
    pub(super) health: Option<Arc<Health>>,
}

/// The parts that all sites of a server have in common.
#[derive(Debug)]
pub(super) struct SharedBySites {
    pub(super) store: FileStore,
    /// `None` if no fields are edited, or none are remembered.
    pub(super) edited: Option<Arc<EditedFields>>,
    /// `None` if no path tells it.
    pub(super) health: Option<Arc<Health>>,
}

/// A request for a path, and how far the answer may go.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a, 'b, 's> {
    pub(super) head: &'a RequestHead<'b, 's>,
    /// Decoded and normalised.
    pub(super) path: &'a [u8],
    pub(super) query: Option<&'b [u8]>,
    pub(super) reach: Reach,
    pub(super) now: Now,
    pub(super) remarks: &'a Remarks,
}

impl Site {
    /// Opens `site`, which has this `number` in what all sites share.
    ///
    /// # Errors
    /// If the root is not a directory that can be read.
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
        let rules = Arc::new(Rules::new(site));
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

    /// The files below its root.
    #[must_use]
    pub fn files(&self) -> &Lookup {
        &self.files
    }

    /// Whether answers of `site` may be edited, as [`FieldEditor`] does it.
    #[must_use]
    pub fn edits_fields(site: &SiteConfig) -> bool {
        !site.spa.is_empty() || Rules::new(site).edits_fields()
    }

    pub(super) fn is_hidden(&self, path: &[u8]) -> bool {
        !self.shows_hidden && has_dot_name(path)
    }
}
