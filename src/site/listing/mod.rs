//! What is in a directory that has no index.html: a page for people, JSON for programs.
//!
//! A listing names what a GET would answer and nothing else: no dot files unless the site shows
//! them, no sockets or devices, nothing that the server may not read, and a link as what it leads to,
//! if it may be followed.
//!
//! The page is made whole before the first byte is sent, because its exact length must be in its head:
//! once for all who ask for it, in slices (`making`), and it is kept for those who ask within
//! `cache.revalidate` (`kept`). Every step is bounded: `entries::MAX_ENTRIES` entries and
//! `entries::MAX_NAME_BYTES` of names are read, which make a page of 20 MB if the names are
//! ordinary and 100 MB at worst, and all pages that are kept, made and sent may together hold
//! `kept::MAX_HELD_BYTES`. If there is not even room for the smallest page, the directory is not read.
//!
//! A client that accepts a coding waits until the page is compressed, which is part of the same job.
//!
//! - `entries`: reading the directory.
//! - `order`: what `?sort=` means; `sorting`: putting many entries in order.
//! - `html`, `json`: the two forms.
//! - `making`, `encoding`: the page, and the page in a coding; `preparing`: both, one after the other.
//! - `quantity`: sizes and times, for people and for programs.

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
