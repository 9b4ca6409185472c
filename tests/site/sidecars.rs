//! Files beside a file, `name.br`, `name.zst` and `name.gz`, with newer and older times: which of them
//! are sent in its place.

use std::io::Read;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, SystemTime};

use support::{
    Client, Launch, Response, Server, Site, accepting, decoded, encoding, pattern, text, until,
};

/// The reference time of the tests: one hour ago, at half a second. The server does not yet trust the
/// time of a file that has just changed.
static MOMENT: LazyLock<SystemTime> = LazyLock::new(|| {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let secs = since_1970.expect("a time after 1970").as_secs() - 3_600;
    SystemTime::UNIX_EPOCH + Duration::from_millis(secs * 1_000 + 500)
});

/// The reference time minus `millis_before`.
fn moment(millis_before: u64) -> SystemTime {
    *MOMENT - Duration::from_millis(millis_before)
}

fn write(site: &Site, name: &str, content: impl AsRef<[u8]>, modified: SystemTime) {
    site.write(name, content);
    site.date(name, modified);
}

/// `content` at the best level of the coding, which differs from what the server makes.
fn encoded(coding: &str, content: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    match coding {
        "br" => {
            let parameters = brotli::enc::BrotliEncoderParams::default();
            brotli::BrotliCompress(&mut &content[..], &mut encoded, &parameters).expect("brotli");
        }
        "zstd" => encoded = zstd::encode_all(content, 12).expect("zstd"),
        _ => {
            flate2::read::GzEncoder::new(content, flate2::Compression::best())
                .read_to_end(&mut encoded)
                .expect("gzip");
        }
    }
    encoded
}

/// The codings and the suffixes of their files.
const CODINGS: [(&str, &str); 3] = [("br", "br"), ("zstd", "zst"), ("gzip", "gz")];

fn get(client: &mut Client, target: &str, coding: &str) -> Response {
    client.ask_with("GET", target, &accepting(coding))
}

/// Requests `target` until the answer is the file beside it, and a few times more.
fn expect_used(server: &Server, target: &str, coding: &str, beside: &[u8]) -> Response {
    let mut client = server.connect();
    let mut ask = || {
        let response = get(&mut client, target, coding);
        assert_eq!(response.status, 200, "{target}");
        if encoding(&response).is_some() {
            assert_eq!(response.field("vary"), Some("Accept-Encoding"), "{target}");
        }
        response
    };
    until(&format!("{target} is sent as the {coding} file"), || {
        let response = ask();
        encoding(&response) == Some(coding) && response.body == beside
    });
    for _ in 0..3 {
        assert!(ask().body == beside, "{target}: after that");
    }
    ask()
}

