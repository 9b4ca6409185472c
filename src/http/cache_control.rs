//! The Cache-Control field (RFC 9111 section 5.2).

use super::grammar::{quoted_string_len, trim_ows};

/// Whether a Cache-Control field with this `value` has the directive `name`, with or without an argument.
/// Names are compared without case. A comma or a name in a quoted argument belongs to that argument.
#[must_use]
pub fn has_directive(value: &[u8], name: &str) -> bool {
    directives(value).any(|directive| {
        let end = directive.iter().position(|&byte| byte == b'=');
        let directive = &directive[..end.unwrap_or(directive.len())];
        directive.eq_ignore_ascii_case(name.as_bytes())
    })
}

/// The members of the list, each with its argument.
fn directives(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = end_of_member(rest);
        let (member, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        Some(trim_ows(member))
    })
}

/// The index of the next comma outside a quoted string. A quote without a second one is an ordinary byte.
fn end_of_member(list: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = list.get(at) {
        match byte {
            b',' => break,
            _ => at += quoted_string_len(&list[at..]).unwrap_or(1),
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directive_is_found_wherever_it_stands_rfc9111_5_2() {
        for value in [
            "no-transform",
            "No-Transform",
            "public, max-age=31536000, no-transform",
            "no-transform,public",
            " ,,\tno-transform ,",
            "private=\"a, b\", no-transform",
            "x=\"\\\"\", no-transform",
            "x=\"open, no-transform",
            "no-transform=\"why\"",
        ] {
            assert!(has_directive(value.as_bytes(), "no-transform"), "{value}");
        }
        for value in [
            "",
            ",",
            "no-store",
            "no-transforms",
            "xno-transform",
            "x=no-transform",
            "x=\"a, no-transform, b\"",
            "x=\"\\\", no-transform\"",
            "no transform",
        ] {
            assert!(!has_directive(value.as_bytes(), "no-transform"), "{value}");
        }
    }
}
