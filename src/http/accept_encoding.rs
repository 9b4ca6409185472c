//! The content codings that a client accepts (RFC 9110 section 12.5.3).

use super::fields::{Fields, list_members};
use super::grammar::{token_len, trim_ows};
use super::quality::Weight;
use super::request::RequestHead;

/// A content coding that this server can send (RFC 9110 section 8.4.1). In the server's order of preference:
/// the coding that makes a text smallest comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Coding {
    /// `br` (RFC 7932).
    Brotli,
    /// `zstd` (RFC 8878).
    Zstd,
    /// `gzip` (RFC 1952); a client may call it `x-gzip`.
    Gzip,
    /// No coding. Content-Encoding never names it.
    Identity,
}

impl Coding {
    /// Every coding but identity, in order of preference.
    pub const COMPRESSED: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

    /// The value of Content-Encoding; for identity, which has no such field, its name in Accept-Encoding.
    #[must_use]
    pub fn token(self) -> &'static str {
        match self {
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
            Coding::Identity => "identity",
        }
    }

    /// Codings are compared without case, and x-gzip is gzip (RFC 9110 sections 8.4.1 and 8.4.1.3).
    fn of_token(token: &[u8]) -> Option<Coding> {
        if token.eq_ignore_ascii_case(b"x-gzip") {
            return Some(Coding::Gzip);
        }
        [Coding::Brotli, Coding::Zstd, Coding::Gzip, Coding::Identity]
            .into_iter()
            .find(|coding| token.eq_ignore_ascii_case(coding.token().as_bytes()))
    }
}

/// The codings to try for a response, best first. The last one is always identity, and a coding with a
/// lower weight than identity is left out. So the first coding that exists is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptedCodings {
    codings: [Coding; 4],
    len: usize,
}

impl AcceptedCodings {
    /// Only the file without a coding.
    pub const IDENTITY: AcceptedCodings = AcceptedCodings {
        codings: [Coding::Identity; 4],
        len: 1,
    };

    /// `coding`, which is not identity, then the file without a coding.
    #[must_use]
    pub fn only(coding: Coding) -> AcceptedCodings {
        AcceptedCodings {
            codings: [coding, Coding::Identity, Coding::Identity, Coding::Identity],
            len: 2,
        }
    }

    /// The codings, best first.
    #[must_use]
    pub fn as_slice(&self) -> &[Coding] {
        &self.codings[..self.len]
    }

    /// The codings before identity, for which an encoded variant may exist.
    #[must_use]
    pub fn compressed(&self) -> &[Coding] {
        &self.codings[..self.len - 1]
    }
}

/// The values that browsers and tools send, and what they mean. The shortcut saves parsing a list.
const USUAL: [(&[u8], AcceptedCodings); 4] = {
    use Coding::{Brotli, Gzip, Identity, Zstd};
    const fn ranked(codings: [Coding; 4], len: usize) -> AcceptedCodings {
        AcceptedCodings { codings, len }
    }
    [
        (
            b"gzip, deflate, br, zstd",
            ranked([Brotli, Zstd, Gzip, Identity], 4),
        ),
        (
            b"gzip, deflate, br",
            ranked([Brotli, Gzip, Identity, Identity], 3),
        ),
        (
            b"gzip, deflate",
            ranked([Gzip, Identity, Identity, Identity], 2),
        ),
        (b"gzip", ranked([Gzip, Identity, Identity, Identity], 2)),
    ]
};

/// Reads the Accept-Encoding field of a request.
///
/// - Without the field any coding is allowed, but identity is sent: a client that names no coding can most
///   often decode none.
/// - Lines are combined. A coding that is named twice has the lower weight, so a refusal in one place counts.
///   A malformed member makes the whole field mean identity.
/// - At equal weight the server's order decides: br, zstd, gzip, identity. Identity that is not mentioned
///   comes after all codings that are.
/// - There is no 406. If nothing is acceptable, for instance with `identity;q=0`, identity is sent all the
///   same. Section 12.5.3 asks for that unless identity is refused; then section 12.1 lets the server
///   disregard the field. For a client that cannot read the response, an error would be no better.
#[must_use]
pub fn accepted_codings(head: &RequestHead<'_, '_>) -> AcceptedCodings {
    if let Some(value) = head.only_accept_encoding
        && let Some((_, accepted)) = USUAL.iter().find(|(usual, _)| *usual == value)
    {
        return *accepted;
    }
    match weights(&head.fields) {
        Some(weights) => weights.rank(weights.of(Coding::Identity)),
        None => AcceptedCodings::IDENTITY,
    }
}

/// As [`accepted_codings`], for a file that cannot be sent without a coding. A coding with a lower
/// weight than identity is included, unless its weight is zero.
#[must_use]
pub fn codings_without_identity(fields: &Fields<'_, '_>) -> AcceptedCodings {
    weights(fields).map_or(AcceptedCodings::IDENTITY, |weights| {
        weights.rank(Weight::ZERO)
    })
}

