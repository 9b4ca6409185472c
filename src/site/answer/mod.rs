//! The answer to a request: which site it is for ([`Sites`]), and the one way from a request to a response
//! there ([`Site`]).

mod addresses;
mod health;
mod partial;
mod respond;
mod sites;
#[cfg(test)]
mod tests;

pub use sites::{Site, Sites};
