use std::fs::File;
use std::io::Write;

use super::*;
use crate::clock::Millis;
use crate::site::content::LoadLimits;
use crate::site::disk::{MIN_MEMFD_BYTES, ReadLimits};

const HTML: Metadata<'_> = Metadata {
    content_type: "text/html; charset=utf-8",
    coding: Coding::Identity,
    varies: false,
    etag: EtagSource::Modified,
};

fn unlimited() -> Arc<DescriptorBudget> {
    Arc::new(DescriptorBudget::unlimited())
}

fn limits(memory_bytes: u64, descriptors: &Arc<DescriptorBudget>) -> LoadLimits<'_> {
    LoadLimits {
        read: ReadLimits {
            memory_bytes,
            hash_bytes: 6,
        },
        descriptors,
    }
}

fn at(unix_secs: u64) -> Now {
    Now {
        monotonic: Millis(0),
        unix_secs,
    }
}

fn loaded(content: &[u8], memory_bytes: u64, now: Now) -> (File, Representation) {
    let mut file = tempfile::tempfile().expect("temporary file");
    file.write_all(content).expect("write");
    let copy = file.try_clone().expect("dup");
    (
        file,
        Representation::load(copy, &HTML, limits(memory_bytes, &unlimited()), now).expect("load"),
    )
}

#[test]
fn a_small_file_is_in_memory_and_a_large_one_stays_open() {
    let (_, small) = loaded(b"12345", 5, at(u64::MAX));
    assert!(matches!(&small.content, Content::Memory(bytes) if bytes == "12345"));
    let (_, large) = loaded(b"123456", 5, at(u64::MAX));
    assert!(matches!(large.content, Content::Descriptor(_, 6)));
}

#[test]
fn a_torn_read_is_a_mixture_wherever_memory_has_it() {
    let is_mixture = |content: &[u8], memory_bytes| {
        let (_, mut representation) = loaded(content, memory_bytes, at(u64::MAX));
        assert!(!representation.is_mixture());
        representation.is_torn = true;
        representation.is_mixture()
    };
    assert!(is_mixture(b"12345", 5));
    assert!(is_mixture(&[b'x'; 2 * MIN_MEMFD_BYTES], 1 << 20));
    assert!(!is_mixture(b"123456", 5), "it is sent as it will be then");
}

#[test]
fn the_fields_describe_the_content_and_divide_at_their_marks() {
    let (_, page) = loaded(b"x", 5, at(u64::MAX));
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).expect("ASCII");
    let all = text(page.fields(u64::MAX));
    assert!(
        all.contains("Content-Type: text/html; charset=utf-8\r\n"),
        "{all}"
    );
    assert!(
        text(page.not_modified_fields()).starts_with("ETag: \"1-"),
        "{all}"
    );
    assert!(
        !text(page.not_modified_fields()).contains("Last-Modified"),
        "{all}"
    );
    assert!(
        text(page.page_fields()).starts_with("Content-Type: "),
        "{all}"
    );
}

#[test]
fn last_modified_is_never_in_the_future() {
    let (_, page) = loaded(b"x", 5, at(1_000));
    assert_eq!(page.last_modified, Some(1_000));
}

#[test]
fn last_modified_is_never_later_than_the_date_rfc9110_8_8_2_1() {
    let (_, page) = loaded(b"x", 5, at(1_000));
    let variant = page.variant(Coding::Gzip, b"coded".to_vec());
    let other = "Content-Type: a/b\r\n";
    for page in [&page, &variant] {
        for (date, said) in [(999, 999), (1_000, 1_000), (1_001, 1_000), (0, 0)] {
            let as_loaded = text(&page.fields(u64::MAX));
            let line = |secs| format!("Last-Modified: {}\r\n", http_date(secs));
            let expected = as_loaded.replacen(&line(1_000), &line(said), 1);
            assert_eq!(text(&page.fields(date)), expected);
            let parted = text(&page.fields_with_content_line(other, date));
            assert!(parted.contains(&line(said)), "{parted}");
            assert!(parted.contains(other), "{parted}");
        }
    }
}

#[test]
fn a_change_is_seen_and_a_fresh_file_is_loaded_again_once() {
    let (mut file, page) = loaded(b"x", 5, at(u64::MAX));
    let before = Identity::of(&file).expect("stat");
    assert!(page.is_current(&before));
    file.write_all(b"y").expect("write");
    assert!(!page.is_current(&Identity::of(&file).expect("stat")));
    let wall = before.modified_secs();
    let copy = file.try_clone().expect("dup");
    let racy = Representation::load(copy, &HTML, limits(5, &unlimited()), at(wall)).expect("load");
    assert!(!racy.is_current(&Identity::of(&file).expect("stat")));
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).expect("ASCII")
}

