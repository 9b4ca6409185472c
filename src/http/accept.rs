//! The media type that a client prefers (RFC 9110 section 12.5.1).

use super::fields::Fields;
use super::grammar::{quoted_string_len, token_len, trim_ows_start};
use super::quality::Weight;

/// The index of the media type in `offers` that the Accept field of the request prefers.
///
/// The most specific range that matches an offer gives its weight. At equal weight the more specific range
/// wins, so `application/json, */*` selects JSON if it is offered; then the order of the offers decides. The
/// first offer is the result without the field, with a malformed one, and if nothing is acceptable: section
/// 12.5.1 lets a server disregard the field instead of sending 406.
#[must_use]
pub fn preferred(fields: &Fields<'_, '_>, offers: &[&str]) -> usize {
    let mut best = (0, None);
    for (index, offer) in offers.iter().enumerate() {
        match acceptance(fields, offer) {
            Err(MalformedAccept) => return 0,
            // Only a better offer replaces an earlier one.
            Ok(acceptance) if acceptance > best.1 => best = (index, acceptance),
            Ok(_) => {}
        }
    }
    best.0
}

/// Whether the Accept field of the request names `offer`, or all subtypes of its type, as acceptable. `*/*`
/// does not name it: browsers send `*/*` for scripts, styles and fetches, but name HTML to load a page.
#[must_use]
pub fn is_named(fields: &Fields<'_, '_>, offer: &str) -> bool {
    let acceptance = acceptance(fields, offer);
    acceptance.is_ok_and(|found| found.is_some_and(|found| found.specificity > Specificity::Any))
}

/// How much an offer is wanted: the weight, then the specificity of the range that gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Acceptance {
    weight: Weight,
    specificity: Specificity,
}

/// How closely a range matches, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Specificity {
    /// `*/*`
    Any,
    /// `text/*`
    Type,
    /// `text/html`
    Subtype,
}

#[derive(Debug)]
struct MalformedAccept;

/// The acceptance of `offer`; `None` if it is not acceptable.
fn acceptance(fields: &Fields<'_, '_>, offer: &str) -> Result<Option<Acceptance>, MalformedAccept> {
    let mut closest: Option<(Specificity, Weight)> = None;
    for mut rest in fields.all("accept") {
        while let Some(range) = next_range(&mut rest)? {
            let found = range
                .specificity(offer)
                .map(|specificity| (specificity, range.weight));
            // Among ranges that differ only in their parameters, the highest weight counts.
            closest = closest.max(found);
        }
    }
    Ok(closest
        .filter(|(_, weight)| *weight > Weight::ZERO)
        .map(|(specificity, weight)| Acceptance {
            weight,
            specificity,
        }))
}

/// A media range with its weight. Other parameters are not compared, because no two of our offers differ in
/// theirs.
#[derive(Debug)]
struct WeightedRange<'b> {
    main: &'b [u8],
    sub: &'b [u8],
    weight: Weight,
}

impl WeightedRange<'_> {
    fn specificity(&self, offer: &str) -> Option<Specificity> {
        let (main, sub) = offer.split_once('/')?;
        let is_main = self.main.eq_ignore_ascii_case(main.as_bytes());
        let is_sub = self.sub.eq_ignore_ascii_case(sub.as_bytes());
        match (self.main, self.sub) {
            (b"*", _) => Some(Specificity::Any),
            (_, b"*") => is_main.then_some(Specificity::Type),
            _ => (is_main && is_sub).then_some(Specificity::Subtype),
        }
    }
}

/// Removes the next range from the list; empty members are skipped (RFC 9110 section 5.6.1.2).
fn next_range<'b>(rest: &mut &'b [u8]) -> Result<Option<WeightedRange<'b>>, MalformedAccept> {
    while let [b' ' | b'\t' | b',', after @ ..] = *rest {
        *rest = after;
    }
    if rest.is_empty() {
        return Ok(None);
    }
    let main = take_token(rest)?;
    let [b'/', after @ ..] = *rest else {
        return Err(MalformedAccept);
    };
    *rest = after;
    let sub = take_token(rest)?;
    if main == b"*" && sub != b"*" {
        return Err(MalformedAccept);
    }
    let weight = take_parameters(rest)?;
    Ok(Some(WeightedRange { main, sub, weight }))
}

/// `*( OWS ";" OWS [ parameter ] )` up to the end of the member (RFC 9110 section 5.6.6). Returns the weight:
/// the parameter `q`, if there is one.
fn take_parameters(rest: &mut &[u8]) -> Result<Weight, MalformedAccept> {
    let mut weight = Weight::ONE;
    loop {
        match trim_ows_start(rest) {
            [] | [b',', ..] => {
                *rest = trim_ows_start(rest);
                return Ok(weight);
            }
            [b';', after @ ..] => *rest = trim_ows_start(after),
            _ => return Err(MalformedAccept),
        }
        if matches!(*rest, [] | [b',' | b';', ..]) {
            continue;
        }
        let name = take_token(rest)?;
        let [b'=', after @ ..] = *rest else {
            return Err(MalformedAccept);
        };
        *rest = after;
        if name.eq_ignore_ascii_case(b"q") {
            weight = Weight::parse(take_token(rest)?).ok_or(MalformedAccept)?;
        } else if let Some(len) = quoted_string_len(rest) {
            *rest = &rest[len..];
        } else {
            take_token(rest)?;
        }
    }
}

