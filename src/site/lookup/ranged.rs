//! The form of a file whose bytes a Range field counts (RFC 9110 section 14.2).
//!
//! A client that resumes asks in several requests for the bytes of one form. A form made here comes and
//! goes with the cache: a range is of such a form only if the request names its entity-tag. Otherwise the
//! range is of the form that lies beside the file, or of the file itself, which both stay.

use std::sync::Arc;

use super::encoded::WithVariants;
use super::opening::Lookup;
use crate::clock::Now;
use crate::http::accept_encoding::{AcceptedCodings, Coding, accepted_codings};
use crate::http::method::Method;
use crate::http::preconditions::{self, Validators, Verdict};
use crate::http::request::RequestHead;
use crate::site::content::{Representation, etag_of_form};
use crate::site::memory::{FileEntry, Original};
use crate::site::waiting::{MayBlock, WouldBlock};

impl Lookup {
    /// The representation that a GET with a Range field is about. `None` if the request has no such
    /// field, if it accepts no coding or the file has no forms, or if the conditions hold for no form: the
    /// answer is then about the form that [`preferred`](Lookup::preferred) returns.
    ///
    /// If-Range or If-Match (RFC 9110 sections 13.1.5 and 13.1.1) may name any form that the client
    /// accepts.
    ///
    /// # Errors
    /// As [`preferred`](Lookup::preferred).
    pub fn form_for_range<'e>(
        &self,
        entry: &'e Arc<FileEntry>,
        head: &RequestHead<'_, '_>,
        may_block: MayBlock,
        now: Now,
    ) -> Result<Option<&'e Representation>, WouldBlock> {
        match &entry.forms {
            Some(forms)
                if head.has_accept_encoding
                    && head.method == Method::Get
                    && head.fields.only("range").is_some() =>
            {
                self.form_that_suits(WithVariants { entry, forms }, head, may_block, now)
            }
            _ => Ok(None),
        }
    }

    fn form_that_suits<'e>(
        &self,
        file: WithVariants<'e>,
        head: &RequestHead<'_, '_>,
        may_block: MayBlock,
        now: Now,
    ) -> Result<Option<&'e Representation>, WouldBlock> {
        let WithVariants { entry, forms } = file;
        let accepted = accepted_codings(&head.fields);
        let codings = || accepted.compressed().iter().copied();
        let in_coding = |coding| {
            let only = AcceptedCodings::only(coding);
            self.negotiate(file, only, may_block, now)
        };
        // A range is of a form that has been judged, so that should come soon.
        for coding in codings().filter(|coding| forms.is_unjudged(*coding)) {
            self.order_judgement(entry, forms, coding);
        }
        for coding in codings().filter(|coding| forms.is_beside(*coding)) {
            if let Some(form) = in_coding(coding)?
                && conditions_hold(head, &form.validators(), now)
            {
                return Ok(Some(form));
            }
        }
        let itself = &entry.representation;
        if entry.original == Original::Missing {
            return Ok(None);
        }
        if conditions_hold(head, &itself.validators(), now) {
            return Ok(Some(itself));
        }
        for coding in codings().filter(|coding| !forms.is_beside(*coding)) {
            // The tag tells whether the form is wanted, so that no other is made.
            if is_named(head, itself, coding, now) {
                let form = in_coding(coding)?;
                return Ok(form.filter(|form| conditions_hold(head, &form.validators(), now)));
            }
        }
        Ok(None)
    }
}

/// Whether the request names the form of `original` that could be made in `coding`.
fn is_named(
    head: &RequestHead<'_, '_>,
    original: &Representation,
    coding: Coding,
    now: Now,
) -> bool {
    let Some(etag) = &original.etag else {
        return false;
    };
    let etag = etag_of_form(etag, coding);
    let validators = Validators {
        etag: Some(&etag),
        ..original.validators()
    };
    conditions_hold(head, &validators, now)
}

/// Whether a range of what has these validators may be sent.
fn conditions_hold(head: &RequestHead<'_, '_>, validators: &Validators<'_>, now: Now) -> bool {
    let fields = &head.fields;
    preconditions::evaluate(head.method, fields, validators, now.unix_secs) != Verdict::Failed
        && preconditions::if_range_holds(fields, validators, now.unix_secs)
}
