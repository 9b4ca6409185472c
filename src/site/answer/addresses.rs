//! The one address of what has several: a directory has a slash at its end, a page has neither a slash
//! nor its suffix if `clean_urls` is on.
//!
//! A redirect from here always leads to something. Where a redirect of the configuration would lead the
//! client back, the answer is given at once instead.

use super::sites::{Ask, Site};
use crate::config::{PAGE_SUFFIX, clean_form};
use crate::http::response::Response;
use crate::site::memory::{Found, NegativeEntry};
use crate::site::pages;
use crate::site::waiting::WouldBlock;

impl Site {
    /// From the name of a page to its address, if it has that page.
    pub(super) fn clean_redirect(
        &self,
        index: &[String],
        ask: &Ask<'_, '_, '_>,
    ) -> Result<Option<Response>, WouldBlock> {
        let Some(clean) = clean_form(ask.path, index).filter(|_| !self.is_hidden(ask.path)) else {
            return Ok(None);
        };
        let Found::File(entry) = self.files.find(clean, ask.may_block, ask.now)? else {
            return Ok(None);
        };
        let is_asked = match &ask.path[1..] {
            name if name.ends_with(PAGE_SUFFIX) => *entry.path == *name,
            // A file that is really called "index" comes before the page.
            name => {
                entry.path.strip_suffix(PAGE_SUFFIX) == Some(name)
                    && matches!(self.files.find(ask.path, ask.may_block, ask.now)?,
                        Found::File(asked) if asked.path == entry.path)
            }
        };
        Ok(is_asked.then(|| pages::redirect_to(clean, ask.query)))
    }

    /// Answers for a directory at `path`, which lacks the slash: the client is sent to the slash form,
    /// or gets what is there if that form of what it asked for leads elsewhere.
    pub(super) fn enter(
        &self,
        nothing: &NegativeEntry,
        path: &[u8],
        ask: &Ask<'_, '_, '_>,
    ) -> Result<Response, WouldBlock> {
        if self.has_slash_form(path, ask) {
            return Ok(to_slash(nothing, path, ask));
        }
        self.serve(&[path, b"/"].concat(), ask)
    }

    /// Whether the slash form of what was asked for is that of the directory at `path`.
    fn has_slash_form(&self, path: &[u8], ask: &Ask<'_, '_, '_>) -> bool {
        let Some(rules) = &self.rules else {
            return true;
        };
        if path == ask.path && rules.trail().is_none() {
            return true;
        }
        if ask.path.ends_with(b"/") {
            return false;
        }
        let asked = [ask.path, b"/"].concat();
        let is_rewritten_alike = || {
            let rewritten = rules.rewrite(&asked);
            rewritten.is_some_and(|rewritten| rewritten.strip_suffix(b"/") == Some(path))
        };
        (path == ask.path || is_rewritten_alike()) && !self.leads(&asked, ask.path)
    }

    /// Leads from `path`, if it has a slash at its end, to the page without it, if there is one.
    pub(super) fn without_slash(
        &self,
        path: &[u8],
        ask: &Ask<'_, '_, '_>,
    ) -> Result<Option<Response>, WouldBlock> {
        let page = match path {
            [b'/', name @ .., b'/'] if self.clean_urls.is_some() => &path[..=name.len()],
            _ => return Ok(None),
        };
        let is_page = match self.files.find(page, ask.may_block, ask.now)? {
            Found::File(entry) => entry.path.strip_suffix(PAGE_SUFFIX) == Some(&page[1..]),
            Found::NegativeEntry(_) => false,
        };
        if !is_page {
            return Ok(None);
        }
        if path == ask.path && !self.leads(page, ask.path) {
            return Ok(Some(pages::redirect_to(page, ask.query)));
        }
        self.serve(page, ask).map(Some)
    }

    /// Whether redirects of the configuration lead a client from `start` on to `end`.
    fn leads(&self, start: &[u8], end: &[u8]) -> bool {
        let trail = self.rules.as_ref().and_then(|rules| rules.trail());
        trail.is_some_and(|trail| trail.leads(start, end))
    }
}

/// From a directory to its slash form.
fn to_slash(nothing: &NegativeEntry, path: &[u8], ask: &Ask<'_, '_, '_>) -> Response {
    match &nothing.redirect {
        Some(redirect) if ask.query.is_none() && path == ask.path => redirect.clone(),
        _ => pages::redirect_to_slash(ask.path, ask.query),
    }
}
