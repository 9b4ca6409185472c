//! The answer to a request: the site that it is for, and the one way from a request to a response there.

mod addresses;
pub mod health;
pub mod hosts;
pub mod methods;
pub mod partial;
pub mod respond;
pub mod site;
pub mod sites;
#[cfg(test)]
mod tests;

pub use site::Site;
pub use sites::Sites;
