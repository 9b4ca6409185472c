//! A file in the coding that its client likes best.

use std::sync::Arc;

use super::loading::LoadVariantJob;
use super::opening::Lookup;
use crate::clock::Now;
use crate::http::accept_encoding::{
    AcceptedCodings, Coding, accepted_codings, codings_without_identity,
};
use crate::http::request::RequestHead;
use crate::site::content::Representation;
use crate::site::memory::{
    CompressionOrder, EncodedVariants, FileEntry, Found, Original, VariantState, VerificationOrder,
};
use crate::site::waiting::{FirstSlice, MayBlock, WholeSlice, WouldBlock};

/// The largest file that is compressed while its client waits, in bytes. Brotli, the slowest, was
/// measured to take 0.7 ms for it, and 6 ms for the 256 KiB that the cache keeps of a file by default.
const QUICK_BYTES: u64 = 32 * 1024;

/// A file that may have forms.
#[derive(Debug, Clone, Copy)]
pub(super) struct WithVariants<'e> {
    pub(super) entry: &'e Arc<FileEntry>,
    pub(super) forms: &'e EncodedVariants,
}

impl Lookup {
    /// The representation of a file that the client of `head` likes best (RFC 9110 section 12.5.3). `None`
    /// if the file is there in codings only, and the client accepts none of them.
    ///
    /// # Errors
    /// [`WouldBlock`] if a form has to be read, made or judged first and that is not in `may_block`, or another
    /// thread is reading it.
    #[inline]
    pub fn preferred<'e>(
        &self,
        entry: &'e Arc<FileEntry>,
        head: &RequestHead<'_, '_>,
        may_block: MayBlock,
        now: Now,
    ) -> Result<Option<&'e Representation>, WouldBlock> {
        let Some(forms) = &entry.forms else {
            return Ok(Some(&entry.representation));
        };
        if entry.original == Original::Missing {
            return self.only_form(WithVariants { entry, forms }, head, may_block, now);
        }
        // Without the field any coding would do, but who does not name one may know none.
        if !head.has_accept_encoding {
            return Ok(Some(&entry.representation));
        }
        let accepted = accepted_codings(&head.fields);
        let form = self.negotiate(WithVariants { entry, forms }, accepted, may_block, now)?;
        Ok(Some(form.unwrap_or(&entry.representation)))
    }

    #[cold]
    fn only_form<'e>(
        &self,
        file: WithVariants<'e>,
        head: &RequestHead<'_, '_>,
        may_block: MayBlock,
        now: Now,
    ) -> Result<Option<&'e Representation>, WouldBlock> {
        let accepted = codings_without_identity(&head.fields);
        self.negotiate(file, accepted, may_block, now)
    }

    /// The form of a file that a client with these codings is to get: the first that there is, or that can
    /// be made, in the client's order; `None` if that is the file itself. A large file is sent as it is, or in
    /// another form that is there, until the one that would be first has been made or judged. A small one
    /// is compressed while the form beside it is being judged.
    ///
    /// # Errors
    /// As [`preferred`](Lookup::preferred).
    pub(super) fn negotiate<'e>(
        &self,
        file: WithVariants<'e>,
        accepted: AcceptedCodings,
        may_block: MayBlock,
        now: Now,
    ) -> Result<Option<&'e Representation>, WouldBlock> {
        let WithVariants { entry, forms } = file;
        let is_large = entry.representation.content.len() > QUICK_BYTES;
        let mut is_awaited = false;
        for &coding in accepted.compressed() {
            let form = match forms.state(coding) {
                VariantState::Ready(form) => Some(form),
                VariantState::None => None,
                VariantState::Beside => {
                    may_block.disk()?;
                    let mut sidecars = entry.sidecars.iter();
                    if let Some((name, _)) = sidecars.find_map(|all| all.usable(coding)) {
                        self.expect_in_reach(name, may_block)?;
                    }
                    self.fetch_beside(entry, forms, coding, now)?
                }
                // One that is liked less is not worth making or judging.
                _ if is_awaited => None,
                VariantState::Unjudged => {
                    may_block.disk()?;
                    self.order_judgement(entry, forms, coding);
                    is_awaited = is_large;
                    self.make_meanwhile(entry, coding)
                }
                VariantState::Judging { .. } if is_large => {
                    is_awaited = true;
                    None
                }
                VariantState::Judging { can_be_made: false } => None,
                VariantState::Judging { can_be_made: true } => {
                    may_block.disk()?;
                    self.make_meanwhile(entry, coding)
                }
                VariantState::Possible if is_large => {
                    may_block.disk()?;
                    self.order(entry, forms, coding);
                    is_awaited = true;
                    None
                }
                VariantState::Possible => {
                    may_block.disk()?;
                    self.fill(entry, forms, coding, || entry.compress(coding))
                }
                VariantState::Ordered => {
                    is_awaited = true;
                    None
                }
            };
            if form.is_some() {
                return Ok(form);
            }
        }
        Ok(None)
    }

    fn fill<'e>(
        &self,
        entry: &'e Arc<FileEntry>,
        forms: &'e EncodedVariants,
        coding: Coding,
        make: impl FnOnce() -> Option<Representation>,
    ) -> Option<&'e Representation> {
        match &self.memory {
            Some(memory) => memory.files.fill(entry, coding, make),
            None => forms.fill(coding, make).0,
        }
    }

    /// Makes what is sent of a small file while the form beside it is being judged.
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

    /// Has a form made, unless that has been ordered already.
    fn order(&self, entry: &Arc<FileEntry>, forms: &EncodedVariants, coding: Coding) {
        let Some(memory) = &self.memory else {
            return;
        };
        if forms.claim_order(coding) {
            let order = CompressionOrder::new(&memory.files, entry, coding);
            if !memory.compressor.place(order) {
                forms.return_order(coding);
            }
        }
    }

    /// Has the form beside a file judged, unless that has been ordered already.
    pub(super) fn order_judgement(
        &self,
        entry: &Arc<FileEntry>,
        forms: &EncodedVariants,
        coding: Coding,
    ) {
        let Some(memory) = &self.memory else {
            return;
        };
        let sidecars = entry.sidecars.as_ref();
        let Some((_, form)) = sidecars.and_then(|sidecars| sidecars.usable(coding)) else {
            return;
        };
        if !forms.claim_judgement(coding) {
            return;
        }
        let order = VerificationOrder {
            cache: Arc::downgrade(&memory.files),
            entry: Arc::downgrade(entry),
            coding,
            root: self.root.directory(),
            resolver: Arc::clone(&self.resolver),
            logged: Arc::clone(&self.unused_forms),
            verdicts: Arc::clone(&memory.verdicts),
        };
        if !memory.sidecar_verifier.place(form.device(), order) {
            forms.return_judgement(coding);
        }
    }

    /// Reads the form that was seen beside a file, unless another thread is at it.
    fn fetch_beside<'e>(
        &self,
        entry: &'e Arc<FileEntry>,
        forms: &'e EncodedVariants,
        coding: Coding,
        now: Now,
    ) -> Result<Option<&'e Representation>, WouldBlock> {
        let Some(memory) = &self.memory else {
            let read = || {
                let mut load = self.begin_beside(entry, coding, now)?;
                load.go_on(&WholeSlice(now.monotonic))?
            };
            return Ok(forms.fill(coding, read).0);
        };
        let leader = match memory.flights.begin((entry.key.clone(), coding), |_| true) {
            Ok(leader) => leader,
            // It was for another entry if it is not in this one. The file itself will do.
            Err(flight) if flight.brought::<Found>().is_some() => return Ok(forms.ready_in(coding)),
            Err(flight) => return Err(WouldBlock::InFlight(flight)),
        };
        let Some(mut load) = self.begin_beside(entry, coding, now) else {
            return Ok(memory.keep_form(entry, coding, None));
        };
        if let Some(form) = load.go_on(&FirstSlice::new(now.monotonic)) {
            return Ok(memory.keep_form(entry, coding, form));
        }
        let Some(permit) = memory.permits.take() else {
            return Ok(None);
        };
        let memory = Arc::clone(memory);
        let job = LoadVariantJob { load, memory };
        Err(WouldBlock::InFlight(leader.leave(job, permit)))
    }
}
