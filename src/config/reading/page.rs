//! Paths of pages, as several keys and tables take them.

use crate::config::pattern::flaw_of_path;

/// The key for applications of one page, which can be a text or tables.
pub(super) const SPA: &str = "spa";

/// The path of a page of the site; `None` for an empty text.
pub(super) fn page(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let flaw = match flaw_of_path(text) {
        None if text.ends_with('/') => Some("it must name a file, not a directory"),
        flaw => flaw,
    };
    match flaw {
        Some(flaw) => Err(format!("{text:?} is no page, {flaw}")),
        None => Ok(Some(text.to_owned())),
    }
}
