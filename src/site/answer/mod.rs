//! From a request to its response: [`Sites`] selects the site, and [`Site`] makes the response.

mod canonical;
mod health;
mod partial;
mod respond;
mod sites;
#[cfg(test)]
mod tests;

pub use sites::{OpenSiteError, Site, Sites};
