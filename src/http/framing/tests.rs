//! Where bodies end, and which ones are refused.

use proptest::prelude::*;

use super::*;
use crate::http::body::{BodyDecoder, DecodedBody};

const MAX_BODY: u64 = 100;

enum FramingLine {
    Length(&'static str),
    Coding(&'static str),
}
use FramingLine::{Coding, Length};

/// The framing that these lines result in, or the status of the refusal.
fn framing(lines: &[FramingLine]) -> Result<Framing, u16> {
    let mut fields = FramingFields::default();
    for line in lines {
        match line {
            Length(value) => fields.content_length(value.as_bytes()),
            Coding(value) => fields.transfer_encoding(value.as_bytes()),
        }
        .map_err(|reject| reject.status.code())?;
    }
    fields.decide().map_err(|reject| reject.status.code())
}

/// Decodes a chunked body in pieces of `step` bytes. Returns the bytes consumed (`None`: more are needed), or
/// the status of the refusal.
fn chunked_by(step: usize, input: &[u8]) -> Result<Option<usize>, u16> {
    let mut decoder = BodyDecoder::new(Framing::Chunked, MAX_BODY).unwrap();
    let mut at = 0;
    for piece in input.chunks(step) {
        let decoded = decoder
            .decode(piece)
            .map_err(|reject| reject.status.code())?;
        at += decoded.consumed;
        if decoded.done {
            return Ok(Some(at));
        }
        assert_eq!(decoded.consumed, piece.len());
    }
    Ok(None)
}

fn chunked(input: impl AsRef<[u8]>) -> Result<Option<usize>, u16> {
    let input = input.as_ref();
    let whole = chunked_by(usize::MAX, input);
    for step in 1..4 {
        assert_eq!(chunked_by(step, input), whole, "{}", input.escape_ascii());
    }
    whole
}

#[test]
fn without_framing_fields_there_is_no_body_rfc9112_6_3() {
    assert_eq!(framing(&[]), Ok(Framing::None));
}

#[test]
fn content_length_is_digits_only_rfc9110_8_6() {
    assert_eq!(framing(&[Length("0")]), Ok(Framing::Length(0)));
    assert_eq!(framing(&[Length("007")]), Ok(Framing::Length(7)));
    let largest = framing(&[Length("18446744073709551615")]);
    assert_eq!(largest, Ok(Framing::Length(u64::MAX)));
    for value in [
        "",
        "+1",
        "-1",
        "1 ",
        "1_0",
        "0x10",
        "1.0",
        "1, 1",
        "1,2",
        "a",
        "18446744073709551616",
        "99999999999999999999999",
    ] {
        assert_eq!(framing(&[Length(value)]), Err(400), "{value:?}");
    }
}

#[test]
fn repeated_lengths_are_refused_even_if_they_agree_rfc9112_6_3() {
    assert_eq!(framing(&[Length("5"), Length("5")]), Err(400));
    assert_eq!(framing(&[Length("5"), Length("6")]), Err(400));
}

#[test]
fn a_length_and_a_coding_together_are_refused_in_either_order_rfc9112_6_1() {
    assert_eq!(framing(&[Length("5"), Coding("chunked")]), Err(400));
    assert_eq!(framing(&[Coding("chunked"), Length("5")]), Err(400));
    assert_eq!(framing(&[Coding("gzip"), Length("5")]), Err(400));
}

#[test]
fn chunked_comes_once_and_last_rfc9112_6_1() {
    assert_eq!(framing(&[Coding("chunked")]), Ok(Framing::Chunked));
    assert_eq!(framing(&[Coding("ChunKed")]), Ok(Framing::Chunked));
    assert_eq!(framing(&[Coding(", chunked ,")]), Ok(Framing::Chunked));
    assert_eq!(framing(&[Coding("chunked, chunked")]), Err(400));
    assert_eq!(framing(&[Coding("chunked"), Coding("chunked")]), Err(400));
    assert_eq!(framing(&[Coding("gzip, chunked, chunked")]), Err(400));
    assert_eq!(framing(&[Coding("chunked, gzip")]), Err(400));
    assert_eq!(framing(&[Coding("chunked"), Coding("identity")]), Err(400));
}

#[test]
fn unknown_codings_before_a_final_chunked_are_501_rfc9112_6_1() {
    for value in [
        "gzip, chunked",
        "identity, chunked",
        "gzip;level=9, br, chunked",
        "a ; b = \"c,\\\"d\" , chunked",
    ] {
        assert_eq!(framing(&[Coding(value)]), Err(501), "{value}");
    }
    assert_eq!(framing(&[Coding("gzip"), Coding("chunked")]), Err(501));
}

#[test]
fn a_last_coding_other_than_chunked_is_400_rfc9112_6_3() {
    for value in [
        "",
        ",",
        "identity",
        "gzip",
        "xchunked",
        "chunkedx",
        "gzip;level=9",
        "a;b=\", chunked\"",
    ] {
        assert_eq!(framing(&[Coding(value)]), Err(400), "{value:?}");
    }
    assert_eq!(framing(&[Coding("gzip"), Coding("identity")]), Err(400));
    assert_eq!(framing(&[Coding(""), Coding("gzip"), Coding("")]), Err(400));
}

#[test]
fn an_empty_line_of_codings_is_an_empty_member_rfc9110_5_6_1_2() {
    let empty = ["", ",", " , "];
    for value in empty {
        for lines in [
            [Coding(value), Coding("chunked")],
            [Coding("chunked"), Coding(value)],
        ] {
            assert_eq!(framing(&lines), Ok(Framing::Chunked), "{value:?}");
        }
        assert_eq!(framing(&[Coding(value), Coding(value)]), Err(400));
        assert_eq!(framing(&[Coding(value), Length("5")]), Err(400));
        assert_eq!(framing(&[Length("5"), Coding(value)]), Err(400));
    }
    let around = [Coding("gzip"), Coding(""), Coding("chunked")];
    assert_eq!(framing(&around), Err(501));
}

#[test]
fn malformed_codings_are_refused_rfc9110_10_1_4() {
    for value in [
        "\"chunked\"",
        "chunked;a=b",
        "chunked;",
        "gzip chunked",
        "gzip;",
        "gzip;a",
        "gzip;a=",
        "gzip;=b",
        "gzip;a=\"b",
        "chunked\u{b}",
        "=",
        "chunked;a=b, gzip",
    ] {
        assert_eq!(framing(&[Coding(value)]), Err(400), "{value:?}");
    }
}

#[test]
fn a_length_delimited_body_ends_where_it_says() {
    let mut decoder = BodyDecoder::new(Framing::Length(5), MAX_BODY).unwrap();
    let decoded = |consumed, done| Ok(DecodedBody { consumed, done });
    assert_eq!(decoder.decode(b""), decoded(0, false));
    assert_eq!(decoder.decode(b"ab"), decoded(2, false));
    assert_eq!(decoder.decode(b"cdeGET"), decoded(3, true));
    assert_eq!(decoder.decode(b"GET"), decoded(0, true));
}

#[test]
fn no_body_is_complete_at_once() {
    for framing in [Framing::None, Framing::Length(0)] {
        let mut decoder = BodyDecoder::new(framing, 0).unwrap();
        assert!(decoder.is_done());
        let nothing = DecodedBody {
            consumed: 0,
            done: true,
        };
        assert_eq!(decoder.decode(b"GET"), Ok(nothing));
    }
}

#[test]
fn a_length_over_the_limit_is_413_before_a_byte_is_read_rfc9110_15_5_14() {
    assert!(BodyDecoder::new(Framing::Length(MAX_BODY), MAX_BODY).is_ok());
    let reject = BodyDecoder::new(Framing::Length(MAX_BODY + 1), MAX_BODY).unwrap_err();
    assert_eq!(reject.status, Status::CONTENT_TOO_LARGE);
}

#[test]
fn chunks_end_with_an_empty_one_rfc9112_7_1() {
    assert_eq!(chunked("0\r\n\r\n"), Ok(Some(5)));
    assert_eq!(chunked("5\r\nhello\r\n0\r\n\r\nGET"), Ok(Some(15)));
    assert_eq!(chunked("1\r\na\r\n1\r\nb\r\n000\r\n\r\n"), Ok(Some(19)));
    assert_eq!(
        chunked("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"),
        Ok(Some(35))
    );
    assert_eq!(chunked("5\r\nhello\r\n0\r\n\r"), Ok(None));
    assert_eq!(chunked(""), Ok(None));
}

#[test]
fn a_chunk_size_is_hexadecimal_digits_and_nothing_else() {
    for line in [
        "\r\n", " 5\r\n", "5 \r\n", "5\t\r\n", "+5\r\n", "-5\r\n", "0x5\r\n", "5_0\r\n", "g\r\n",
        "5\n", "5\rX", ";a\r\n", "5,\r\n", "5\0",
    ] {
        assert_eq!(chunked(line), Err(400), "{line:?}");
    }
}

#[test]
fn a_chunk_size_that_overflows_is_refused() {
    assert_eq!(chunked("0000000000000001\r\na\r\n0\r\n\r\n"), Ok(Some(26)));
    assert_eq!(chunked("FFFFFFFFFFFFFFFF\r\n"), Err(413));
    assert_eq!(chunked("10000000000000005\r\n"), Err(400));
    assert_eq!(chunked("000010000000000000005\r\n"), Err(400));
}

#[test]
fn a_chunk_size_may_have_leading_zeros_up_to_a_bound_rfc9112_7_1() {
    for zeros in [1, 15, 16, 17, 64, 256] {
        let zeros = "0".repeat(zeros);
        let body = format!("{zeros}5\r\nhello\r\n{zeros}0\r\n\r\n");
        // A last chunk consists of zeros only: one more than the size in the case before.
        let last = format!("{zeros}5\r\nhello\r\n{zeros}\r\n\r\n");
        let fits = zeros.len() < 256;
        assert_eq!(
            chunked(&body),
            if fits { Ok(Some(body.len())) } else { Err(400) }
        );
        assert_eq!(chunked(&last), Ok(Some(last.len())));
    }
    let full = "0".repeat(256);
    assert_eq!(chunked(format!("{full}FFFFFFFFFFFFFFFF\r\n")), Err(413));
    assert_eq!(chunked(format!("{full}0")), Err(400));
    assert_eq!(chunked(format!("0{full}5")), Err(400));
}

#[test]
fn chunk_data_ends_in_crlf_where_its_size_says() {
    for input in [
        "3\r\nabcd\r\n",
        "3\r\nabc\n",
        "3\r\nabc0\r\n",
        "3\r\nabc\rX",
        "3\r\nabc\r\r",
    ] {
        assert_eq!(chunked(input), Err(400), "{input:?}");
    }
}

#[test]
fn chunks_over_the_limit_are_413_when_they_are_announced() {
    let full = format!("64\r\n{}\r\n", "x".repeat(100));
    assert_eq!(chunked(full.clone() + "0\r\n\r\n"), Ok(Some(111)));
    assert_eq!(chunked(full + "1\r\n"), Err(413));
    assert_eq!(chunked("65\r\n"), Err(413));
}

#[test]
fn chunk_extensions_are_parsed_rfc9112_7_1_1() {
    for line in [
        "0;a",
        "0;a=b",
        "0;a=\"b\"",
        "0;a=\"\"",
        "0;a=\"x\\\"\\\\ \t;=\u{e9}\"",
        "0;a;b;c=d",
        "0 ;\ta = b\t; c",
        "0;a=b ;c",
        "0;a ;b",
    ] {
        let input = format!("{line}\r\n\r\n");
        assert_eq!(chunked(&input), Ok(Some(input.len())), "{line:?}");
    }
}

#[test]
fn broken_chunk_extensions_are_refused() {
    for line in [
        "0;",
        "0;;a",
        "0;a;",
        "0;=b",
        "0;a=",
        "0;a=;b",
        "0;a b",
        "0;a=b c",
        "0;a=\"b",
        "0;a=\"b\"c",
        "0;a=b\"c\"",
        "0;a ",
        "0;a=b ",
        "0;a=\"b\\",
        "0;a\0",
        "0;a=\"\0\"",
        "0;a=\"\u{7f}\"",
        "0;a\rX",
        "0;a=\"\r\n\"",
        "0;a=\"\\\r\"",
        "0;a(",
        "0 a",
        "0;a,b",
    ] {
        assert_eq!(chunked(format!("{line}\r\n\r\n")), Err(400), "{line:?}");
    }
    assert_eq!(chunked("0;a\n"), Err(400));
}

#[test]
fn chunk_extensions_over_one_kibibyte_in_all_are_refused() {
    let body = |name: usize| format!("1;{0}\r\nx\r\n0;{0}\r\n\r\n", "a".repeat(name));
    assert_eq!(chunked(body(511)).map(|end| end.is_some()), Ok(true));
    assert_eq!(chunked(body(512)), Err(400));
    let flood = "1;a\r\nx\r\n".repeat(90) + &"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n".repeat(10);
    assert_eq!(
        chunked(flood + "0;" + &"b".repeat(534) + "\r\n\r\n"),
        Err(400)
    );
}

#[test]
fn trailers_obey_the_field_syntax_and_are_dropped_rfc9112_7_1_2() {
    let input = "0\r\nA: b\r\nContent-Length: 9\r\nempty:\r\n\r\nGET";
    assert_eq!(chunked(input), Ok(Some(input.len() - 3)));
    for line in [
        " a: b",
        "a : b",
        ": b",
        "a",
        "a\n",
        "a: b\n",
        "a: \0",
        "a: \u{7f}",
        "a: b\r\n c",
        "a: b\rc",
        "(: b",
    ] {
        assert_eq!(
            chunked(format!("0\r\n{line}\r\n\r\n")),
            Err(400),
            "{line:?}"
        );
    }
    assert_eq!(chunked("0\r\n\n"), Err(400));
    assert_eq!(chunked("0\r\n\rX"), Err(400));
}

#[test]
fn trailers_are_bounded_in_lines_and_bytes() {
    let lines = |count: usize| format!("0\r\n{}\r\n", "a:\r\n".repeat(count));
    assert_eq!(chunked(lines(100)), Ok(Some(405)));
    assert_eq!(chunked(lines(101)), Err(431));
    let bytes = |value: usize| format!("0\r\na:{}\r\n\r\n", "b".repeat(value));
    assert_eq!(chunked(bytes(8192 - 4)), Ok(Some(8192 + 5)));
    assert_eq!(chunked(bytes(8192 - 3)), Err(431));
}

#[test]
fn a_decoder_is_small_enough_to_keep_in_every_connection() {
    assert!(size_of::<BodyDecoder>() <= 32);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn the_end_of_a_body_does_not_depend_on_how_the_bytes_are_cut(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "0", "5", "a", "f", ";", "x", "=", "\"", "\\", " ", "\t", "\r\n", "\r", "\n", ":",
                "5\r\nhello\r\n", "3;a=\"b\"\r\nabc\r\n", "0\r\n", "\r\n\r\n", "A: b\r\n", "\0",
            ]),
            0..24,
        ),
        step in 1usize..9,
    ) {
        let input = pieces.concat();
        prop_assert_eq!(
            chunked_by(step, input.as_bytes()),
            chunked_by(usize::MAX, input.as_bytes())
        );
    }
}
