//! The limits on connections and requests: in the whole server ([`occupancy`]), for each address
//! ([`per_ip`]), and for each client behind a trusted proxy ([`guests`]). Clients are counted by address
//! or network ([`client_network`]).

pub mod client_network;
pub mod guests;
pub mod occupancy;
pub mod per_ip;
