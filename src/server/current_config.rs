//! The configuration in force. A reload replaces it as a whole.
//!
//! Each thread that runs turns keeps a reference to the configuration in force, and compares one number at the
//! start of each turn. So a turn sees one configuration from its start to its end, and costs one load.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::access_log::AccessLog;
use crate::config::ListenAddress;
use crate::connection::server_context::ServerContext;

/// A configuration, and what was opened from it.
#[derive(Debug)]
pub struct ActiveConfig {
    /// The settings and the sites.
    pub context: Arc<ServerContext>,
    /// The access log, if there is one.
    pub access_log: Option<Arc<AccessLog>>,
    /// The number of reloads before.
    number: u64,
}

/// The place of the configuration in force.
#[derive(Debug)]
pub struct CurrentConfig {
    /// The number of `active`.
    number: AtomicU64,
    active: Mutex<Arc<ActiveConfig>>,
    /// The addresses in use, with real ports.
    addresses: Mutex<Vec<ListenAddress>>,
    /// Lines that access logs have dropped which are closed now.
    dropped_lines: AtomicU64,
}

impl CurrentConfig {
    /// The place with its first configuration.
    #[must_use]
    pub fn new(context: Arc<ServerContext>, access_log: Option<Arc<AccessLog>>) -> CurrentConfig {
        CurrentConfig {
            number: AtomicU64::new(0),
            active: Mutex::new(Arc::new(ActiveConfig {
                context,
                access_log,
                number: 0,
            })),
            addresses: Mutex::default(),
            dropped_lines: AtomicU64::new(0),
        }
    }

    /// The configuration in force.
    #[must_use]
    pub fn get(&self) -> Arc<ActiveConfig> {
        Arc::clone(&self.lock())
    }

    /// Whether `active` is in force. This is one load.
    #[must_use]
    #[inline]
    pub fn is(&self, active: &ActiveConfig) -> bool {
        // Relaxed: a thread may see the change one turn late.
        self.number.load(Ordering::Relaxed) == active.number
    }

    /// Puts another configuration in force. Returns the one that it replaces.
    pub fn replace(
        &self,
        context: Arc<ServerContext>,
        access_log: Option<Arc<AccessLog>>,
    ) -> Arc<ActiveConfig> {
        let mut active = self.lock();
        let number = active.number + 1;
        let next = Arc::new(ActiveConfig {
            context,
            access_log,
            number,
        });
        let replaced = std::mem::replace(&mut *active, next);
        self.number.store(number, Ordering::Relaxed);
        replaced
    }

    /// The addresses in use, with port 0 replaced by the real port.
    #[must_use]
    pub fn addresses(&self) -> Vec<ListenAddress> {
        let addresses = self.addresses.lock();
        addresses.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes the addresses in use.
    pub fn set_addresses(&self, addresses: Vec<ListenAddress>) {
        let mut noted = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *noted = addresses;
    }

    /// Notes that an access log was closed, which had dropped so many lines.
    pub fn note_closed_log(&self, dropped_lines: u64) {
        self.dropped_lines
            .fetch_add(dropped_lines, Ordering::Relaxed);
    }

    /// The lines that all access logs have dropped since the start.
    #[must_use]
    pub fn dropped_lines(&self) -> u64 {
        let open = self.get().access_log.clone();
        let of_open = open.map_or(0, |access_log| access_log.lines_dropped());
        self.dropped_lines.load(Ordering::Relaxed) + of_open
    }

    fn lock(&self) -> MutexGuard<'_, Arc<ActiveConfig>> {
        // No code panics while it holds this lock.
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
