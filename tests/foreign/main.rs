//! abide beside programs that were not written for it: proxies in front of it, clients, and the tools
//! that make a site or read a log.
//!
//! Most of these tests are ignored unless they are asked for, because they need programs that `.ci/run`
//! installs, or take half a minute. A test whose program is missing fails. The relays are models of
//! proxies of old, written here, and need nothing.

mod curl;
mod lane;
mod log_analyser;
mod proxies;
mod real_clients;
mod real_sites;
mod relays;
mod rolling_restart;
mod site_tools;
