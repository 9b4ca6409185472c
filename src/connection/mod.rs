//! One connection: its state table, its socket, and who owns it.

pub mod access_line;
pub mod c_calls;
pub mod client_network;
pub mod counters;
pub mod deadline;
pub mod desk;
pub mod guests;
pub mod journal;
pub mod occupancy;
pub mod output;
pub mod ownership;
pub mod pace;
pub mod service;
pub mod session;
pub mod transport;
