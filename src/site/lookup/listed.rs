//! Listings of directories without an index.

use super::opening::Lookup;
use crate::http::response::Response;
use crate::site::disk::OpenError;
use crate::site::listing::{self, ListedDirectory, ListingRequest, Listings};
use crate::site::waiting::WouldBlock;

impl Lookup {
    /// Lists the directory at `path`, as [`Listings::respond`] does, for a request for `asked`, to which
    /// the header rules apply. To be called if [`find`](Lookup::find) has found no file there.
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
        self.at(path, |listed| {
            listings.respond(listed, request, may_compress)
        })
    }

    /// Checks that the directory at `path` can be opened, as a listing does.
    ///
    /// # Errors
    /// As [`ListedDirectory::open`].
    pub fn open_directory(&self, path: &[u8]) -> Result<(), OpenError> {
        self.at(path, |listed| listed.open().map(drop))
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