fn take_token<'b>(rest: &mut &'b [u8]) -> Result<&'b [u8], MalformedAccept> {
    let (token, after) = rest.split_at(token_len(rest));
    *rest = after;
    if token.is_empty() {
        return Err(MalformedAccept);
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::super::request::sample::with_head;
    use super::*;
    use proptest::prelude::*;

    const OFFERS: [&str; 2] = ["text/html", "application/json"];

    fn choice(lines: &[&str]) -> &'static str {
        let lines: Vec<_> = lines.iter().map(|value| ("Accept", *value)).collect();
        OFFERS[with_head(&lines, |head| preferred(&head.fields, &OFFERS))]
    }

    #[test]
    fn the_weights_decide_rfc9110_12_5_1() {
        let json = [
            "application/json",
            "Application/JSON",
            "application/*",
            "application/json, text/html;q=0.9",
            "text/html;q=0.5, application/json;q=0.6",
            "text/html;q=0, */*",
            "text/*;q=0.1, */*;q=0.2",
            "text/html;q=0, application/json;q=0.001",
        ];
        for value in json {
            assert_eq!(choice(&[value]), "application/json", "{value}");
        }
        let html = [
            "text/html",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "*/*",
            "text/html, application/json",
            "application/json;q=0.9, text/*",
            "*/*, application/json;q=0.5",
            "application/json;q=0",
        ];
        for value in html {
            assert_eq!(choice(&[value]), "text/html", "{value}");
        }
    }

    #[test]
    fn the_most_specific_range_counts_rfc9110_12_5_1() {
        assert_eq!(
            choice(&["application/json;q=0.1, application/*, text/html;q=0.2"]),
            "text/html"
        );
        assert_eq!(
            choice(&["application/json, text/plain, */*"]),
            "application/json",
            "a named type beats an asterisk"
        );
    }

    #[test]
    fn parameters_and_quoted_commas_are_passed_over() {
        assert_eq!(
            choice(&["application/json; charset=utf-8; q=1, text/html;q=0.5"]),
            "application/json"
        );
        assert_eq!(
            choice(&["text/html;a=\"x, application/json\";q=0.4;, application/json ; q=0.5"]),
            "application/json"
        );
    }

    #[test]
    fn html_is_named_where_a_page_is_wanted() {
        let is_named = |value: &str| {
            with_head(&[("Accept", value)], |head| {
                is_named(&head.fields, "text/html")
            })
        };
        for value in [
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "text/*",
            "*/*, Text/HTML;q=0.1",
        ] {
            assert!(is_named(value), "{value}");
        }
        for value in [
            "*/*",
            "",
            "image/avif,image/webp,*/*;q=0.8",
            "application/json",
            "text/html;q=0, */*",
            "text/html;q=2",
            "text/css,*/*;q=0.1",
        ] {
            assert!(!is_named(value), "{value}");
        }
        assert!(!with_head(&[], |head| super::is_named(
            &head.fields,
            "text/html"
        )));
    }

    #[test]
    fn lines_are_combined_rfc9110_5_3() {
        assert_eq!(
            choice(&["text/html;q=0.5", "application/json"]),
            "application/json"
        );
    }

    #[test]
    fn the_first_offer_is_chosen_without_the_field_and_if_nothing_is_acceptable() {
        assert_eq!(choice(&[]), "text/html");
        for value in ["", ",", "image/png", "*/*;q=0", "text/html;q=0"] {
            assert_eq!(choice(&[value]), "text/html", "{value}");
        }
    }

    #[test]
    fn a_malformed_field_is_disregarded() {
        let values = [
            "application/json;q=2",
            "application/json;q",
            "application/json;q=\"1\"",
            "application/json;a=\"open",
            "application",
            "application/",
            "*/json",
            "application/json text/html",
            "application/json, ;",
        ];
        for value in values {
            assert_eq!(choice(&[value]), "text/html", "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_value_is_read_to_its_end(value in "[a*/;q=.01, \"\\\\-]{0,60}") {
            let _ = choice(&[&value]);
        }

        #[test]
        fn of_two_weights_the_higher_wins(html in 0..=1000_u16, json in 0..=1000_u16) {
            let value = format!(
                "application/json;q={}.{:03}, text/html;q={}.{:03}",
                json / 1000, json % 1000, html / 1000, html % 1000
            );
            let expected = if json > html { "application/json" } else { "text/html" };
            prop_assert_eq!(choice(&[&value]), expected);
        }
    }
}
