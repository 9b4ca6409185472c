//! Verifies sidecars whose age does not prove that they match their file. Each is decoded once, and used
//! if it decodes to the content of the file.
//!
//! Such a sidecar is not newer than its file; with `etag = "content"` newer ones are verified too. A
//! request that meets one places an order here, and is answered without it. The verdict is kept with the
//! [variants](super::encoded_variants) of the cached file, and in [`VerdictCache`] after the file is
//! evicted. It is valid until one of the two files changes.
//!
//! Each device has a thread of low priority, which the first order starts. So a disk that hangs delays
//! neither sidecars on other devices nor compression. While the disk answers, an order takes half a
//! second at most ([`MAX_VERIFIED_BYTES`](crate::site::content::MAX_VERIFIED_BYTES)).

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;

use crossbeam_channel::{Receiver, Sender};

use super::cache::{FileCache, FileEntry};
use super::compressor::lower_priority;
use super::encoded_variants::EncodedVariants;
use super::logged_names::LoggedNames;
use crate::http::accept_encoding::Coding;
use crate::http::response::FileSource;
use crate::site::content::{
    Content, ExpectedContent, VariantVerdict, VerdictCache, compare, sidecar_path,
};
use crate::site::disk::{Identity, Resolver, RootDirectory};

/// The largest number of orders that wait for one thread. If there is no room, the next request for the
/// file places its order again.
const MAX_ORDERS: usize = 256;

/// The largest number of devices with their own thread. All other devices share one.
const MAX_DEVICES: usize = 16;

/// Stands for all other devices.
const OTHERS: u64 = u64::MAX;

/// An order to verify a sidecar. It holds no strong reference to the file: if the cache has dropped the
/// file meanwhile, the order is void.
#[derive(Debug)]
pub struct VerificationOrder {
    /// The cache that holds the entry.
    pub cache: Weak<FileCache>,
    /// The entry of the file.
    pub entry: Weak<FileEntry>,
    /// The coding of the sidecar.
    pub coding: Coding,
    /// The root directory of the sidecar.
    pub root: Arc<RootDirectory>,
    /// Opens the sidecar.
    pub resolver: Arc<Resolver>,
    /// The sidecars of the site that a warning has been logged for.
    pub logged: Arc<LoggedNames>,
    /// Keeps the verdict.
    pub verdicts: Arc<VerdictCache>,
}

/// Settles a variant when it is dropped, even by a panic, so that the variant does not stay unverified.
struct SettleOnDrop<'f> {
    variants: &'f EncodedVariants,
    coding: Coding,
    is_used: bool,
}

impl Drop for SettleOnDrop<'_> {
    fn drop(&mut self) {
        self.variants.settle(self.coding, self.is_used);
    }
}

impl VerificationOrder {
    fn carry_out(&self) {
        let (Some(cache), Some(entry)) = (self.cache.upgrade(), self.entry.upgrade()) else {
            return;
        };
        let sidecars = entry.sidecars.as_ref();
        let Some(variants) = &entry.variants else {
            return;
        };
        let seen = sidecars.and_then(|sidecars| sidecars.usable(self.coding));
        let (Some(seen), Some(path)) = (seen, sidecar_path(&entry.path, self.coding)) else {
            return;
        };
        let path = &path;
        let mut verdict = SettleOnDrop {
            variants,
            coding: self.coding,
            is_used: false,
        };
        let decoded = self.verify(&entry, path, seen);
        if let Ok(Some(decoded)) = decoded {
            self.remember(&entry, seen, decoded);
        }
        match decoded {
            Ok(Some(VariantVerdict::Same)) => {
                verdict.is_used = true;
                self.logged.forget(path);
            }
            Ok(Some(VariantVerdict::Other)) => self.logged.warn(
                path,
                "it has other content than the file that it lies beside: not sent",
            ),
            Ok(Some(VariantVerdict::Invalid)) => {
                self.logged.warn(path, "it cannot be decoded: not sent")
            }
            // The next request loads both anew.
            Ok(None) => cache.drop_stale(entry.key.site_path(), &entry),
            Err(error) => self.logged.warn(path, &format!("{error}: not sent")),
        }
    }

