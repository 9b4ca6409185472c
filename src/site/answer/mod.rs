//! From a request to its response: [`Sites`] selects the site, and [`Site`] makes the response.

mod canonical;
mod health;
mod https_redirect;
mod partial;
mod respond;
mod sites;
#[cfg(test)]
mod tests;
mod virtual_hosts;

pub use sites::{OpenSiteError, Site, Sites};
pub use virtual_hosts::{HostMatch, VirtualHosts};
