//! Field lines of a request head (RFC 9110 section 5), as positions in the buffer that holds the head.

use std::iter::FusedIterator;

use super::grammar::trim_ows;

/// The position of one field line in its buffer, in bytes from the start of the buffer.
///
/// The caller keeps one `Vec` of spans and passes it to every parse, so a request allocates none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldSpan {
    pub(super) name_start: u32,
    pub(super) name_end: u32,
    pub(super) value_start: u32,
    pub(super) value_end: u32,
}

impl FieldSpan {
    pub(super) fn name<'b>(&self, head: &'b [u8]) -> &'b [u8] {
        &head[self.name_start as usize..self.name_end as usize]
    }

    pub(super) fn value<'b>(&self, head: &'b [u8]) -> &'b [u8] {
        &head[self.value_start as usize..self.value_end as usize]
    }
}

/// The field lines of one request, in the order of arrival.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'b, 's> {
    head: &'b [u8],
    spans: &'s [FieldSpan],
}

impl<'b, 's> Fields<'b, 's> {
    /// The field lines at `spans`, which must belong to `head`.
    pub(super) fn new(head: &'b [u8], spans: &'s [FieldSpan]) -> Fields<'b, 's> {
        Fields { head, spans }
    }

    /// The value of the line at `span`.
    pub(super) fn value_at(&self, span: FieldSpan) -> Option<&'b [u8]> {
        self.head
            .get(span.value_start as usize..span.value_end as usize)
    }

    /// Every line as (name, value): names as they were sent, values without surrounding whitespace.
    pub fn iter(&self) -> impl Iterator<Item = (&'b [u8], &'b [u8])> + use<'b, 's> {
        let head = self.head;
        self.spans
            .iter()
            .map(move |span| (span.name(head), span.value(head)))
    }

    /// The values of every line called `name`, in order. Names are compared without case.
    pub fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'b [u8]> + use<'b, 's, 'n> {
        self.iter()
            .filter(move |(candidate, _)| candidate.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The value of the first line called `name`.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&'b [u8]> {
        self.all(name).next()
    }

    /// The value of the only line called `name`; `None` if there is none or several. For fields that are not
    /// lists.
    #[must_use]
    pub fn only(&self, name: &str) -> Option<&'b [u8]> {
        let mut values = self.all(name);
        values.next().filter(|_| values.next().is_none())
    }
}

/// The members of a comma-separated list; empty members are skipped (RFC 9110 section 5.6.1).
///
/// For lists of tokens only, because it splits at every comma: a quoted string or an entity tag may hold one.
pub fn list_members(value: &[u8]) -> impl FusedIterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(trim_ows)
        .filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(name_start: u32, name_end: u32, value_start: u32, value_end: u32) -> FieldSpan {
        FieldSpan {
            name_start,
            name_end,
            value_start,
            value_end,
        }
    }

    #[test]
    fn names_are_compared_without_case_and_order_is_kept_rfc9110_5_1() {
        let head = b"Vary: a\r\nX: b\r\nvARY: c\r\n";
        let spans = [span(0, 4, 6, 7), span(9, 10, 12, 13), span(15, 19, 21, 22)];
        let fields = Fields::new(head, &spans);
        assert_eq!(fields.all("vary").collect::<Vec<_>>(), [b"a", b"c"]);
        assert_eq!(fields.first("VARY"), Some(b"a".as_slice()));
        assert_eq!(fields.first("var"), None);
        assert_eq!(fields.only("vary"), None);
        assert_eq!(fields.only("x"), Some(b"b".as_slice()));
        assert_eq!(fields.iter().count(), 3);
    }

    #[test]
    fn empty_list_members_are_skipped_rfc9110_5_6_1_2() {
        let members: Vec<_> = list_members(b" , a,\tb c ,,d, ").collect();
        assert_eq!(members, [b"a".as_slice(), b"b c", b"d"]);
        assert_eq!(list_members(b"").count(), 0);
        assert_eq!(list_members(b",").count(), 0);
    }
}
