//! Paths of pages, which several keys and tables accept.

use crate::config::pattern::flaw_of_path;

/// The key for single-page applications, which is a string or tables.
pub(super) const SPA: &str = "spa";

/// Parses the path of a page of the site; `None` for an empty text.
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
