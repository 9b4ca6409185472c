//! Independent clients, with pauses that end close to an idle close.
//!
//! Each trial ([`trial`]) runs the real binary with T = 3 s and grace = 2 s. One client sends more than
//! 1,000 requests over many connections, with pauses around the client's own limit, around T and around
//! T + grace. The table in the README says which clients honour the hint: these must not lose any request.
//! The others must lose none within T, and their losses after T are printed.
//!
//! `cargo test --test foreign real_clients -- --ignored --nocapture` prints a line for each trial.
//! `.ci/install` installs what the clients need. A test whose client is missing fails.

pub mod trial;

mod edges;

mod chromium;
mod curl;
mod go;
mod java;
mod load_tools;
mod node;
mod over_tls;
mod python;
mod rust;
mod scripts;
