//! The addresses on which the server listens, and how a reload changes them.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::listener::{Listener, ListenerId};
use super::shared::ListenerChange;
use super::socket_file;
use super::tokens::MAX_LISTENERS;
use crate::clock::Millis;
use crate::config::{Config, Endpoint, ListenAddress};

/// Seconds for the event loops to close a removed address, after the handshakes that have begun.
const RETIREMENT_SLACK_SECS: u32 = 1;

/// The time between two attempts to bind an address that was just removed.
const BIND_RETRY: Duration = Duration::from_millis(20);

/// The addresses on which the server listens. Addresses are compared as the configuration writes them, so port 0
/// keeps the port that it got.
#[derive(Debug)]
pub(super) struct OpenAddresses {
    /// `None` if the sockets come from the process that started the server.
    open: Option<Vec<OpenAddress>>,
    next_id: ListenerId,
    event_loops: usize,
    /// Removed addresses, and until when they may still be open.
    retiring: Vec<(Endpoint, Millis)>,
}

#[derive(Debug)]
struct OpenAddress {
    written: ListenAddress,
    /// The address with the real port.
    bound: ListenAddress,
    id: ListenerId,
}

/// The change of the listeners in each event loop, and its addresses for the operator.
#[derive(Debug)]
pub(super) struct AddressChange {
    /// For each event loop.
    pub(super) of_loops: Vec<ListenerChange>,
    /// All addresses that are in use then, with real ports; `None` if they cannot change.
    pub(super) addresses: Option<Vec<ListenAddress>>,
    pub(super) added: Vec<String>,
    pub(super) removed: Vec<String>,
}

impl OpenAddress {
    /// Whether `endpoint` is this address. Each listener at port 0 has a port of its own.
    fn is_at(&self, endpoint: &Endpoint) -> bool {
        let picks_port = matches!(endpoint, Endpoint::Tcp(address) if address.port() == 0);
        self.written.endpoint == *endpoint && !picks_port
    }

    fn unix_path(&self) -> Option<&Path> {
        match &self.written.endpoint {
            Endpoint::Unix(path) => Some(path),
            Endpoint::Tcp(_) => None,
        }
    }
}

impl OpenAddresses {
    /// The addresses of `config`; the listeners of each are numbered from 0 in this order. `bound` are the same
    /// addresses with their real ports.
    pub(super) fn of_config(config: &Config, bound: &[ListenAddress]) -> OpenAddresses {
        let addresses = config.listen.iter().zip(bound);
        let open = addresses
            .zip(0..)
            .map(|((written, bound), id)| OpenAddress {
                written: written.clone(),
                bound: bound.clone(),
                id,
            });
        OpenAddresses {
            next_id: bound.len() as ListenerId,
            open: Some(open.collect()),
            event_loops: config.event_loops,
            retiring: Vec::new(),
        }
    }

    /// Sockets of the process that started the server, which decides on the addresses.
    pub(super) fn inherited(event_loops: usize) -> OpenAddresses {
        OpenAddresses {
            open: None,
            next_id: 0,
            event_loops,
            retiring: Vec::new(),
        }
    }

    /// Whether the sockets come from the process that started the server.
    pub(super) fn are_inherited(&self) -> bool {
        self.open.is_none()
    }

    /// Binds the addresses of `config` that are not open yet, and forgets those that it does not name. Unix sockets
    /// that stay open get the group and the permissions of `config`.
    ///
    /// # Errors
    /// A sentence with the address that cannot be bound or changed. Then nothing has changed.
    pub(super) fn change_to(
        &mut self,
        config: &Config,
        now: Millis,
    ) -> Result<AddressChange, String> {
        self.retiring.retain(|(_, until)| now < *until);
        let mut change = AddressChange {
            of_loops: (0..self.event_loops)
                .map(|_| ListenerChange::default())
                .collect(),
            addresses: None,
            added: Vec::new(),
            removed: Vec::new(),
        };
        let Some(open) = &mut self.open else {
            return Ok(change);
        };
        let mut missing = config.listen.clone();
        let is_named = |address: &OpenAddress, missing: &mut Vec<ListenAddress>| {
            let at = missing.iter().position(|named| *named == address.written);
            at.map(|at| missing.remove(at)).is_some()
        };
        let is_kept: Vec<bool> = open
            .iter()
            .map(|address| is_named(address, &mut missing))
            .collect();
        let added = bind_all(missing, open, &self.retiring, config)?;
        let kept = open.iter().zip(&is_kept).filter(|(_, is_kept)| **is_kept);
        let kept: Vec<&Path> = kept.filter_map(|(open, _)| open.unix_path()).collect();
        socket_file::change_access(&kept, config)?;
        // All are bound now, so that a refused reload has not listened for a moment.
        for (written, listeners) in &added {
            let listened = listeners.iter().try_for_each(Listener::listen);
            listened.map_err(|error| why_not(written, &error))?;
        }
        // From here on nothing fails.
        let retired_at = now.plus_secs(config.shutdown.handshakes_secs + RETIREMENT_SLACK_SECS);
        let mut is_kept = is_kept.into_iter();
        open.retain(|address| {
            let keeps = is_kept.next().unwrap_or(true);
            if !keeps {
                change.removed.push(address.bound.url());
                let retiring = (address.bound.endpoint.clone(), retired_at);
                self.retiring.push(retiring);
                let removed = change.of_loops.iter_mut();
                removed.for_each(|of_loop| of_loop.removed.push(address.id));
            }
            keeps
        });
        for (written, listeners) in added {
            let id = self.next_id;
            self.next_id += 1;
            let first = listeners.first().map(|first| &first.address);
            let bound = first.unwrap_or(&written).clone();
            for (of_loop, listener) in change.of_loops.iter_mut().zip(listeners) {
                of_loop.added.push((id, listener));
            }
            change.added.push(bound.url());
            open.push(OpenAddress { written, bound, id });
        }
        let bound = open.iter().map(|address| address.bound.clone());
        change.addresses = Some(bound.collect());
        Ok(change)
    }
}

