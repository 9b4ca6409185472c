//! Compresses large files in the background.
//!
//! A worker that compressed a large file would delay the connections behind it. So it answers with the
//! uncompressed file and places an order here; later requests get the variant. One thread of low
//! priority takes the orders. The first order starts it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;

use crossbeam_channel::{Receiver, Sender};

use super::cache::{FileCache, FileEntry};
use crate::http::accept_encoding::Coding;
use crate::site::content::Representation;

/// The largest number of orders that wait. If there is no room, the next request for the file places its
/// order again.
const MAX_ORDERS: usize = 64;

/// Added to the nice value, so that every other thread goes first.
const NICE: i32 = 10;

/// An order to compress a file. It holds no strong reference: if the cache has dropped the file
/// meanwhile, the order is void.
#[derive(Debug)]
pub struct CompressionOrder {
    cache: Weak<FileCache>,
    entry: Weak<FileEntry>,
    coding: Coding,
}

impl CompressionOrder {
    /// An order for the variant in `coding` of `entry`, which `cache` holds.
    #[must_use]
    pub fn new(cache: &Arc<FileCache>, entry: &Arc<FileEntry>, coding: Coding) -> CompressionOrder {
        CompressionOrder {
            cache: Arc::downgrade(cache),
            entry: Arc::downgrade(entry),
            coding,
        }
    }

    fn carry_out(&self) {
        self.fill(|entry| entry.compress(self.coding));
    }

    /// Marks the variant as one that does not exist.
    fn give_up(&self) {
        self.fill(|_| None);
    }

    fn fill(&self, make: impl FnOnce(&FileEntry) -> Option<Representation>) {
        if let (Some(cache), Some(entry)) = (self.cache.upgrade(), self.entry.upgrade()) {
            cache.fill(&entry, self.coding, || make(&entry));
        }
    }
}

/// The queue of the compressing thread. When it is dropped, the thread ends after its current order.
#[derive(Debug, Default)]
pub struct Compressor {
    /// `None` if the thread could not be started.
    orders: OnceLock<Option<Sender<CompressionOrder>>>,
}

impl Compressor {
    /// A compressor whose thread has not been started.
    #[must_use]
    pub fn new() -> Compressor {
        Compressor::default()
    }

    /// Places an order. Never waits; false if too many orders wait already.
    #[must_use]
    pub fn place(&self, order: CompressionOrder) -> bool {
        match self.orders.get_or_init(start) {
            Some(orders) => orders.try_send(order).is_ok(),
            None => false,
        }
    }
}

fn start() -> Option<Sender<CompressionOrder>> {
    let (sender, orders) = crossbeam_channel::bounded(MAX_ORDERS);
    let thread = thread::Builder::new().name("compressor".to_owned());
    match thread.spawn(move || take_orders(&orders)) {
        Ok(_) => Some(sender),
        Err(error) => {
            log::error!("no thread to compress large files: {error}; they are sent as they are");
            None
        }
    }
}

/// Carries out orders until the compressor is dropped. Orders left then are void, as their site is gone.
fn take_orders(orders: &Receiver<CompressionOrder>) {
    lower_priority();
    for order in orders {
        if catch_unwind(AssertUnwindSafe(|| order.carry_out())).is_err() {
            // The panic hook has printed the place. From now on the file is sent uncompressed.
            log::error!("a compression panicked; the others go on");
            order.give_up();
        }
    }
}

/// Lowers the priority of the calling thread below that of all others.
pub(super) fn lower_priority() {
    // On Linux this applies to the calling thread alone, although POSIX says the process.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        log::debug!("a thread for work in the background keeps its priority: {error}");
    }
}
