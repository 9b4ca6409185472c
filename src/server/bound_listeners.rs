//! The listening sockets of a server that has not started. Connections wait in their queues until the server runs.

use std::io;

use super::listener::{Inherited, Listener};
use super::start_error::StartError;
use super::tokens::MAX_LISTENERS;
use crate::config::{Config, ListenAddress, is_reachable};

/// The listening sockets of a server that has not started.
#[derive(Debug)]
pub struct BoundListeners {
    /// For each address, one for each event loop.
    pub(super) by_address: Vec<Vec<Listener>>,
    /// Whether the sockets come from the process that started this one.
    pub(super) are_inherited: bool,
    pub(super) is_process: bool,
    pub(super) is_admin_inherited: bool,
    admin: Option<Listener>,
}

impl BoundListeners {
    /// Listens on the addresses of `config`, and starts no thread.
    ///
    /// `is_process` says that the server is the whole process. It then takes over the sockets that it was started
    /// with (LISTEN_FDS); if there are any for clients, it listens on no others for these. SIGTERM drains it, SIGINT
    /// stops it within two seconds, and a second SIGINT exits at once with status 1
    /// ([`interrupt`](super::interrupt)).
    ///
    /// # Errors
    /// [`StartError`] says which address failed and why.
    pub fn bind(config: &Config, is_process: bool) -> Result<BoundListeners, StartError> {
        let inherited = match is_process {
            true => inherited(config)?,
            false => Inherited::default(),
        };
        let is_admin_inherited = inherited.admin.is_some();
        let admin = match (inherited.admin, &config.admin.listen) {
            (Some(admin), _) if is_reachable(&admin.address) && !config.admin.public => {
                return Err(StartError::new(format!(
                    "LISTEN_FDNAMES: the admin listener is at {}, which other machines can reach, so it needs \
                     admin.public = true",
                    admin.address
                )));
            }
            (Some(admin), _) => Some(admin),
            // Bound before the others, so that no client is accepted if the address is in use.
            (None, Some(address)) if is_process => {
                let what = format!("admin.listen: cannot listen on {}", address.url());
                Some(Listener::bind(address, config).map_err(StartError::because(what))?)
            }
            (None, _) => None,
        };
        let are_inherited = !inherited.for_clients.is_empty();
        let by_address = match are_inherited {
            true => split(inherited.for_clients, config.event_loops)?,
            false => bound(config)?,
        };
        Ok(BoundListeners {
            by_address,
            are_inherited,
            is_process,
            is_admin_inherited,
            admin,
        })
    }

    /// Takes the admin listener out, if there is one.
    pub fn take_admin(&mut self) -> Option<Listener> {
        self.admin.take()
    }
}

fn inherited(config: &Config) -> Result<Inherited, StartError> {
    let inherited = Listener::inherited(config).map_err(StartError::because(TAKE_OVER))?;
    if inherited.for_clients.len() > MAX_LISTENERS {
        return Err(StartError::new(format!(
            "LISTEN_FDS: at most {MAX_LISTENERS} sockets are possible"
        )));
    }
    Ok(inherited)
}

/// Beginning of the error message if a socket of the parent process cannot be used.
const TAKE_OVER: &str = "LISTEN_FDS: cannot take over the sockets";

/// Duplicates each of the `listeners` for the event loops. The parent process has decided whether the sockets
/// share their ports.
fn split(listeners: Vec<Listener>, event_loops: usize) -> Result<Vec<Vec<Listener>>, StartError> {
    let listeners = listeners.into_iter();
    let split = listeners.map(|listener| listener.split(event_loops));
    let split: io::Result<_> = split.collect();
    split.map_err(StartError::because(TAKE_OVER))
}

/// Binds the addresses of `config`, for each event loop.
fn bound(config: &Config) -> Result<Vec<Vec<Listener>>, StartError> {
    if config.listen.len() > MAX_LISTENERS {
        return Err(StartError::new(format!(
            "listen: at most {MAX_LISTENERS} addresses are possible"
        )));
    }
    let bind = |address: &ListenAddress| {
        let what = format!("cannot listen on {}", address.url());
        Listener::bind_for(config.event_loops, address, config).map_err(StartError::because(what))
    };
    config.listen.iter().map(bind).collect()
}
