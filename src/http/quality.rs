//! Weights in the fields of content negotiation (RFC 9110 section 12.4.2).

/// A qvalue in thousandths, 0 to 1000. Integers compare exactly, and the grammar allows only three decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Weight(u16);

impl Weight {
    /// Not acceptable.
    pub(super) const ZERO: Weight = Weight(0);

    /// The weight of a member that gives none.
    pub(super) const ONE: Weight = Weight(1000);

    /// Parses a qvalue; `None` if it is malformed.
    pub(super) fn parse(qvalue: &[u8]) -> Option<Weight> {
        let (whole, decimals) = match qvalue {
            [whole] => (whole, &[][..]),
            [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
            _ => return None,
        };
        let mut thousandths = 0;
        for place in 0..3 {
            let digit = decimals.get(place).copied().unwrap_or(b'0');
            if !digit.is_ascii_digit() {
                return None;
            }
            thousandths = 10 * thousandths + u16::from(digit - b'0');
        }
        match (whole, thousandths) {
            (b'0', _) => Some(Weight(thousandths)),
            (b'1', 0) => Some(Weight::ONE),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qvalue_has_at_most_three_decimals_and_is_at_most_one_rfc9110_12_4_2() {
        let valid = [
            ("0", 0),
            ("0.", 0),
            ("0.000", 0),
            ("0.001", 1),
            ("0.5", 500),
            ("0.25", 250),
            ("0.999", 999),
            ("1", 1000),
            ("1.", 1000),
            ("1.000", 1000),
        ];
        for (text, thousandths) in valid {
            assert_eq!(
                Weight::parse(text.as_bytes()),
                Some(Weight(thousandths)),
                "{text}"
            );
        }
        let malformed = [
            "", ".", ".5", "2", "1.001", "0.0001", "1.0000", "0,5", "-0", "+1", "0.5 ", "00",
            "0.a", "1e0", "\"1\"",
        ];
        for text in malformed {
            assert_eq!(Weight::parse(text.as_bytes()), None, "{text}");
        }
    }
}
