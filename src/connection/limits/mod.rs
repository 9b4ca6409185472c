//! The limits on connections and requests: in the whole server ([`connection_gauge`]), for each address
//! ([`per_ip`]), and for each client behind a trusted proxy ([`requests_per_client`]). Clients are counted by address
//! or network ([`client_network`]).

pub mod client_network;
pub mod connection_gauge;
pub mod per_ip;
pub mod requests_per_client;
