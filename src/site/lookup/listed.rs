//! Directories without an index.

use super::opening::Lookup;
use crate::http::response::Response;
use crate::site::disk::OpenError;
use crate::site::listing::{self, ListedDirectory, ListingRequest, Listings};
use crate::site::waiting::WouldBlock;

impl Lookup {
    /// Lists the directory at `path` for a request for `asked`, which the header rules are about, as
    /// [`Listings::respond`] does. To be asked when
    /// [`find`](Lookup::find) has found nothing there.
    ///
    /// # Errors
    /// Those of [`Listings::respond`].
    pub fn list(
        &self,
        listings: &Listings,
        (asked, path): (&[u8], &[u8]),
        request: &ListingRequest<'_, '_, '_>,
    ) -> Result<Result<Response, OpenError>, WouldBlock> {
        let rules = self.coding_rules.as_ref();
        let may_compress = rules.is_none_or(|rules| {
            let policy = rules.policy(asked, listing::media_type(request.head), false);
            !policy.no_transform
        });
        self.at(path, |place| listings.respond(place, request, may_compress))
    }

    /// Whether a listing of `path` would be tried.
    ///
    /// # Errors
    /// As [`ListedDirectory::open`].
    pub fn open_directory(&self, path: &[u8]) -> Result<(), OpenError> {
        self.at(path, |place| place.open().map(drop))
    }

    fn at<T>(&self, path: &[u8], act: impl FnOnce(&ListedDirectory<'_>) -> T) -> T {
        let root = &self.root.directory();
        let resolver = &self.resolver;
        act(&ListedDirectory {
            root,
            resolver,
            path,
        })
    }
}
