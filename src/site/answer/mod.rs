//! The answer to a request: the site that it is for, and the one way from a request to a response there.

pub mod health;
pub mod hosts;
pub mod methods;
pub mod partial;
pub mod respond;
pub mod sites;