/// The weights in the field; `None` if a member is malformed.
fn weights(fields: &Fields<'_, '_>) -> Option<Weights> {
    let mut weights = Weights::default();
    for member in fields.all("accept-encoding").flat_map(list_members) {
        let (token, weight) = parse_member(member)?;
        weights.note(token, weight);
    }
    Some(weights)
}

/// `codings [ weight ]` (RFC 9110 section 12.5.3).
fn parse_member(member: &[u8]) -> Option<(&[u8], Weight)> {
    let (token, rest) = member.split_at(token_len(member));
    if token.is_empty() {
        return None;
    }
    match trim_ows(rest) {
        [] => Some((token, Weight::ONE)),
        [b';', parameter @ ..] => match trim_ows(parameter) {
            [b'q' | b'Q', b'=', qvalue @ ..] => Some((token, Weight::parse(qvalue)?)),
            _ => None,
        },
        _ => None,
    }
}

/// The weights that the members give.
#[derive(Debug, Default)]
struct Weights {
    /// The weights of the codings that are named, by [`Coding`].
    named: [Option<Weight>; 4],
    /// The weight of `*`: every coding that is not named.
    other: Option<Weight>,
}

impl Weights {
    fn note(&mut self, token: &[u8], weight: Weight) {
        let place = match Coding::of_token(token) {
            Some(coding) => &mut self.named[coding as usize],
            None if token == b"*" => &mut self.other,
            None => return,
        };
        *place = Some(place.map_or(weight, |known| known.min(weight)));
    }

    /// The weight of a coding. A coding that is neither named nor matched by `*` has weight zero; for
    /// identity zero is right too, because identity ends the list in any case.
    fn of(&self, coding: Coding) -> Weight {
        self.named[coding as usize]
            .or(self.other)
            .unwrap_or(Weight::ZERO)
    }

