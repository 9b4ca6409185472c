//! Clients that were not written for this server, with pauses placed where an idle close hurts.
//!
//! Each trial ([`trial`]) runs the real binary with T = 3 s and grace = 2 s and lets one client send
//! more than 1,000 requests over many connections, with pauses around the client's own edge, around
//! T and around T + grace. The table in the README says which clients honour the hint: those must not
//! lose one request. What the others lose is printed, and they must lose nothing within T.
//!
//! `cargo test --test foreign real_clients -- --ignored --nocapture` prints a line for each trial. `.ci/run`
//! installs what the clients need; a test whose client is missing fails.

mod edges;
mod trial;

mod chromium;
mod curl;
mod go;
mod java;
mod load_tools;
mod node;
mod python;
mod rust;
mod scripts;