    /// Keeps the verdict on the sidecar that was seen as `seen`, unless one of the two files changed so
    /// recently that a further change might leave its identity the same.
    fn remember(&self, entry: &FileEntry, seen: &Identity, decoded: VariantVerdict) {
        let original = entry.representation.identity();
        let sidecars = entry.sidecars.as_ref();
        let has_settled = sidecars.is_some_and(|sidecars| sidecars.has_settled(self.coding));
        if has_settled && entry.representation.is_current(original) {
            self.verdicts
                .remember(original, seen, decoded == VariantVerdict::Same);
        }
    }

    /// Compares the sidecar at `path`, which was seen as `seen`, with its file. `None` if one of them
    /// has changed.
    fn verify(
        &self,
        entry: &FileEntry,
        path: &[u8],
        seen: &Identity,
    ) -> io::Result<Option<VariantVerdict>> {
        let Ok(sidecar) = self.resolver.open(self.root.fd.as_fd(), path) else {
            return Ok(None);
        };
        let is_as_seen = |sidecar: &File| Identity::of(sidecar).map(|identity| identity == *seen);
        if !is_as_seen(&sidecar)? {
            return Ok(None);
        }
        let content = &entry.representation.content;
        let original = match content {
            Content::Memory(bytes) => ExpectedContent::Memory(bytes),
            Content::MemfdBody(memfd_body) => {
                ExpectedContent::File(&**memfd_body, memfd_body.len())
            }
            Content::Descriptor(file, len) => ExpectedContent::File(&**file, *len),
        };
        // The sidecar may grow while it is read.
        let encoded = (&sidecar).take(seen.size());
        let decoded = compare(self.coding, encoded, original);
        let is_same_file = match content {
            Content::Memory(_) | Content::MemfdBody(_) => true,
            Content::Descriptor(file, _) => {
                Identity::of(file.at(0).0)? == *entry.representation.identity()
            }
        };
        if !is_same_file || !is_as_seen(&sidecar)? {
            return Ok(None);
        }
        decoded.map(Some)
    }
}

/// The queues of the verifying threads. When it is dropped, each thread ends after its current order.
#[derive(Debug, Default)]
pub struct SidecarVerifier {
    /// By device.
    threads: Mutex<HashMap<u64, Sender<VerificationOrder>>>,
}

impl SidecarVerifier {
    /// Places an order for a sidecar on `device`. Never waits for a disk; false if too many orders wait
    /// already.
    #[must_use]
    pub fn place(&self, device: u64, order: VerificationOrder) -> bool {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let has_own = threads.contains_key(&device) || threads.len() < MAX_DEVICES;
        let device = if has_own { device } else { OTHERS };
        let Some(orders) = threads
            .get(&device)
            .cloned()
            .or_else(|| start(device, &mut threads))
        else {
            return false;
        };
        orders.try_send(order).is_ok()
    }
}

fn start(
    device: u64,
    threads: &mut HashMap<u64, Sender<VerificationOrder>>,
) -> Option<Sender<VerificationOrder>> {
    let (sender, orders) = crossbeam_channel::bounded(MAX_ORDERS);
    let thread = thread::Builder::new().name("verifier".to_owned());
    match thread.spawn(move || take_orders(&orders)) {
        Ok(_) => {
            threads.insert(device, sender.clone());
            Some(sender)
        }
        Err(error) => {
            log::error!("no thread to verify precompressed files: {error}; they are not sent");
            None
        }
    }
}

/// Carries out orders until the verifier is dropped. Orders left then are void, as their site is gone.
fn take_orders(orders: &Receiver<VerificationOrder>) {
    lower_priority();
    for order in orders {
        // The guard has settled the variant nevertheless.
        if catch_unwind(AssertUnwindSafe(|| order.carry_out())).is_err() {
            log::error!("a comparison of a precompressed file panicked; the others go on");
        }
    }
}
