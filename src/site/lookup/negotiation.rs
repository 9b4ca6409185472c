//! Content negotiation: the representation of a file in the coding that its client prefers.

use std::sync::Arc;

use super::loading::VariantLoadJob;
use super::opening::Lookup;
use crate::clock::Now;
use crate::http::accept_encoding::{
    AcceptedCodings, Coding, accepted_codings, codings_without_identity,
};
use crate::http::request::RequestHead;
use crate::site::content::{Representation, sidecar_path};
use crate::site::memory::{
    CompressionOrder, EncodedVariants, FileEntry, LookupResult, OriginalState, VariantState,
    VerificationOrder,
};
use crate::site::waiting::{FirstSlice, MayBlock, UnboundedSlice, WouldBlock};

/// The largest file that is compressed while its client waits, in bytes. Brotli, the slowest, was
/// measured to take 0.7 ms for it, and 6 ms for the 256 KiB that the cache keeps of a file by default.
const QUICK_BYTES: u64 = 32 * 1024;

/// A file that may have encoded variants.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileWithVariants<'e> {
    pub(super) entry: &'e Arc<FileEntry>,
    pub(super) variants: &'e EncodedVariants,
}

impl Lookup {
    /// The representation of a file that the client of `head` prefers (RFC 9110 section 12.5.3). `None`
    /// if the file exists in codings only, and the client accepts none of them.
    ///
    /// # Errors
    /// [`WouldBlock`] if a variant must be read, made or verified first and `may_block` excludes that,
    /// or if another thread is reading it.
    #[inline]
    pub fn preferred<'e>(
        &self,
        entry: &'e Arc<FileEntry>,
        head: &RequestHead<'_, '_>,
        may_block: MayBlock,
        now: Now,
    ) -> Result<Option<&'e Representation>, WouldBlock> {
        let Some(variants) = &entry.variants else {
            return Ok(Some(&entry.representation));
        };
        let file = FileWithVariants { entry, variants };
        if entry.original == OriginalState::Missing {
            return self.only_variant(file, head, may_block, now);
        }
        // Without the field any coding is acceptable, but such a client may be unable to decode one.
        if !head.has_accept_encoding {
            return Ok(Some(&entry.representation));
        }
        let accepted = accepted_codings(head);
        let variant = self.negotiate(file, accepted, may_block, now)?;
        Ok(Some(variant.unwrap_or(&entry.representation)))
    }

    #[cold]
    fn only_variant<'e>(
        &self,
        file: FileWithVariants<'e>,
        head: &RequestHead<'_, '_>,
        may_block: MayBlock,
        now: Now,
    ) -> Result<Option<&'e Representation>, WouldBlock> {
        let accepted = codings_without_identity(&head.fields);
        self.negotiate(file, accepted, may_block, now)
    }

    /// The variant for a client that accepts these codings: the first in its order that exists or can be
    /// made. `None` if that is the file itself. While the first variant of a large file is being made or
    /// verified, the client gets another variant that is ready, or the file as it is. A small file is
    /// compressed at once, also while its sidecar is being verified.
    ///
    /// # Errors
    /// As [`preferred`](Lookup::preferred).
    pub(super) fn negotiate<'e>(
        &self,
        file: FileWithVariants<'e>,
        accepted: AcceptedCodings,
        may_block: MayBlock,
        now: Now,
    ) -> Result<Option<&'e Representation>, WouldBlock> {
        let FileWithVariants { entry, variants } = file;
        let is_large = entry.representation.content.len() > QUICK_BYTES;
        let mut is_awaited = false;
        for &coding in accepted.compressed() {
            let variant = match variants.state(coding) {
                VariantState::Ready(variant) => Some(variant),
                VariantState::None => None,
                VariantState::Sidecar => {
                    may_block.disk()?;
                    if let Some(name) = sidecar_path(&entry.path, coding) {
                        self.check_scope(&name, may_block)?;
                    }
                    self.fetch_sidecar(entry, variants, coding, now)?
                }
                // A better variant is on its way, so this one is neither made nor verified.
                _ if is_awaited => None,
                VariantState::Unverified => {
                    may_block.disk()?;
                    self.order_verification(entry, variants, coding);
                    is_awaited = is_large;
                    self.make_meanwhile(entry, coding)
                }
                VariantState::Verifying { .. } if is_large => {
                    is_awaited = true;
                    None
                }
                VariantState::Verifying { can_be_made: false } => None,
                VariantState::Verifying { can_be_made: true } => {
                    may_block.disk()?;
                    self.make_meanwhile(entry, coding)
                }
                VariantState::Possible if is_large => {
                    may_block.disk()?;
                    self.order(entry, variants, coding);
                    is_awaited = true;
                    None
                }
                VariantState::Possible => {
                    may_block.disk()?;
                    self.fill(entry, variants, coding, || entry.compress(coding))
                }
                VariantState::Ordered => {
                    is_awaited = true;
                    None
                }
            };
            if variant.is_some() {
                return Ok(variant);
            }
        }
        Ok(None)
    }

    fn fill<'e>(
        &self,
        entry: &'e Arc<FileEntry>,
        variants: &'e EncodedVariants,
        coding: Coding,
        make: impl FnOnce() -> Option<Representation>,
    ) -> Option<&'e Representation> {
        match &self.memory {
            Some(memory) => memory.files.fill(entry, coding, make),
            None => variants.fill(coding, make).0,
        }
    }

    /// Compresses a small file whose sidecar is being verified.
    fn make_meanwhile<'e>(
        &self,
        entry: &'e Arc<FileEntry>,
        coding: Coding,
    ) -> Option<&'e Representation> {
        let is_small = entry.representation.content.len() <= QUICK_BYTES;
        let memory = self.memory.as_ref().filter(|_| is_small)?;
        memory
            .files
            .fill_meanwhile(entry, coding, || entry.compress(coding))
    }

    /// Orders a variant, unless it has been ordered already.
    fn order(&self, entry: &Arc<FileEntry>, variants: &EncodedVariants, coding: Coding) {
        let Some(memory) = &self.memory else {
            return;
        };
        if variants.claim_order(coding) {
            let order = CompressionOrder::new(&memory.files, entry, coding);
            if !memory.compressor.place(order) {
                variants.return_order(coding);
            }
        }
    }

    /// Orders the verification of a sidecar, unless it has been ordered already.
    pub(super) fn order_verification(
        &self,
        entry: &Arc<FileEntry>,
        variants: &EncodedVariants,
        coding: Coding,
    ) {
        let Some(memory) = &self.memory else {
            return;
        };
        let sidecars = entry.sidecars.as_ref();
        let Some(sidecar) = sidecars.and_then(|sidecars| sidecars.usable(coding)) else {
            return;
        };
        if !variants.claim_verification(coding) {
            return;
        }
        let order = VerificationOrder {
            cache: Arc::downgrade(&memory.files),
            entry: Arc::downgrade(entry),
            coding,
            root: self.root.directory(),
            resolver: Arc::clone(&self.resolver),
            logged: Arc::clone(&self.unused_sidecars),
            verdicts: Arc::clone(&memory.verdicts),
        };
        if !memory.sidecar_verifier.place(sidecar.device(), order) {
            variants.return_verification(coding);
        }
    }

    /// Reads a sidecar, unless another thread is reading it.
    fn fetch_sidecar<'e>(
        &self,
        entry: &'e Arc<FileEntry>,
        variants: &'e EncodedVariants,
        coding: Coding,
        now: Now,
    ) -> Result<Option<&'e Representation>, WouldBlock> {
        let Some(memory) = &self.memory else {
            let read = || {
                let mut load = self.begin_sidecar(entry, coding, now)?;
                load.go_on(&UnboundedSlice(now.monotonic))?
            };
            return Ok(variants.fill(coding, read).0);
        };
        let leader = match memory.flights.begin((entry.key.clone(), coding), |_| true) {
            Ok(leader) => leader,
            // If this entry does not have the variant, the flight was for another entry. Then the file
            // itself is sent.
            Err(flight) if flight.result::<LookupResult>().is_some() => {
                return Ok(variants.ready_in(coding));
            }
            Err(flight) => return Err(WouldBlock::InFlight(flight)),
        };
        let Some(mut load) = self.begin_sidecar(entry, coding, now) else {
            return Ok(memory.keep_variant(entry, coding, None));
        };
        if let Some(variant) = load.go_on(&FirstSlice::new(now.monotonic)) {
            return Ok(memory.keep_variant(entry, coding, variant));
        }
        let Some(permit) = memory.permits.take() else {
            return Ok(None);
        };
        // The request is repeated, and must meet the entry that has the variant by then.
        memory.files.admit(Arc::clone(entry));
        let memory = Arc::clone(memory);
        let job = VariantLoadJob { load, memory };
        Err(WouldBlock::InFlight(leader.leave(job, permit)))
    }
}