/// Requests `target` for a while. Every answer has the content of the file itself.
fn expect_unused(server: &Server, target: &str, coding: &str, content: &[u8]) {
    let mut client = server.connect();
    for _ in 0..20 {
        let response = get(&mut client, target, coding);
        assert!(decoded(&response) == content, "{target} in {coding}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn one_that_is_older_is_used_if_it_decodes_to_the_file() {
    let site = Site::new();
    let mut cases = Vec::new();
    // Sidecars of the same time, older by part of a second (within one whole second or not), and by an
    // hour. Files small and compressed on the fly, large, and too large for the cache.
    for bytes in [4_000, 100_000, 300_000] {
        let content = text(bytes);
        for (coding, suffix) in CODINGS {
            let beside = encoded(coding, &content);
            for millis in [0, 1, 499, 700, 3_600_000] {
                let name = format!("{millis}/{bytes}.js");
                write(&site, &name, &content, moment(0));
                write(&site, &format!("{name}.{suffix}"), &beside, moment(millis));
                cases.push((format!("/{name}"), coding, beside.clone()));
            }
        }
    }
    let server = Server::of(site.root());
    for (target, coding, beside) in &cases {
        let response = expect_used(&server, target, coding, beside);
        let media_type = response.field("content-type");
        assert_eq!(media_type, Some("text/javascript; charset=utf-8"));
    }
    assert!(!server.stderr().contains("not sent"), "{}", server.stderr());
}

/// A client has the version before the last, and sends If-Modified-Since alone.
#[test]
fn one_that_is_older_is_not_dated_before_its_file() {
    let site = Site::new();
    let content = text(4_000);
    write(&site, "a.js", &content, moment(0));
    write(&site, "a.js.gz", encoded("gzip", &content), moment(60_000));
    let server = Server::of(site.root());
    let plain = server.connect().get("/a.js");
    let response = expect_used(&server, "/a.js", "gzip", &encoded("gzip", &content));
    let date = response.field("last-modified").expect("Last-Modified");
    assert_eq!(plain.field("last-modified"), Some(date));
    let before = httpdate::fmt_http_date(moment(30_000));
    let fields = format!("{}If-Modified-Since: {before}\r\n", accepting("gzip"));
    let response = server.connect().ask_with("GET", "/a.js", &fields);
    assert_eq!(response.status, 200);
}

#[test]
fn one_that_is_older_and_false_is_never_used_and_said_once() {
    let site = Site::new();
    let content = text(100_000);
    let other = text(100_001);
    let cut = &encoded("gzip", &content)[..200];
    for (name, beside) in [
        ("other.js", &encoded("gzip", &other)[..]),
        ("shorter.js", &encoded("gzip", &content[..99_999])),
        ("cut.js", cut),
        ("plain.js", &content),
    ] {
        write(&site, name, &content, moment(0));
        write(&site, &format!("{name}.gz"), beside, moment(700));
    }
    // A small file of a type that the server does not compress.
    write(&site, "font.woff2", pattern(3_000), moment(0));
    let beside = encoded("gzip", &pattern(2_999));
    write(&site, "font.woff2.gz", beside, moment(700));
    let server = Server::of(site.root());
    for name in ["other", "shorter", "cut", "plain"] {
        expect_unused(&server, &format!("/{name}.js"), "gzip", &content);
        // The server compresses the file itself.
        let mut client = server.connect();
        until("a variant is made", || {
            let response = get(&mut client, &format!("/{name}.js"), "gzip");
            encoding(&response).is_some()
        });
        expect_unused(&server, &format!("/{name}.js"), "gzip", &content);
    }
    expect_unused(&server, "/font.woff2", "gzip", &pattern(3_000));
    for name in [
        "other.js.gz",
        "shorter.js.gz",
        "cut.js.gz",
        "plain.js.gz",
        "font.woff2.gz",
    ] {
        server.wait_for(name);
        let said = server.stderr();
        let lines = said.lines().filter(|line| line.contains(name)).count();
        assert_eq!(lines, 1, "{name}: {said}");
    }
}

/// Sidecars that decode to a gigabyte (gzip) or 16 MiB of zeros, beside a small file. The unit tests of
/// the comparison show that none is decoded beyond the length of the file.
#[test]
fn a_bomb_is_not_sent() {
    let site = Site::new();
    let zeros = vec![0; 50_000];
    for (coding, suffix) in CODINGS {
        let name = format!("{coding}.bin");
        write(&site, &name, &zeros, moment(0));
        let bomb = match coding {
            // Members of gzip may follow each other.
            "gzip" => encoded("gzip", &vec![0; 1 << 24]).repeat(64),
            coding => encoded(coding, &vec![0; 1 << 24]),
        };
        write(&site, &format!("{name}.{suffix}"), bomb, moment(700));
    }
    let server = Server::of(site.root());
    for (coding, _) in CODINGS {
        expect_unused(&server, &format!("/{coding}.bin"), coding, &zeros);
        server.wait_for(&format!("{coding}.bin."));
    }
}

#[test]
fn an_empty_one_is_ignored_even_if_it_is_newer_or_all_are_trusted() {
    let site = Site::new();
    let content = text(4_000);
    write(&site, "a.js", &content, moment(1_000));
    for (_, suffix) in CODINGS {
        write(&site, &format!("a.js.{suffix}"), "", moment(0));
    }
    for config in ["", "precompressed = \"always\"\n", "[cache]\nbytes = 0\n"] {
        let server = Launch::of(site.root()).config(config).start();
        for (coding, _) in CODINGS {
            expect_unused(&server, "/a.js", coding, &content);
        }
    }
}

#[test]
fn all_are_trusted_where_that_is_wanted_and_none_where_it_is_not() {
    let site = Site::new();
    let content = text(4_000);
    write(&site, "a.js", &content, moment(0));
    let other = encoded("br", b"of another time");
    write(&site, "a.js.br", &other, moment(3_600_000));
    let start = |config: &str| Launch::of(site.root()).config(config).start();
    let always = start("precompressed = \"always\"\n");
    let first = get(&mut always.connect(), "/a.js", "br");
    assert!(first.body == other, "at once");
    expect_unused(&start("precompressed = true\n"), "/a.js", "br", &content);
    expect_unused(&start("precompressed = false\n"), "/a.js", "br", &content);
    // A host may have another setting.
    let config = format!(
        "precompressed = \"always\"\n[[host]]\nname = \"other.example\"\nroot = \"{}\"\n\
         precompressed = true\n",
        site.root().display()
    );
    let server = start(&config);
    let mut client = server.connect();
    let mut ask = |host: &str| {
        let line = accepting("br");
        client.send(format!("GET /a.js HTTP/1.1\r\nHost: {host}\r\n{line}\r\n"));
        client.answer()
    };
    assert!(ask("a.example").body == other);
    assert!(decoded(&ask("other.example")) == content);
}

/// A newer sidecar is trusted by its time.
#[test]
fn one_that_is_newer_is_used_at_once() {
    let site = Site::new();
    write(&site, "a.js", text(100_000), moment(1));
    let other = encoded("gzip", b"something else");
    write(&site, "a.js.gz", &other, moment(0));
    let server = Server::of(site.root());
    let first = get(&mut server.connect(), "/a.js", "gzip");
    assert!(first.body == other);
}

#[test]
fn files_of_every_type_have_them() {
    let site = Site::new();
    let names = ["doc.pdf", "font.woff2", "all.tar", "part.stl", "x.png"];
    for (at, name) in names.into_iter().enumerate() {
        let content = text(40_000 + at);
        write(&site, name, &content, moment(0));
        for (coding, suffix) in CODINGS {
            // Newer, older, much older.
            let millis = [0, 400, 3_600_000][at % 3];
            let sidecar = format!("{name}.{suffix}");
            write(&site, &sidecar, encoded(coding, &content), moment(millis));
        }
    }
    let server = Server::of(site.root());
    for (at, name) in names.into_iter().enumerate() {
        for (coding, _) in CODINGS {
            let beside = encoded(coding, &text(40_000 + at));
            let response = expect_used(&server, &format!("/{name}"), coding, &beside);
            assert_ne!(response.field("content-type"), Some("application/gzip"));
            let fields = format!("{}Range: bytes=3-9\r\n", accepting(coding));
            let target = format!("/{name}");
            let part = server.connect().ask_with("GET", &target, &fields);
            assert_eq!((part.status, part.body), (206, beside[3..10].to_vec()));
        }
        let plain = server.connect().get(&format!("/{name}"));
        assert!(plain.body == text(40_000 + at));
    }
}

/// The server looks for a new sidecar beside a picture too, but less often.
#[test]
fn one_that_comes_later_is_noticed() {
    let site = Site::new();
    let content = text(4_000);
    for name in ["a.js", "a.png"] {
        write(&site, name, &content, moment(0));
    }
    let server = Server::of(site.root());
    let beside = encoded("gzip", &content);
    for name in ["a.js", "a.png"] {
        let target = format!("/{name}");
        expect_unused(&server, &target, "gzip", &content);
        write(&site, &format!("{name}.gz"), &beside, moment(1));
        expect_used(&server, &target, "gzip", &beside);
    }
}

#[test]
fn a_verdict_lasts_until_one_of_the_two_files_changes() {
    let site = Site::new();
    let old = text(100_000);
    let new = text(100_001);
    let (of_old, of_new) = (encoded("br", &old), encoded("br", &new));
    write(&site, "a.js", &old, moment(0));
    write(&site, "a.js.br", &of_old, moment(700));
    let server = Server::of(site.root());
    expect_used(&server, "/a.js", "br", &of_old);
    // The original changes, so its sidecar is outdated.
    site.replace("a.js", &new);
    site.date("a.js", moment(0));
    let mut client = server.connect();
    until("the new original is served", || {
        decoded(&get(&mut client, "/a.js", "br")) == new
    });
    expect_unused(&server, "/a.js", "br", &new);
    // The sidecar is replaced too, with a time before the original's.
    site.replace("a.js.br", &of_new);
    site.date("a.js.br", moment(700));
    expect_used(&server, "/a.js", "br", &of_new);
    // The sidecar changes to other content, and back.
    site.replace("a.js.br", &of_old);
    site.date("a.js.br", moment(700));
    until("the wrong sidecar is noticed", || {
        decoded(&get(&mut client, "/a.js", "br")) == new
    });
    expect_unused(&server, "/a.js", "br", &new);
    site.replace("a.js.br", &of_new);
    site.date("a.js.br", moment(700));
    expect_used(&server, "/a.js", "br", &of_new);
}

/// Without a cache no verdict can be kept.
#[test]
fn without_a_cache_whole_seconds_decide() {
    let site = Site::new();
    let content = text(4_000);
    let beside = encoded("zstd", &content);
    for (name, millis) in [("same.js", 499), ("before.js", 501)] {
        write(&site, name, &content, moment(0));
        write(&site, &format!("{name}.zst"), &beside, moment(millis));
    }
    let config = "[cache]\nbytes = 0\n";
    let server = Launch::of(site.root()).config(config).start();
    let mut client = server.connect();
    for _ in 0..3 {
        let same = get(&mut client, "/same.js", "zstd");
        assert_eq!(encoding(&same), Some("zstd"));
        assert_eq!(encoding(&get(&mut client, "/before.js", "zstd")), None);
    }
    server.wait_for("before.js.zst: ");
    let said = server.stderr();
    assert_eq!(said.matches("before.js.zst: ").count(), 1, "{said}");
    assert!(!said.contains("same.js"), "{said}");
}

/// Sidecars of files above 64 MiB are not verified.
#[test]
fn of_a_huge_file_whole_seconds_decide() {
    let site = Site::new();
    site.sparse("huge.iso", 64 * 1024 * 1024 + 1);
    site.date("huge.iso", moment(0));
    write(&site, "huge.iso.gz", "taken at its word", moment(499));
    site.sparse("old.iso", 64 * 1024 * 1024 + 1);
    site.date("old.iso", moment(0));
    write(&site, "old.iso.gz", "too old", moment(501));
    let server = Server::of(site.root());
    let first = get(&mut server.connect(), "/huge.iso", "gzip");
    assert_eq!(first.body, b"taken at its word");
    let mut client = server.connect();
    let head = client.ask_with("HEAD", "/old.iso", &accepting("gzip"));
    assert_eq!(encoding(&head), None);
    server.wait_for("old.iso.gz: ");
}

/// Three times that do not show which of two files is newer: one in the future, one that means "no
/// time", and any time where tags are made from the content.
#[test]
fn a_newer_time_that_says_nothing_does_not_vouch_for_one() {
    let site = Site::new();
    let (old, new) = (text(4_000), text(5_000));
    let in_a_month = SystemTime::now() + Duration::from_secs(30 * 86_400);
    let no_time = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    for (name, modified, beside) in [
        ("future.js", moment(0), in_a_month),
        ("none.js", no_time, moment(0)),
        ("content/any.js", moment(60_000), moment(0)),
    ] {
        write(&site, &format!("{name}.gz"), encoded("gzip", &old), beside);
        // The file is changed after its sidecar.
        thread::sleep(Duration::from_millis(20));
        write(&site, name, &new, modified);
    }
    let by_time = Server::of(site.root());
    let by_content = Launch::of(site.root())
        .config("etag = \"content\"\n")
        .start();
    let no_cache = Launch::of(site.root())
        .config("[cache]\nbytes = 0\n")
        .start();
    for target in ["/future.js", "/none.js"] {
        expect_unused(&by_time, target, "gzip", &new);
        expect_unused(&no_cache, target, "gzip", &new);
    }
    expect_unused(&by_content, "/content/any.js", "gzip", &new);
    by_content.wait_for("content/any.js.gz: it has other content than the file");
    // A correct sidecar is used there too.
    let beside = encoded("gzip", &new);
    write(&site, "content/any.js.gz", &beside, moment(0));
    expect_used(&by_content, "/content/any.js", "gzip", &beside);
}

/// The cache has room for a few files only, and each round evicts all of them.
#[test]
fn a_verdict_outlives_the_place_of_the_file_in_the_cache() {
    let site = Site::new();
    let mut files = Vec::new();
    for number in 0..12 {
        let content = [text(40_000), number.to_string().into_bytes()].concat();
        let name = format!("f{number}.js");
        write(&site, &name, &content, moment(0));
        let beside = encoded("gzip", &content);
        write(&site, &format!("{name}.gz"), &beside, moment(300));
        files.push((format!("/{name}"), beside));
    }
    let config = "[cache]\nbytes = 100000\nfile_bytes = 100000\n";
    let server = Launch::of(site.root()).config(config).start();
    let mut client = server.connect();
    until("all are used in one round", || {
        thread::sleep(Duration::from_millis(100));
        files.iter().all(|(target, beside)| {
            let response = get(&mut client, target, "gzip");
            encoding(&response) == Some("gzip") && response.body == *beside
        })
    });
}

/// A request for a range too makes the server verify a sidecar.
#[test]
fn a_client_that_asks_for_ranges_only_gets_the_sidecar_soon() {
    let site = Site::new();
    let content = pattern(40_000);
    write(&site, "doc.pdf", &content, moment(0));
    write(&site, "doc.pdf.gz", encoded("gzip", &content), moment(300));
    let server = Server::of(site.root());
    let mut client = server.connect();
    let fields = format!("{}Range: bytes=0-9\r\n", accepting("gzip"));
    until("the range is of the sidecar", || {
        let response = client.ask_with("GET", "/doc.pdf", &fields);
        assert_eq!(response.status, 206);
        encoding(&response) == Some("gzip")
    });
}
