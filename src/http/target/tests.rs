//! Target forms, and paths as file names.

use proptest::prelude::*;

use super::*;

fn path<'b>(path: &'b str, query: Option<&'b str>) -> Target<'b> {
    Target::Path {
        path: path.as_bytes(),
        query: query.map(str::as_bytes),
    }
}

fn form(method: Method, raw: &str) -> Option<Target<'_>> {
    classify(method, raw.as_bytes())
        .ok()
        .map(|classified| classified.target)
}

fn decoded(raw: &str) -> Option<String> {
    let mut out = b"left over".to_vec();
    decode_path(raw.as_bytes(), &mut out).ok()?;
    Some(String::from_utf8(out).unwrap())
}

fn encoded(decoded: &[u8]) -> String {
    let mut out = Vec::new();
    encode_path(decoded, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn an_origin_form_splits_at_the_first_question_mark_rfc9112_3_2_1() {
    let get = |raw| form(Method::Get, raw);
    assert_eq!(get("/a/b"), Some(path("/a/b", None)));
    assert_eq!(get("/a?"), Some(path("/a", Some(""))));
    assert_eq!(get("/a?b?c/../d"), Some(path("/a", Some("b?c/../d"))));
    assert_eq!(get("//host/x"), Some(path("//host/x", None)));
}

#[test]
fn an_absolute_form_is_http_with_a_valid_host_rfc9112_3_2_2() {
    let get = |raw| form(Method::Get, raw);
    assert_eq!(get("http://a/b?c"), Some(path("/b", Some("c"))));
    assert_eq!(get("HTTP://a:1/b"), Some(path("/b", None)));
    assert_eq!(get("http://a"), Some(path("/", None)));
    assert_eq!(get("http://a?c"), Some(path("/", Some("c"))));
    for raw in [
        "http://",
        "http:///b",
        "http://u@a/",
        "http://a:x/",
        "ftp://a/",
        "https://u@a/",
        "http:/a",
        "a",
        "?",
    ] {
        assert_eq!(get(raw), None, "{raw}");
    }
}

#[test]
fn the_authority_of_the_target_is_returned() {
    let authority = |method, raw: &'static str| classify(method, raw.as_bytes()).unwrap().authority;
    assert_eq!(
        authority(Method::Get, "http://a:1/b"),
        Some(b"a:1".as_slice())
    );
    assert_eq!(
        authority(Method::Options, "http://a"),
        Some(b"a".as_slice())
    );
    assert_eq!(authority(Method::Get, "/b"), None);
}

#[test]
fn the_host_of_a_host_and_port_keeps_its_brackets() {
    for (value, host) in [
        ("a", "a"),
        ("a.example:80", "a.example"),
        ("a:", "a"),
        ("192.0.2.1:80", "192.0.2.1"),
        ("[::1]", "[::1]"),
        ("[2001:db8::1]:443", "[2001:db8::1]"),
    ] {
        assert!(is_host_and_port(value.as_bytes()));
        assert_eq!(host_of(value.as_bytes()), host.as_bytes(), "{value}");
    }
}

#[test]
fn an_asterisk_is_for_options_only_rfc9112_3_2_4() {
    assert_eq!(form(Method::Options, "*"), Some(Target::Asterisk));
    assert_eq!(form(Method::Options, "http://a"), Some(Target::Asterisk));
    assert_eq!(form(Method::Options, "http://a/"), Some(path("/", None)));
    assert_eq!(
        form(Method::Options, "http://a?b"),
        Some(path("/", Some("b")))
    );
    assert_eq!(form(Method::Get, "*"), None);
    assert_eq!(form(Method::Options, "**"), None);
    assert_eq!(form(Method::Options, "*?a"), None);
}

#[test]
fn connect_takes_an_authority_form_and_nothing_else_rfc9112_3_2_3() {
    let connect = |raw| form(Method::Connect, raw);
    assert_eq!(connect("a:443"), Some(Target::Authority(b"a:443")));
    for raw in ["a", "a:", "/", "*", "http://a:443/", "u@a:443", "a:443/"] {
        assert_eq!(connect(raw), None, "{raw}");
    }
    assert_eq!(form(Method::Get, "a:443"), None);
}

#[test]
fn a_path_is_decoded_once_rfc3986_2_1() {
    assert_eq!(decoded("/").as_deref(), Some("/"));
    assert_eq!(decoded("/a.b/c").as_deref(), Some("/a.b/c"));
    assert_eq!(decoded("/%61%2e%C3%A9").as_deref(), Some("/a.é"));
    assert_eq!(decoded("/%2561").as_deref(), Some("/%61"));
    assert_eq!(decoded("/a+b").as_deref(), Some("/a+b"));
}

#[test]
fn paths_that_cannot_be_a_name_are_refused() {
    for raw in [
        "", "a", "/%", "/%2", "/%zz", "/%2%66", "/%00", "/a%2fb", "/a%2Fb", "/a%5cb", "/a\\b",
        "/\\",
    ] {
        assert_eq!(decoded(raw), None, "{raw}");
    }
}

#[test]
fn dot_segments_are_removed_after_decoding_rfc3986_5_2_4() {
    for (raw, expected) in [
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/b/../../c", "/c"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/%2e/b", "/b"),
        ("/.hidden/..x/x..", "/.hidden/..x/x.."),
        ("/.../a", "/.../a"),
    ] {
        assert_eq!(decoded(raw).as_deref(), Some(expected), "{raw}");
    }
}

#[test]
fn climbing_above_the_root_is_refused() {
    for raw in [
        "/..",
        "/../a",
        "/a/../..",
        "/%2e%2e/a",
        "/./../a",
        "/a/../../a/b",
    ] {
        assert_eq!(decoded(raw), None, "{raw}");
    }
    assert_eq!(decoded("/a/..").as_deref(), Some("/"));
}

#[test]
fn one_file_has_one_name_however_many_slashes() {
    assert_eq!(decoded("//").as_deref(), Some("/"));
    assert_eq!(decoded("//a///b//").as_deref(), Some("/a/b/"));
    // `..` removes the empty segment, as in a client that resolves the path.
    assert_eq!(decoded("/a//../b").as_deref(), Some("/a/b"));
    assert_eq!(decoded("//..").as_deref(), Some("/"));
}

#[test]
fn a_trailing_slash_stands_for_a_directory() {
    for (raw, expected) in [
        ("/a/", "/a/"),
        ("/a/.", "/a/"),
        ("/a/b/..", "/a/"),
        ("/a/%2e", "/a/"),
        ("/a", "/a"),
        ("/a/../b", "/b"),
    ] {
        assert_eq!(decoded(raw).as_deref(), Some(expected), "{raw}");
    }
}

#[test]
fn a_location_escapes_what_a_path_cannot_hold_rfc3986_3_3() {
    assert_eq!(encoded(b"/a b?c#d%e"), "/a%20b%3Fc%23d%25e");
    assert_eq!(encoded(b"/a\r\nSet-Cookie: x"), "/a%0D%0ASet-Cookie:%20x");
    assert_eq!(encoded("/é/".as_bytes()), "/%C3%A9/");
    assert_eq!(encoded(b"/-._~!$&'()*+,;=:@/"), "/-._~!$&'()*+,;=:@/");
}

#[test]
fn a_location_never_names_a_host() {
    assert_eq!(encoded(b"//evil.example/"), "/evil.example/");
    assert_eq!(encoded(b"evil.example"), "/evil.example");
    assert_eq!(encoded(b""), "/");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn a_decoded_path_is_always_normal(
        raw in "(/|[.]|%2e|%2E|%2F|%5C|%00|%25|%|[ab]|%C3|//){0,16}",
    ) {
        let mut out = Vec::new();
        if decode_path(format!("/{raw}").as_bytes(), &mut out).is_ok() {
            prop_assert_eq!(out[0], b'/');
            prop_assert!(!out.contains(&0) && !out.contains(&b'\\'));
            let inner = out.strip_suffix(b"/").unwrap_or(&out);
            for segment in inner.split(|&byte| byte == b'/').skip(1) {
                prop_assert!(!matches!(segment, b"" | b"." | b".."), "{}", out.escape_ascii());
            }
        }
    }

    #[test]
    fn the_fast_path_agrees_with_the_slow_one(raw in "(/[ab.]{0,3}){1,6}") {
        // An escaped `a` after the path forces the slow implementation.
        let (mut fast, mut slow) = (Vec::new(), Vec::new());
        let fast_ok = decode_path(format!("{raw}/a").as_bytes(), &mut fast).is_ok();
        let slow_ok = decode_path(format!("{raw}/%61").as_bytes(), &mut slow).is_ok();
        prop_assert_eq!(fast_ok, slow_ok);
        prop_assert!(!fast_ok || fast == slow);
    }

    #[test]
    fn encoding_and_decoding_a_name_gives_it_back(
        names in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..6), 0..5),
        directory: bool,
    ) {
        let forbidden = |byte: &u8| matches!(byte, 0 | b'/' | b'\\');
        prop_assume!(names.iter().all(|name| {
            !name.iter().any(forbidden) && !matches!(name.as_slice(), b"." | b"..")
        }));
        let mut path = Vec::new();
        for name in &names {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if directory || names.is_empty() {
            path.push(b'/');
        }
        let mut back = Vec::new();
        prop_assert!(decode_path(encoded(&path).as_bytes(), &mut back).is_ok());
        prop_assert_eq!(back, path);
    }
}