/// Binds the addresses that are `missing` beside those that are `open`. Removed addresses may be open until
/// the times in `retiring`.
fn bind_all(
    missing: Vec<ListenAddress>,
    open: &[OpenAddress],
    retiring: &[(Endpoint, Millis)],
    config: &Config,
) -> Result<Vec<(ListenAddress, Vec<Listener>)>, String> {
    if open.len() + missing.len() + retiring.len() > MAX_LISTENERS {
        return Err(format!(
            "at most {MAX_LISTENERS} addresses are possible, old and new ones together"
        ));
    }
    let mut added = Vec::new();
    for written in missing {
        let same = open.iter().find(|address| address.is_at(&written.endpoint));
        if let Some(same) = same {
            return Err(format!(
                "{written} is open as {}: another protocol at the same address needs a restart",
                same.written
            ));
        }
        let is_same = |(other, _): &(Endpoint, Millis)| *other == written.endpoint;
        let listeners = bind(&written, config, retiring.iter().any(is_same));
        let listeners = listeners.map_err(|error| why_not(&written, &error))?;
        added.push((written, listeners));
    }
    Ok(added)
}

/// Binds listeners at `address`. If it `is_retiring` the server may still be open there, and is waited for.
fn bind(address: &ListenAddress, config: &Config, is_retiring: bool) -> io::Result<Vec<Listener>> {
    let secs = config.shutdown.handshakes_secs + RETIREMENT_SLACK_SECS;
    let most = match is_retiring {
        true => u64::from(secs) * 1000 / BIND_RETRY.as_millis() as u64,
        false => 0,
    };
    for _ in 0..most {
        match Listener::bound_for(config.event_loops, address, config) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                // A pause: the channel of `after` has one message, at its time.
                let _ = crossbeam_channel::after(BIND_RETRY).recv();
            }
            result => return result,
        }
    }
    Listener::bound_for(config.event_loops, address, config)
}

/// Why the server cannot listen at `address`.
fn why_not(address: &ListenAddress, error: &io::Error) -> String {
    let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
    let reason = match is_denied && address.tcp_address().is_some() {
        true => "; a port that needs the rights of the start needs a restart",
        false => "",
    };
    format!("cannot listen on {}: {error}{reason}", address.url())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(listen: &[&str]) -> Config {
        let listen = listen.iter().map(|text| text.parse().unwrap());
        Config {
            listen: listen.collect(),
            event_loops: 2,
            ..Config::default()
        }
    }

    fn opened(listen: &[&str]) -> OpenAddresses {
        let config = config(listen);
        let mut addresses = OpenAddresses::of_config(&config, &[]);
        addresses.change_to(&config, Millis(0)).unwrap();
        addresses
    }

    #[test]
    fn an_address_that_stays_is_not_bound_again() {
        let mut addresses = opened(&["127.0.0.1:0", "127.0.0.1:0", "[::1]:0"]);
        let change = addresses
            .change_to(&config(&["[::1]:0", "127.0.0.1:0"]), Millis(0))
            .unwrap();
        assert!(change.added.is_empty());
        assert_eq!(change.removed.len(), 1);
        assert!(change.of_loops.iter().all(|of_loop| of_loop.removed == [1]));
        let change = addresses
            .change_to(&config(&["[::1]:0", "127.0.0.2:0"]), Millis(0))
            .unwrap();
        assert_eq!((change.added.len(), change.removed.len()), (1, 1));
        for of_loop in &change.of_loops {
            assert_eq!(of_loop.removed, [0]);
            assert_eq!(of_loop.added[0].0, 3, "numbers are not used again");
        }
    }

    #[test]
    fn another_protocol_at_the_same_address_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("abide.sock");
        let address = |scheme: &str| format!("{scheme}{}", path.display());
        let mut addresses = opened(&["127.0.0.1:0", &address("unix:")]);
        let change = addresses.change_to(
            &config(&["127.0.0.1:0", &address("proxy+unix:")]),
            Millis(0),
        );
        let error = change.unwrap_err();
        assert!(error.contains("needs a restart"), "{error}");
    }

    #[test]
    fn a_port_in_use_changes_nothing() {
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = other.local_addr().unwrap().to_string();
        let mut addresses = opened(&["127.0.0.1:0"]);
        let error = addresses.change_to(&config(&["127.0.0.2:0", &taken]), Millis(0));
        assert!(
            error
                .unwrap_err()
                .starts_with(&format!("cannot listen on http://{taken}: "))
        );
        let change = addresses
            .change_to(&config(&["127.0.0.1:0"]), Millis(0))
            .unwrap();
        assert!(change.added.is_empty() && change.removed.is_empty());
    }
}