    /// The codings with a weight of at least `floor`, best first.
    fn rank(&self, floor: Weight) -> AcceptedCodings {
        let mut accepted = AcceptedCodings::IDENTITY;
        let wanted = Coding::COMPRESSED
            .into_iter()
            .filter(|coding| self.of(*coding) > Weight::ZERO && self.of(*coding) >= floor);
        for coding in wanted {
            // After codings of equal weight, which the server prefers.
            let place = accepted
                .compressed()
                .iter()
                .position(|other| self.of(*other) < self.of(coding))
                .unwrap_or(accepted.len - 1);
            accepted.codings.copy_within(place..accepted.len, place + 1);
            accepted.codings[place] = coding;
            accepted.len += 1;
        }
        accepted
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::sample::with_head;
    use super::*;
    use Coding::{Brotli, Gzip, Identity, Zstd};
    use proptest::prelude::*;

    #[test]
    fn without_identity_every_coding_that_is_not_refused_is_accepted() {
        let cases: &[(&str, &[Coding])] = &[
            ("identity, br;q=0.5, gzip;q=0.1", &[Brotli, Gzip, Identity]),
            ("identity, br;q=0", &[Identity]),
            ("", &[Identity]),
            ("br;q=2", &[Identity]),
        ];
        for (value, codings) in cases {
            let lines = [("Accept-Encoding", *value)];
            let ranked = with_head(&lines, |head| codings_without_identity(&head.fields));
            assert_eq!(ranked.as_slice(), *codings, "{value}");
        }
    }

    fn accepted(lines: &[&str]) -> Vec<Coding> {
        let lines: Vec<_> = lines
            .iter()
            .map(|value| ("Accept-Encoding", *value))
            .collect();
        with_head(&lines, |head| accepted_codings(head).as_slice().to_vec())
    }

    #[test]
    fn the_shortcuts_mean_what_the_values_mean() {
        for (value, accepted) in USUAL {
            let value = std::str::from_utf8(value).expect("ASCII");
            let parsed = with_head(&[("Accept-Encoding", value)], |head| {
                let weights = weights(&head.fields).expect("well-formed");
                weights.rank(weights.of(Identity))
            });
            assert_eq!(accepted, parsed, "{value}");
        }
    }

    #[test]
    fn the_weights_decide_and_then_the_servers_order_rfc9110_12_5_3() {
        let cases: &[(&str, &[Coding])] = &[
            ("gzip", &[Gzip, Identity]),
            ("x-gzip", &[Gzip, Identity]),
            ("GZip, BR", &[Brotli, Gzip, Identity]),
            ("gzip, deflate, br, zstd", &[Brotli, Zstd, Gzip, Identity]),
            ("gzip;q=1.0, br;q=0.9", &[Gzip, Brotli, Identity]),
            ("br ; q=0.1 , gzip; Q=0.2", &[Gzip, Brotli, Identity]),
            ("deflate, compress", &[Identity]),
            ("*", &[Brotli, Zstd, Gzip, Identity]),
            ("*;q=0.5, gzip", &[Gzip, Brotli, Zstd, Identity]),
            ("*, br;q=0", &[Zstd, Gzip, Identity]),
            ("zstd;q=0.001", &[Zstd, Identity]),
        ];
        for (value, codings) in cases {
            assert_eq!(accepted(&[value]), *codings, "{value}");
        }
    }

    #[test]
    fn identity_ends_the_list_where_the_client_wants_it_rfc9110_12_5_3() {
        assert_eq!(
            accepted(&["identity, gzip;q=0.5, br;q=0.5, zstd"]),
            [Zstd, Identity]
        );
        assert_eq!(accepted(&["identity"]), [Identity]);
        assert_eq!(
            accepted(&["gzip;q=0.5, *;q=0.7"]),
            [Brotli, Zstd, Identity],
            "the asterisk stands for identity too"
        );
    }

    #[test]
    fn identity_is_there_even_if_it_is_refused_rfc9110_12_5_3() {
        assert_eq!(accepted(&["identity;q=0"]), [Identity]);
        assert_eq!(accepted(&["identity;q=0, gzip"]), [Gzip, Identity]);
        assert_eq!(accepted(&["*;q=0"]), [Identity]);
        assert_eq!(accepted(&["*;q=0, br"]), [Brotli, Identity]);
    }

    #[test]
    fn no_field_and_an_empty_field_mean_identity_rfc9110_12_5_3() {
        assert_eq!(accepted(&[]), [Identity]);
        assert_eq!(accepted(&[""]), [Identity]);
        assert_eq!(accepted(&[" , ,"]), [Identity]);
        assert_eq!(accepted(&["", "gzip"]), [Gzip, Identity]);
    }

    #[test]
    fn lines_are_combined_and_a_refusal_counts_rfc9110_5_3() {
        assert_eq!(
            accepted(&["gzip;q=0.5", "br;q=0.4, zstd"]),
            [Zstd, Gzip, Brotli, Identity]
        );
        assert_eq!(accepted(&["gzip;q=0", "gzip"]), [Identity]);
        assert_eq!(accepted(&["gzip, x-gzip;q=0"]), [Identity]);
    }

    #[test]
    fn a_malformed_field_means_identity() {
        let values = [
            "gzip;q=2",
            "gzip;q=0.1234",
            "gzip;q=",
            "gzip;q",
            "gzip;level=9",
            "gzip;q=1;level=9",
            "gzip q=1",
            "gzip;q = 1",
            ";q=1",
            "gzip/br",
            "\"gzip\"",
            "br;;q=1",
        ];
        for value in values {
            assert_eq!(accepted(&[value]), [Identity], "{value}");
            assert_eq!(accepted(&["br", value]), [Identity], "{value}");
        }
    }

    /// A slow implementation of the rules, with names and thousandths in a list.
    fn model(members: &[(&str, u16)]) -> Vec<String> {
        let weight = |name: &str| {
            let of = |wanted: &str| {
                members
                    .iter()
                    .filter(|(token, _)| {
                        token.to_lowercase() == wanted
                            || wanted == "gzip" && token.to_lowercase() == "x-gzip"
                    })
                    .map(|(_, weight)| *weight)
                    .min()
            };
            of(name).or(of("*"))
        };
        let mut wanted: Vec<_> = ["br", "zstd", "gzip"]
            .into_iter()
            .map(|name| (name, weight(name).unwrap_or(0)))
            .filter(|(_, weight)| *weight > 0)
            .collect();
        wanted.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
        let floor = weight("identity").unwrap_or(0);
        let mut names: Vec<_> = wanted
            .into_iter()
            .take_while(|(_, weight)| *weight >= floor)
            .map(|(name, _)| name.to_owned())
            .collect();
        names.push("identity".to_owned());
        names
    }

    fn member() -> impl Strategy<Value = (&'static str, u16)> {
        let token = prop::sample::select(vec![
            "br", "BR", "zstd", "gzip", "x-gzip", "identity", "*", "deflate",
        ]);
        let weight = prop::sample::select(vec![0, 1, 300, 500, 999, 1000]);
        (token, weight)
    }

    proptest! {
        #[test]
        fn the_list_is_that_of_the_model(lines in prop::collection::vec(prop::collection::vec(member(), 0..5), 1..3)) {
            let text: Vec<String> = lines
                .iter()
                .map(|members| {
                    members
                        .iter()
                        .map(|(token, weight)| format!("{token};q={}.{:03}", weight / 1000, weight % 1000))
                        .collect::<Vec<_>>()
                        .join(", ")
                })
                .collect();
            let lines: Vec<_> = lines.concat();
            let found = accepted(&text.iter().map(String::as_str).collect::<Vec<_>>());
            let found: Vec<_> = found.iter().map(|coding| coding.token().to_owned()).collect();
            prop_assert_eq!(found, model(&lines));
        }

        #[test]
        fn whatever_the_field_says_identity_is_last_and_nothing_comes_twice(value in "[gzipbrstd*;q=.01, x\"-]{0,60}") {
            let codings = accepted(&[&value]);
            prop_assert_eq!(codings.last(), Some(&Identity));
            for (index, coding) in codings.iter().enumerate() {
                prop_assert!(!codings[index + 1..].contains(coding));
            }
        }
    }
}
