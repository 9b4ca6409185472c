//! Conditional requests (RFC 9110 section 13).

use super::date::parse_date;
use super::fields::Fields;
use super::grammar::{is_etagc, trim_ows_start};
use super::method::Method;

#[cfg(test)]
mod tests;

/// The validators of the file that would be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validators<'a> {
    /// The entity tag, quotes included, with `W/` before them if it is weak.
    pub etag: Option<&'a [u8]>,
    /// The time of the last change, in seconds since 1970.
    pub last_modified_unix_secs: Option<u64>,
}

/// The result of a request's preconditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreconditionResult {
    /// The response is the one without preconditions.
    Proceed,
    /// 304: the client's copy is current.
    NotModified,
    /// 412: a precondition does not hold.
    Failed,
}

/// Evaluates If-Match, If-Unmodified-Since, If-None-Match and If-Modified-Since, in the order of RFC 9110
/// section 13.2.2. Only for a request whose response would otherwise be 200.
///
/// The server never sends a Last-Modified later than `now_unix_secs`, so a later time counts as
/// `now_unix_secs` here too. A date that is invalid or given twice is ignored. A malformed list of entity
/// tags matches nothing, so it never turns a full response into a 304.
#[must_use]
pub fn evaluate(
    method: Method,
    fields: &Fields<'_, '_>,
    validators: &Validators<'_>,
    now_unix_secs: u64,
) -> PreconditionResult {
    // RFC 9110 section 13.2.1: these methods neither select nor change a representation.
    if matches!(method, Method::Options | Method::Connect | Method::Trace) {
        return PreconditionResult::Proceed;
    }
    let safe = matches!(method, Method::Get | Method::Head);
    let last_modified = validators
        .last_modified_unix_secs
        .map(|secs| secs.min(now_unix_secs));

    let conditions = PreconditionFields::read(fields);
    if conditions.if_match.is_present() {
        if conditions.fails_if_match(validators.etag) {
            return PreconditionResult::Failed;
        }
    } else if let (Some(date), Some(modified)) = (
        conditions.if_unmodified_since.date(now_unix_secs),
        last_modified,
    ) && modified > date
    {
        return PreconditionResult::Failed;
    }

    if conditions.if_none_match.is_present() {
        if conditions.fails_if_none_match(validators.etag) {
            return if safe {
                PreconditionResult::NotModified
            } else {
                PreconditionResult::Failed
            };
        }
    } else if let (true, Some(date), Some(modified)) = (
        safe,
        conditions.if_modified_since.date(now_unix_secs),
        last_modified,
    ) && modified <= date
    {
        return PreconditionResult::NotModified;
    }
    PreconditionResult::Proceed
}

/// Whether If-Range allows ranges: the field is absent, or names the file as it is now (RFC 9110 section
/// 13.1.5). Tags are compared strongly. Dates must be equal, and of a second that is over. During that second
/// the file may change again under the same date, so the date is a weak validator (section 8.8.2.2). A client
/// that needs certainty sends the entity tag.
#[must_use]
pub fn if_range_holds(
    fields: &Fields<'_, '_>,
    validators: &Validators<'_>,
    now_unix_secs: u64,
) -> bool {
    if fields.first("if-range").is_none() {
        return true;
    }
    let Some(value) = fields.only("if-range") else {
        return false;
    };
    match EntityTag::parse(value) {
        Some((tag, [])) => validators
            .etag
            .is_some_and(|current| tag.matches(current, Comparison::Strong)),
        Some(_) => false,
        None => parse_date(value, now_unix_secs).is_some_and(|date| {
            Some(date) == validators.last_modified_unix_secs && date < now_unix_secs
        }),
    }
}

/// The four preconditions of a request.
struct PreconditionFields<'b, 's> {
    fields: Fields<'b, 's>,
    if_match: PreconditionField<'b>,
    if_unmodified_since: PreconditionField<'b>,
    if_none_match: PreconditionField<'b>,
    if_modified_since: PreconditionField<'b>,
}

impl<'b, 's> PreconditionFields<'b, 's> {
    /// Finds the four fields in one pass over the field lines.
    fn read(fields: &Fields<'b, 's>) -> PreconditionFields<'b, 's> {
        let mut conditions = PreconditionFields {
            fields: *fields,
            if_match: PreconditionField::Absent,
            if_unmodified_since: PreconditionField::Absent,
            if_none_match: PreconditionField::Absent,
            if_modified_since: PreconditionField::Absent,
        };
        for (name, value) in fields.iter() {
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            // The names differ in length, which rules out nearly every other field.
            let condition = match name.len() {
                8 if is("if-match") => &mut conditions.if_match,
                13 if is("if-none-match") => &mut conditions.if_none_match,
                17 if is("if-modified-since") => &mut conditions.if_modified_since,
                19 if is("if-unmodified-since") => &mut conditions.if_unmodified_since,
                _ => continue,
            };
            *condition = match condition {
                PreconditionField::Absent => PreconditionField::Once(value),
                _ => PreconditionField::Repeated,
            };
        }
        conditions
    }

