//! Parts of a file: 206 and 416 (RFC 9110 section 14).

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;

use crate::http::range::{Selection, select};
use crate::http::response::{Body, Response};
use crate::http::status::Status;
use crate::site::content::{Content, Representation};
use crate::site::disk::{MemfdBody, OpenFile};
use crate::site::pages;

/// The answer to a Range field with this value, dated `date_unix_secs`; `None` if
/// the whole file is the answer. `of_part` says what stands in each of several parts in the place of its
/// [`content_lines`](Representation::content_lines).
#[must_use]
pub fn partial(
    representation: &Representation,
    range: &[u8],
    date_unix_secs: u64,
    of_part: impl FnOnce(Bytes) -> Bytes,
) -> Option<Response> {
    let length = representation.content.len();
    match select(range, length) {
        Selection::Ignore => None,
        Selection::Unsatisfiable => Some(unsatisfiable(length)),
        Selection::Ranges(ranges) => Some(match &ranges[..] {
            [range] => single(representation, range.clone(), date_unix_secs),
            _ => multipart(
                representation,
                &ranges,
                &of_part(representation.content_lines()),
                date_unix_secs,
            ),
        }),
    }
}

/// The offsets `range` of the content.
#[must_use]
pub fn slice(content: &Content, range: Range<u64>) -> Body {
    match content {
        // The ranges lie inside the content, whose length is a usize.
        Content::Memory(bytes) => {
            Body::Memory(bytes.slice(range.start as usize..range.end as usize))
        }
        Content::MemfdBody(content) => Body::MemfdBody {
            content: Arc::<MemfdBody>::clone(content),
            range,
        },
        Content::Descriptor(file, _) => Body::File {
            file: Arc::<OpenFile>::clone(file),
            range,
        },
    }
}

/// 416 says how long the file is (RFC 9110 section 15.5.17).
fn unsatisfiable(length: u64) -> Response {
    let mut response = pages::error(
        Status::RANGE_NOT_SATISFIABLE,
        "The file has none of the bytes asked for.",
    );
    let content_range = format!("Content-Range: bytes */{length}\r\n");
    response.fields = Bytes::from([&response.fields[..], content_range.as_bytes()].concat());
    response
}

/// One range is sent as it is (RFC 9110 section 15.3.7.1).
fn single(representation: &Representation, range: Range<u64>, date_unix_secs: u64) -> Response {
    let content_range = content_range(&range, representation.content.len());
    Response {
        status: Status::PARTIAL_CONTENT,
        fields: Bytes::from(
            [
                &representation.fields(date_unix_secs)[..],
                content_range.as_bytes(),
            ]
            .concat(),
        ),
        length: Some(range.end - range.start),
        body: slice(&representation.content, range),
    }
}

/// Several are sent as multipart/byteranges (RFC 9110 section 14.6): each with a head of its own,
/// and no Content-Range in the head of the answer.
fn multipart(
    representation: &Representation,
    ranges: &[Range<u64>],
    content_lines: &[u8],
    date_unix_secs: u64,
) -> Response {
    let boundary = boundary();
    let length = representation.content.len();
    let mut parts = VecDeque::with_capacity(2 * ranges.len() + 1);
    for (index, range) in ranges.iter().enumerate() {
        let opening = if index == 0 { "--" } else { "\r\n--" };
        let start = format!("{opening}{boundary}\r\n");
        let end = content_range(range, length) + "\r\n";
        let head = [start.as_bytes(), content_lines, end.as_bytes()].concat();
        parts.push_back(Body::Memory(Bytes::from(head)));
        parts.push_back(slice(&representation.content, range.clone()));
    }
    parts.push_back(Body::Memory(Bytes::from(format!("\r\n--{boundary}--\r\n"))));
    let content_type = format!("Content-Type: multipart/byteranges; boundary={boundary}\r\n");
    let body = Body::Parts(Box::new(parts));
    Response {
        status: Status::PARTIAL_CONTENT,
        fields: representation.fields_with_content_line(&content_type, date_unix_secs),
        length: Some(body.len()),
        body,
    }
}

