//! Listings of directories without index.html: HTML for people, JSON for programs.
//!
//! A listing contains exactly the names that a GET would answer. It has no dot files (unless the site shows
//! them), no sockets or devices, and nothing that the server may not read. A link appears as its target, if
//! the site follows the link.
//!
//! The page is built completely before its first byte is sent, because its length must be in the head. One
//! job builds it in slices for all clients that request it at the same time (`builder`), and it is cached
//! for `cache.revalidate` (`cache`). Every step has a limit. At most `entries::MAX_ENTRIES` entries and
//! `entries::MAX_NAME_BYTES` of names are read: ordinary names make a page of 20 MB, the worst names 100
//! MB. All pages that are cached, being built and being sent together may hold `cache::MAX_HELD_BYTES`. If
//! there is no memory for the smallest page, the directory is not read.
//!
//! A client that accepts a coding waits until the page is compressed, which is part of the same job.
//!
//! - `entries`: reading the directory.
//! - `order`: the meaning of `?sort=`; `sorter`: sorting many entries in slices.
//! - `html`, `json`: the two formats.
//! - `builder`: the page; `encoder`: the page in a coding; `job`: both, one after the other.
//! - `quantity`: sizes and times as text.

mod builder;
mod cache;
mod encoder;
mod entries;
mod html;
mod job;
mod json;
mod listings;
mod order;
mod page;
mod quantity;
mod sorter;
#[cfg(test)]
mod tests;
mod variant;

pub use entries::ListedDirectory;
pub use listings::{ListingRequest, Listings, media_type};
