//! Judges forms that lie beside a file and are not younger than it: each is decoded once and used if it
//! gives the file's content.
//!
//! A request that meets such a form places an order here, and is answered without it. The verdict is kept
//! with the [forms](super::encoded_variants) of the cached file and beyond them ([`verdicts`](super::verdicts)), so it
//! lasts until one of the two files changes.
//!
//! One thread of low priority takes the orders for each device, and is started with the first one. A
//! disk that hangs so holds up no form on another, and no compression. An order takes half a second at
//! most while the disk answers ([`MAX_JUDGED_BYTES`](crate::site::content::MAX_JUDGED_BYTES)).

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
use crate::site::content::{Content, Expected, VariantVerdict, Verdicts, compare};
use crate::site::disk::{Identity, Resolver, RootDirectory};

/// Orders that may wait for one thread. One that finds no room is placed again by the next request for
/// its file.
const MAX_ORDERS: usize = 256;

/// Devices with a thread of their own. The forms on all others share one.
const MAX_DEVICES: usize = 16;

/// Stands for all other devices.
const OTHERS: u64 = u64::MAX;

/// A form to be judged. An order keeps no file alive: if its file has been dropped from the cache when
/// its turn comes, nobody needs the verdict.
#[derive(Debug)]
pub struct VerificationOrder {
    /// Holds the entry.
    pub cache: Weak<FileCache>,
    /// The file.
    pub entry: Weak<FileEntry>,
    /// The form's.
    pub coding: Coding,
    /// The directory that the form is below.
    pub root: Arc<RootDirectory>,
    /// Opens it.
    pub resolver: Arc<Resolver>,
    /// The forms of the site that the log has been told about.
    pub logged: Arc<LoggedNames>,
    /// Where the verdict is kept.
    pub verdicts: Arc<Verdicts>,
}

/// Settles a form when it is dropped, even by a panic, so that it does not stay unjudged for ever.
struct Settles<'f> {
    forms: &'f EncodedVariants,
    coding: Coding,
    is_used: bool,
}

impl Drop for Settles<'_> {
    fn drop(&mut self) {
        self.forms.settle(self.coding, self.is_used);
    }
}

impl VerificationOrder {
    fn carry_out(&self) {
        let (Some(cache), Some(entry)) = (self.cache.upgrade(), self.entry.upgrade()) else {
            return;
        };
        let Some(forms) = &entry.forms else { return };
        let sidecars = entry.sidecars.as_ref();
        let Some((path, seen)) = sidecars.and_then(|sidecars| sidecars.usable(self.coding)) else {
            return;
        };
        let mut verdict = Settles {
            forms,
            coding: self.coding,
            is_used: false,
        };
        let decoded = self.judge(&entry, path, seen);
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
            // The next request looks at both again.
            Ok(None) => cache.drop_stale(entry.key.site_path(), &entry),
            Err(error) => self.logged.warn(path, &format!("{error}: not sent")),
        }
    }

    /// Keeps the verdict on the form that was seen as `seen`, unless one of the two files was changed so
    /// shortly before that a further change might not show.
    fn remember(&self, entry: &FileEntry, seen: &Identity, decoded: VariantVerdict) {
        let original = entry.representation.identity();
        let sidecars = entry.sidecars.as_ref();
        let has_settled = sidecars.is_some_and(|sidecars| sidecars.has_settled(self.coding));
        if has_settled && entry.representation.is_current(original) {
            self.verdicts
                .remember(original, seen, decoded == VariantVerdict::Same);
        }
    }

    /// Compares the form at `path`, which was seen as `seen`, with its file. `None` if one of them has
    /// changed.
    fn judge(
        &self,
        entry: &FileEntry,
        path: &[u8],
        seen: &Identity,
    ) -> io::Result<Option<VariantVerdict>> {
        let Ok(form) = self.resolver.open(self.root.fd.as_fd(), path) else {
            return Ok(None);
        };
        let is_as_seen = |form: &File| Identity::of(form).map(|identity| identity == *seen);
        if !is_as_seen(&form)? {
            return Ok(None);
        }
        let content = &entry.representation.content;
        let original = match content {
            Content::Memory(bytes) => Expected::Memory(bytes),
            Content::MemfdBody(memfd_body) => Expected::Pages(&**memfd_body, memfd_body.len()),
            Content::Descriptor(file, len) => Expected::Pages(&**file, *len),
        };
        // The form may grow while it is read.
        let encoded = (&form).take(seen.size());
        let decoded = compare(self.coding, encoded, original);
        let is_same_file = match content {
            Content::Memory(_) | Content::MemfdBody(_) => true,
            Content::Descriptor(file, _) => {
                Identity::of(file.at(0).0)? == *entry.representation.identity()
            }
        };
        if !is_same_file || !is_as_seen(&form)? {
            return Ok(None);
        }
        decoded.map(Some)
    }
}

/// The way to the judging threads. Dropping it ends each, after what it is at.
#[derive(Debug, Default)]
pub struct SidecarVerifier {
    /// By device.
    threads: Mutex<HashMap<u64, Sender<VerificationOrder>>>,
}

impl SidecarVerifier {
    /// Places an order for a form on `device`. Never waits for a disk; false if too many orders wait
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
    let thread = thread::Builder::new().name("judge".to_owned());
    match thread.spawn(move || take_orders(&orders)) {
        Ok(_) => {
            threads.insert(device, sender.clone());
            Some(sender)
        }
        Err(error) => {
            log::error!("no thread to judge precompressed files: {error}; they wait");
            None
        }
    }
}

/// Until the judge is dropped. The orders that are left then have lost their site, and are void.
fn take_orders(orders: &Receiver<VerificationOrder>) {
    lower_priority();
    for order in orders {
        // The form is settled all the same.
        if catch_unwind(AssertUnwindSafe(|| order.carry_out())).is_err() {
            log::error!("a comparison of a precompressed file panicked; the others go on");
        }
    }
}