fn content_range(range: &Range<u64>, length: u64) -> String {
    format!(
        "Content-Range: bytes {}-{}/{length}\r\n",
        range.start,
        range.end - 1
    )
}

/// A boundary that no file can be made to hold: nobody outside knows the key of this process.
fn boundary() -> String {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!(
        "abide-{:016x}{:016x}",
        KEY.hash_one(count),
        KEY.hash_one(!count)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Millis, Now};
    use crate::config::EtagSource;
    use crate::http::accept_encoding::Coding;
    use crate::site::content::{LoadLimits, Metadata};
    use crate::site::disk::{DescriptorBudget, ReadLimits};
    use std::io::Write;

    fn digits(memory_bytes: u64) -> Representation {
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(b"0123456789").expect("write");
        let now = Now {
            monotonic: Millis(0),
            unix_secs: u64::MAX,
        };
        let metadata = Metadata {
            content_type: "text/plain; charset=utf-8",
            coding: Coding::Identity,
            varies: false,
            etag: EtagSource::Modified,
        };
        let limits = LoadLimits {
            read: ReadLimits {
                memory_bytes,
                hash_bytes: 0,
            },
            descriptors: &Arc::new(DescriptorBudget::unlimited()),
        };
        Representation::load(file, &metadata, limits, now).expect("load")
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).expect("ASCII")
    }

    #[test]
    fn one_range_is_the_bytes_alone() {
        let response = partial(&digits(100), b"bytes=2-4", u64::MAX, |lines| lines).expect("206");
        assert_eq!(
            (response.status, response.length),
            (Status::PARTIAL_CONTENT, Some(3))
        );
        assert!(matches!(&response.body, Body::Memory(bytes) if bytes == "234"));
        let fields = text(&response.fields);
        assert!(
            fields.contains("Content-Range: bytes 2-4/10\r\n") && fields.contains("ETag: "),
            "{fields}"
        );
    }

    #[test]
    fn a_range_of_a_large_file_is_a_range_of_its_descriptor() {
        let response = partial(&digits(1), b"bytes=-3", u64::MAX, |lines| lines).expect("206");
        assert!(matches!(response.body, Body::File { range, .. } if range == (7..10)));
    }

    #[test]
    fn several_ranges_are_parts_with_an_exact_length() {
        let response =
            partial(&digits(100), b"bytes=0-1,5-6", u64::MAX, |lines| lines).expect("206");
        let Body::Parts(parts) = response.body else {
            panic!("parts")
        };
        let whole: Vec<u8> = parts
            .iter()
            .flat_map(|part| match part {
                Body::Memory(bytes) => bytes.to_vec(),
                _ => panic!("in memory"),
            })
            .collect();
        assert_eq!(response.length, Some(whole.len() as u64));
        let fields = text(&response.fields);
        let boundary = fields
            .split("boundary=")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next())
            .expect("boundary");
        let part = |range: &str, bytes: &str| {
            format!(
                "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {range}/10\r\n\r\n{bytes}\r\n"
            )
        };
        assert_eq!(
            text(&whole),
            format!(
                "{}{}--{boundary}--\r\n",
                part("0-1", "01"),
                part("5-6", "56")
            )
        );
        assert!(!fields.contains("Content-Range"), "{fields}");
        assert_eq!(fields.matches("\nContent-Type: ").count(), 1, "{fields}");
    }

    #[test]
    fn none_of_the_bytes_is_416_with_the_length() {
        let response = partial(&digits(100), b"bytes=10-", u64::MAX, |lines| lines).expect("416");
        assert_eq!(response.status, Status::RANGE_NOT_SATISFIABLE);
        assert!(text(&response.fields).contains("Content-Range: bytes */10\r\n"));
    }
}
