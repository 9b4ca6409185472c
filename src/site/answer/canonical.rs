//! Redirects to the canonical path of a resource. The path of a directory ends in a slash. With
//! `clean_urls`, the path of a page ends in neither a slash nor its suffix.
//!
//! Such a redirect never leads to a 404. If a configured redirect would send the client back, the server
//! sends the file at once instead.

use super::sites::{PathRequest, Site};
use crate::config::{PAGE_SUFFIX, clean_form};
use crate::http::response::Response;
use crate::site::memory::{LookupResult, NegativeEntry};
use crate::site::pages;
use crate::site::waiting::WouldBlock;

impl Site {
    /// Redirects from the file name of a page to its canonical path, if that page exists.
    pub(super) fn clean_redirect(
        &self,
        index: &[String],
        request: &PathRequest<'_, '_, '_>,
    ) -> Result<Option<Response>, WouldBlock> {
        let Some(clean) = clean_form(request.path, index).filter(|_| !self.is_hidden(request.path))
        else {
            return Ok(None);
        };
        let LookupResult::File(entry) = self.files.find(clean, request.may_block, request.now)?
        else {
            return Ok(None);
        };
        let is_requested = match &request.path[1..] {
            name if name.ends_with(PAGE_SUFFIX) => *entry.path == *name,
            // A file that is really called "index" takes precedence over the page.
            name => {
                entry.path.strip_suffix(PAGE_SUFFIX) == Some(name)
                    && matches!(self.files.find(request.path, request.may_block, request.now)?,
                        LookupResult::File(asked) if asked.path == entry.path)
            }
        };
        Ok(is_requested.then(|| pages::redirect_to(clean, request.query)))
    }

    /// Answers a request for the directory at `path`, which lacks the slash at its end. Usually it
    /// redirects the client to the path with the slash. If that path leads elsewhere, it serves the
    /// directory at once.
    pub(super) fn answer_directory(
        &self,
        entry: &NegativeEntry,
        path: &[u8],
        request: &PathRequest<'_, '_, '_>,
    ) -> Result<Response, WouldBlock> {
        if self.has_slash_form(path, request) {
            return Ok(to_slash(entry, path, request));
        }
        self.serve(&[path, b"/"].concat(), request)
    }

    /// Whether the requested path with a slash at its end leads to the directory at `path`.
    fn has_slash_form(&self, path: &[u8], request: &PathRequest<'_, '_, '_>) -> bool {
        let Some(rules) = &self.rules else {
            return true;
        };
        if path == request.path && rules.redirect_graph().is_none() {
            return true;
        }
        if request.path.ends_with(b"/") {
            return false;
        }
        let asked = [request.path, b"/"].concat();
        let is_rewritten_alike = || {
            let rewritten = rules.rewrite(&asked);
            rewritten.is_some_and(|rewritten| rewritten.strip_suffix(b"/") == Some(path))
        };
        (path == request.path || is_rewritten_alike()) && !self.redirects_lead(&asked, request.path)
    }

    /// Redirects from `path`, if it ends in a slash, to the page without the slash, if that page exists.
    pub(super) fn page_without_slash(
        &self,
        path: &[u8],
        request: &PathRequest<'_, '_, '_>,
    ) -> Result<Option<Response>, WouldBlock> {
        let page = match path {
            [b'/', name @ .., b'/'] if self.clean_urls.is_some() => &path[..=name.len()],
            _ => return Ok(None),
        };
        let is_page = match self.files.find(page, request.may_block, request.now)? {
            LookupResult::File(entry) => entry.path.strip_suffix(PAGE_SUFFIX) == Some(&page[1..]),
            LookupResult::NegativeEntry(_) => false,
        };
        if !is_page {
            return Ok(None);
        }
        if path == request.path && !self.redirects_lead(page, request.path) {
            return Ok(Some(pages::redirect_to(page, request.query)));
        }
        self.serve(page, request).map(Some)
    }

    /// Whether configured redirects lead a client from `start` to `end`.
    fn redirects_lead(&self, start: &[u8], end: &[u8]) -> bool {
        let graph = self.rules.as_ref().and_then(|rules| rules.redirect_graph());
        graph.is_some_and(|graph| graph.leads(start, end))
    }
}

fn to_slash(entry: &NegativeEntry, path: &[u8], request: &PathRequest<'_, '_, '_>) -> Response {
    match &entry.redirect {
        Some(redirect) if request.query.is_none() && path == request.path => redirect.clone(),
        _ => pages::redirect_to_slash(request.path, request.query),
    }
}