#[test]
fn a_variant_differs_in_content_coding_and_tag() {
    let (_, page) = loaded(b"content", 100, at(u64::MAX));
    let variant = page.variant(Coding::Gzip, b"coded".to_vec());
    let fields = text(&variant.fields(u64::MAX));
    assert_ne!(variant.etag, page.etag);
    assert_eq!(variant.content.len(), 5);
    assert_eq!(
        variant.content_lines(),
        "Content-Type: text/html; charset=utf-8\r\nContent-Encoding: gzip\r\n"
    );
    assert!(fields.contains(VARY), "{fields}");
    let etag = text(variant.etag.as_ref().expect("a tag"));
    let not_modified = format!("ETag: {etag}\r\n{VARY}");
    assert_eq!(text(&variant.not_modified_fields()), not_modified);
    assert_eq!(
        text(&variant.page_fields()),
        format!(
            "{VARY}{}X-Content-Type-Options: nosniff\r\n",
            text(&variant.content_lines())
        ),
        "an error page is encoded too"
    );
    let parted = text(&variant.fields_with_content_line("Content-Type: a/b\r\n", u64::MAX));
    assert!(!parted.contains("Content-Encoding"), "{parted}");
}

#[test]
fn a_tag_of_the_content_is_the_same_in_memory_and_through_a_descriptor() {
    let by_content = Metadata {
        etag: EtagSource::Content,
        ..HTML
    };
    let tag = |content: &[u8], memory_bytes: u64| {
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(content).expect("write");
        let loaded = Representation::load(
            file,
            &by_content,
            limits(memory_bytes, &unlimited()),
            at(u64::MAX),
        );
        loaded.expect("load")
    };
    let etag = |content: &[u8], memory_bytes| tag(content, memory_bytes).etag.expect("a tag");
    assert_eq!(etag(b"123456", 6), etag(b"123456", 5));
    assert_ne!(etag(b"123456", 6), etag(b"123457", 6));
    // Above the limit there is no tag to compare with.
    let large = tag(b"1234567", 5);
    assert_eq!((&large.etag, large.last_modified), (&None, None));
    assert_eq!(text(&large.not_modified_fields()), "");
    assert!(text(&large.fields(u64::MAX)).starts_with("Content-Type: "));
    assert_eq!(large.content_type(), HTML.content_type);
}

fn with_time(secs: u64, nanoseconds: u32, content: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("temporary file");
    file.write_all(content).expect("write");
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(secs, nanoseconds);
    file.set_modified(time).expect("utimes");
    file
}

fn load_at(file: File, metadata: &Metadata<'_>, now_secs: u64) -> Representation {
    let now = at(now_secs);
    Representation::load(file, metadata, limits(100, &unlimited()), now).expect("load")
}

#[test]
fn a_placeholder_time_makes_neither_a_date_nor_a_tag() {
    for secs in [0, 1] {
        let load = |content: &[u8]| load_at(with_time(secs, 0, content), &HTML, u64::MAX);
        let (one, other) = (load(b"one"), load(b"two"));
        assert_eq!(one.last_modified, None);
        assert_eq!(one.etag, Some(crate::site::disk::of_bytes(b"one")));
        assert_ne!(one.etag, other.etag);
        assert!(!text(&one.fields(u64::MAX)).contains("Last-Modified"));
    }
}

#[test]
fn a_tag_of_the_content_goes_without_a_date() {
    let by_content = Metadata {
        etag: EtagSource::Content,
        ..HTML
    };
    let page = load_at(with_time(1_000, 0, b"x"), &by_content, 5_000);
    assert_eq!(page.last_modified, None);
    assert!(page.etag.is_some());
}

#[test]
fn a_whole_second_makes_a_weak_tag_until_it_is_over_rfc9110_8_8_1() {
    let etag = |nanoseconds, now_secs| {
        let page = load_at(with_time(1_000, nanoseconds, b"x"), &HTML, now_secs);
        let variant = page.variant(Coding::Gzip, b"y".to_vec());
        let tags = [page.etag, variant.etag].map(|etag| text(&etag.expect("a tag")));
        assert_eq!(tags[0].starts_with("W/\""), tags[1].starts_with("W/\""));
        let [tag, _] = tags;
        tag
    };
    let (weak, strong) = (etag(0, 1_000), etag(0, 1_001));
    assert!(weak.starts_with("W/\"1-3e8.0-"), "{weak}");
    assert_eq!(strong, "\"1-3e8.0\"");
    assert_eq!(etag(1, 1_000), "\"1-3e8.1\"");
}
