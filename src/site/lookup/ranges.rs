//! The representation that a Range field refers to (RFC 9110 section 14.2).
//!
//! A client that resumes a download requests the bytes of one representation in several requests. A variant
//! that was compressed here comes and goes with the cache, so a range refers to one only if the request names
//! its entity tag. Otherwise it refers to the sidecar or to the file itself, which both stay.

use std::sync::Arc;

use super::negotiation::FileWithVariants;
use super::opening::Lookup;
use crate::clock::Now;
use crate::http::accept_encoding::{AcceptedCodings, Coding, accepted_codings};
use crate::http::method::Method;
use crate::http::preconditions::{self, PreconditionResult, Validators};
use crate::http::request::RequestHead;
use crate::site::content::{Representation, variant_etag};
use crate::site::memory::{FileEntry, OriginalState};
use crate::site::waiting::{MayBlock, WouldBlock};

impl Lookup {
    /// The representation that a GET with a Range field refers to. `None` if the request has no such field or
    /// accepts no coding, if the file has no variants, or if the conditions hold for no representation. Then
    /// the response is about the representation that [`preferred`](Lookup::preferred) returns.
    ///
    /// If-Range or If-Match (RFC 9110 sections 13.1.5 and 13.1.1) may name any variant that the client
    /// accepts.
    ///
    /// # Errors
    /// As [`preferred`](Lookup::preferred).
    pub fn variant_for_range<'e>(
        &self,
        entry: &'e Arc<FileEntry>,
        head: &RequestHead<'_, '_>,
        may_block: MayBlock,
        now: Now,
    ) -> Result<Option<&'e Representation>, WouldBlock> {
        match &entry.variants {
            Some(variants)
                if head.has_accept_encoding
                    && head.method == Method::Get
                    && head.fields.only("range").is_some() =>
            {
                let file = FileWithVariants { entry, variants };
                self.variant_that_matches(file, head, may_block, now)
            }
            _ => Ok(None),
        }
    }

    fn variant_that_matches<'e>(
        &self,
        file: FileWithVariants<'e>,
        head: &RequestHead<'_, '_>,
        may_block: MayBlock,
        now: Now,
    ) -> Result<Option<&'e Representation>, WouldBlock> {
        let FileWithVariants { entry, variants } = file;
        let accepted = accepted_codings(head);
        let codings = || accepted.compressed().iter().copied();
        let in_coding = |coding| {
            let only = AcceptedCodings::only(coding);
            self.negotiate(file, only, may_block, now)
        };
        // Only a verified sidecar can answer a range, so the verification is ordered now.
        for coding in codings().filter(|coding| variants.is_unverified(*coding)) {
            self.order_verification(entry, variants, coding);
        }
        for coding in codings().filter(|coding| variants.is_sidecar(*coding)) {
            if let Some(variant) = in_coding(coding)?
                && conditions_hold(head, &variant.validators(), now)
            {
                return Ok(Some(variant));
            }
        }
        let itself = &entry.representation;
        if entry.original == OriginalState::Missing {
            return Ok(None);
        }
        if conditions_hold(head, &itself.validators(), now) {
            return Ok(Some(itself));
        }
        for coding in codings().filter(|coding| !variants.is_sidecar(*coding)) {
            // The entity tag is known before the variant is made, so no variant is made in vain.
            if is_named(head, itself, coding, now) {
                let variant = in_coding(coding)?;
                return Ok(
                    variant.filter(|variant| conditions_hold(head, &variant.validators(), now))
                );
            }
        }
        Ok(None)
    }
}

/// Whether the conditions name the variant of `original` that can be made in `coding`.
fn is_named(
    head: &RequestHead<'_, '_>,
    original: &Representation,
    coding: Coding,
    now: Now,
) -> bool {
    let Some(etag) = &original.etag else {
        return false;
    };
    let etag = variant_etag(etag, coding);
    let validators = Validators {
        etag: Some(&etag),
        ..original.validators()
    };
    conditions_hold(head, &validators, now)
}

/// Whether a range of a representation with these validators may be sent.
fn conditions_hold(head: &RequestHead<'_, '_>, validators: &Validators<'_>, now: Now) -> bool {
    let fields = &head.fields;
    preconditions::evaluate(head.method, fields, validators, now.unix_secs)
        != PreconditionResult::Failed
        && preconditions::if_range_holds(fields, validators, now.unix_secs)
}
