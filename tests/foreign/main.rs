//! abide together with independent programs: proxies in front of it, clients, site generators, log
//! analysers, TLS scanners and an ACME authority.
//!
//! Most of these tests are ignored by default, because they need programs that `.ci/install` installs, or
//! take half a minute. A test whose program is missing fails. The relays are models of old proxies,
//! written here, and need no program.

mod admin;
mod curl;
mod lane;
mod log_analyser;
mod proxies;
mod real_clients;
mod real_sites;
mod relays;
mod rolling_restart;
mod site_tools;
mod tls;
