//! The answer to a request: which site it is for ([`Sites`]), and the one way from a request to a response
//! there ([`Site`]).

mod addresses;
mod health;
mod hosts;
mod methods;
mod partial;
mod respond;
mod site;
mod sites;
#[cfg(test)]
mod tests;

pub use site::Site;
pub use sites::Sites;