    /// Whether the If-Match field, which must be present, evaluates to false.
    fn fails_if_match(&self, current: Option<&[u8]>) -> bool {
        let lists = || self.fields.all("if-match");
        !self.if_match.names(lists, current, Comparison::Strong)
    }

    /// Whether the If-None-Match field, which must be present, evaluates to false.
    fn fails_if_none_match(&self, current: Option<&[u8]>) -> bool {
        let lists = || self.fields.all("if-none-match");
        self.if_none_match.names(lists, current, Comparison::Weak)
    }
}

/// The lines of one field.
#[derive(Clone, Copy)]
enum PreconditionField<'b> {
    Absent,
    Once(&'b [u8]),
    Repeated,
}

impl PreconditionField<'_> {
    fn is_present(self) -> bool {
        !matches!(self, PreconditionField::Absent)
    }

    /// The date in the field's only line, in seconds since 1970.
    fn date(self, now_unix_secs: u64) -> Option<u64> {
        match self {
            PreconditionField::Once(value) => parse_date(value, now_unix_secs),
            PreconditionField::Absent | PreconditionField::Repeated => None,
        }
    }

    /// Whether the field is `*`, or a well-formed list that contains `current`. Several lines, which `lists`
    /// returns, form one list (RFC 9110 section 5.3); `*` may not be part of one.
    fn names<'l, L: Iterator<Item = &'l [u8]>>(
        self,
        lists: impl FnOnce() -> L,
        current: Option<&[u8]>,
        comparison: Comparison,
    ) -> bool {
        match self {
            PreconditionField::Absent => false,
            // The file exists, because the response would be 200.
            PreconditionField::Once(b"*") => true,
            PreconditionField::Once(list) => has_member(list, current, comparison) == Some(true),
            PreconditionField::Repeated => {
                let matched = lists().try_fold(false, |matched, list| {
                    Some(matched | has_member(list, current, comparison)?)
                });
                matched == Some(true)
            }
        }
    }
}

/// How entity tags are compared (RFC 9110 section 8.8.3.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// `[ "W/" ] DQUOTE *etagc DQUOTE` (RFC 9110 section 8.8.3). `W` is case-sensitive.
struct EntityTag<'a> {
    weak: bool,
    /// Quotes included.
    opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// The tag at the front of `bytes`, and what follows it.
    fn parse(bytes: &'a [u8]) -> Option<(EntityTag<'a>, &'a [u8])> {
        let (weak, quoted) = match bytes {
            [b'W', b'/', quoted @ ..] => (true, quoted),
            quoted => (false, quoted),
        };
        let [b'"', inside @ ..] = quoted else {
            return None;
        };
        let len = inside.iter().position(|&byte| !is_etagc(byte))?;
        if inside[len] != b'"' {
            return None;
        }
        let (opaque, rest) = quoted.split_at(len + 2);
        Some((EntityTag { weak, opaque }, rest))
    }

    /// Whether this tag is `current`.
    fn matches(&self, current: &[u8], comparison: Comparison) -> bool {
        let (is_current_weak, opaque) = match current {
            [b'W', b'/', opaque @ ..] => (true, opaque),
            opaque => (false, opaque),
        };
        let is_weak = self.weak || is_current_weak;
        self.opaque == opaque && !(is_weak && comparison == Comparison::Strong)
    }
}

/// Whether a well-formed list of entity tags contains `current`; `None` if the list is malformed.
fn has_member(list: &[u8], current: Option<&[u8]>, comparison: Comparison) -> Option<bool> {
    let mut matched = false;
    let mut rest = trim_ows_start(list);
    while !rest.is_empty() {
        if let [b',', tail @ ..] = rest {
            rest = trim_ows_start(tail);
            continue;
        }
        let (tag, tail) = EntityTag::parse(rest)?;
        rest = trim_ows_start(tail);
        if !matches!(rest, [] | [b',', ..]) {
            return None;
        }
        matched |= current.is_some_and(|current| tag.matches(current, comparison));
    }
    Some(matched)
}
