//! Compresses large files while nobody waits for it.
//!
//! A worker that compressed a large file would hold up the connections behind it. It answers with the
//! file as it is and places an order here; whoever asks after that gets the variant. One thread of low
//! priority takes the orders, and is started with the first one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;

use crossbeam_channel::{Receiver, Sender};

use super::cache::{FileCache, FileEntry};
use crate::http::accept_encoding::Coding;

/// Orders that may wait. One that finds no room is placed again by the next request for its file.
const MAX_ORDERS: usize = 64;

/// Added to the nice value: whatever else wants a processor comes first.
const NICE: i32 = 10;

/// A variant to be made. It keeps nothing alive: if its file has been dropped when its turn comes, nobody
/// needs it.
#[derive(Debug)]
pub struct CompressionOrder {
    cache: Weak<FileCache>,
    entry: Weak<FileEntry>,
    coding: Coding,
}

impl CompressionOrder {
    /// The variant in `coding` of `entry`, which `cache` keeps.
    #[must_use]
    pub fn new(cache: &Arc<FileCache>, entry: &Arc<FileEntry>, coding: Coding) -> CompressionOrder {
        CompressionOrder {
            cache: Arc::downgrade(cache),
            entry: Arc::downgrade(entry),
            coding,
        }
    }

    fn carry_out(&self) {
        if let (Some(cache), Some(entry)) = (self.cache.upgrade(), self.entry.upgrade()) {
            cache.fill(&entry, self.coding, || entry.compress(self.coding));
        }
    }

    /// There is to be no such variant.
    fn give_up(&self) {
        if let (Some(cache), Some(entry)) = (self.cache.upgrade(), self.entry.upgrade()) {
            cache.fill(&entry, self.coding, || None);
        }
    }
}

/// The way to the compressing thread. Dropping it ends the thread, after what it is at.
#[derive(Debug, Default)]
pub struct Compressor {
    /// `None` if the thread could not be started.
    orders: OnceLock<Option<Sender<CompressionOrder>>>,
}

impl Compressor {
    /// A compressor without a thread yet.
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

/// Until the compressor is dropped. The orders that are left then have lost their site, and are void.
fn take_orders(orders: &Receiver<CompressionOrder>) {
    lower_priority();
    for order in orders {
        if catch_unwind(AssertUnwindSafe(|| order.carry_out())).is_err() {
            // The panic hook has printed where. The file is sent as it is from now on.
            log::error!("a compression panicked; the others go on");
            order.give_up();
        }
    }
}

/// Lets everything else that wants a processor come before the calling thread.
pub(super) fn lower_priority() {
    // On Linux this is about the calling thread alone, whatever POSIX says of the process.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        log::debug!("a thread for work in the background keeps its priority: {error}");
    }
}