#[test]
fn a_query_is_encoded_to_what_a_uri_may_hold_rfc3986_3_4() {
    for (query, encoded) in [
        ("a=b&c=/?", "a=b&c=/?"),
        ("%41%zz%", "%41%25zz%25"),
        ("\"<>{}|^`\\", "%22%3C%3E%7B%7D%7C%5E%60%5C"),
    ] {
        let mut out = Vec::new();
        encode_query(query.as_bytes(), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), encoded);
    }
}

#[test]
fn hosts_that_are_accepted_rfc9110_7_2() {
    for host in [
        "example.com",
        "example.com:80",
        "example.com:",
        "example.com:0",
        "example.com:65535",
        "my_service",
        "xn--bcher-kva.example",
        "b%C3%BCcher.example",
        "a!$&'()*+;=b",
        "127.0.0.1:8080",
        "[::1]",
        "[::1]:8080",
        "[::ffff:192.0.2.1]:",
        "[v1.x]",
        "[V7F.a-b:c~!$&'()*+;=]:8080",
    ] {
        assert!(is_host_and_port(host.as_bytes()), "{host}");
    }
}

#[test]
fn hosts_that_are_refused() {
    for host in [
        "",
        ":80",
        "a,b",
        "a b",
        "user@example.com",
        "user:pw@example.com",
        "example.com/path",
        "example.com?q",
        "example.com:65536",
        "example.com:99999999999999999999",
        "example.com:8o",
        "example.com:-1",
        "a:1:2",
        "%",
        "a%2",
        "a%zz",
        "[::1",
        "[]",
        "[::g]",
        "[127.0.0.1]",
        "[::1]8080",
        "[fe80::1%25eth0]",
        "[v1.]",
        "[v.x]",
        "[vg.x]",
        "[v1x]",
        "[v1.%41]",
        "[v1.a,b]",
        "[v1.a[b]",
        "[v1.x",
        "[v1.x]8080",
        "v1.x]",
        "::1",
        "b\u{fc}cher",
    ] {
        assert!(!is_host_and_port(host.as_bytes()), "{host}");
    }
}

#[test]
fn connect_needs_a_port_rfc9112_3_2_3() {
    assert!(is_connect_authority(b"example.com:443"));
    assert!(is_connect_authority(b"[::1]:443"));
    assert!(!is_connect_authority(b"example.com"));
    assert!(!is_connect_authority(b"example.com:"));
    assert!(!is_connect_authority(b"/path"));
}
