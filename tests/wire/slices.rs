//! Long jobs are done in slices, so that one worker is enough for all requests, and only for as long as
//! a client waits for the result.

use std::fs;
use std::thread;
use std::time::Duration;

use support::client::request;
use support::{Client, Launch, Server, Site, accepting, until};

/// Requests sent one after the other while a job runs. Each waits for one slice.
const COLD_FILES: usize = 12;

/// Enough entries for many slices. A request for a file waits for one of them.
const MANY: usize = 20_000;

const PIPELINED: usize = 64;

/// Time in which an answer that has been sent is seen.
const A_MOMENT: Duration = Duration::from_millis(1);

const TIB: u64 = 1 << 40;

/// Hashes files so large that the job does not end within a test.
const HASH_ALL: &str = "etag = \"content\"\n[cache]\nhash_bytes = 1099511627776\n";

fn site() -> Site {
    let site = Site::new();
    for number in 0..COLD_FILES {
        site.write(&format!("cold-{number}.txt"), number.to_string());
    }
    site
}

/// A directory of `count` entries, which are hard links to one file.
fn fill(site: &Site, name: &str, count: usize) {
    site.write(&format!("{name}/first.txt"), "");
    for number in 1..count {
        let link = site.path(name).join(format!("entry-{number}.txt"));
        fs::hard_link(site.path(&format!("{name}/first.txt")), link).expect("a hard link");
    }
}

/// A server with one worker.
fn serve(site: &Site, config: &str) -> Server {
    let launch = Launch::of(site.root()).args(&["--workers", "1"]);
    launch.config(config).start()
}

/// Files that are not in memory are answered while `waiting` still wait for a job.
fn expect_cold_files(server: &Server, waiting: &mut [Client]) {
    let mut client = server.connect();
    for number in 0..COLD_FILES {
        let response = client.get(&format!("/cold-{number}.txt"));
        assert_eq!(response.text(), number.to_string());
    }
    for client in waiting {
        assert!(!client.is_told_something(A_MOMENT), "the job ended first");
    }
}

/// Two clients send a few kilobytes of requests each.
#[test]
fn large_listings_hold_up_nobody() {
    let site = site();
    fill(&site, "many", MANY);
    let server = serve(&site, "listing = true\n[cache]\nrevalidate = 0\n");
    let mut clients = [("name", "identity"), ("-size", "gzip")].map(|(order, coding)| {
        let mut client = server.connect();
        let target = format!("/many/?sort={order}");
        client.send(request("HEAD", &target, &accepting(coding)).repeat(PIPELINED));
        client
    });
    expect_cold_files(&server, &mut clients);
    for client in &mut clients {
        let tags = [(); PIPELINED].map(|()| {
            let response = client.answer_to_head();
            assert_eq!(response.status, 200, "{}", response.head);
            response.field("etag").expect("a tag").to_owned()
        });
        assert!(tags.iter().all(|tag| *tag == tags[0]));
    }
}

/// Long jobs share the worker too: each gets a slice in turn.
#[test]
fn a_small_directory_is_not_behind_a_large_one() {
    let site = site();
    fill(&site, "many", MANY);
    fill(&site, "few", MANY / 20);
    let server = serve(&site, "listing = true\n");
    let mut many = server.connect();
    many.send(request("GET", "/many/", ""));
    let few = server.connect().get("/few/");
    assert_eq!(few.status, 200);
    assert!(!many.is_told_something(A_MOMENT), "large before small");
    assert_eq!(many.answer().status, 200);
}

/// RFC 9112 section 9.6: an end of stream from the client need not end the connection.
#[test]
fn a_client_that_has_sent_all_gets_its_listing() {
    let site = site();
    fill(&site, "some", MANY / 10);
    let server = serve(&site, "listing = true\n");
    let mut client = server.connect();
    client.send(request("GET", "/some/", ""));
    client.half_close();
    assert_eq!(client.answer().status, 200);
    client.expect_end();
}

#[test]
fn large_files_are_hashed_for_as_long_as_somebody_waits() {
    let site = site();
    let names = ["one.bin", "other.bin"];
    names.iter().for_each(|name| site.sparse(name, TIB));
    let server = serve(&site, HASH_ALL);
    let descriptors = server.descriptors();
    let mut clients: Vec<_> = names.map(|_| server.connect()).into();
    for (client, name) in clients.iter_mut().zip(names) {
        client.send(request("HEAD", &format!("/{name}"), ""));
    }
    let ticks = server.cpu_ticks();
    until("the files are being read", || {
        server.cpu_ticks() > ticks + 5
    });
    expect_cold_files(&server, &mut clients);
    // One client goes on waiting.
    clients.pop();
    thread::sleep(Duration::from_millis(1_500));
    assert!(!clients[0].is_told_something(A_MOMENT));
    clients.pop();
    until("the files are closed", || {
        server.descriptors() <= descriptors
    });
    let ticks = server.cpu_ticks();
    thread::sleep(Duration::from_millis(300));
    let used = server.cpu_ticks() - ticks;
    assert!(used < 10, "{used} ticks without a client");
}

/// A client that has closed its sending side is answered too.
#[test]
fn a_client_that_has_sent_all_is_not_waited_for_without_end() {
    let site = site();
    site.sparse("one.bin", TIB);
    let server = serve(&site, HASH_ALL);
    let mut client = server.connect();
    client.send(request("GET", "/one.bin", ""));
    client.half_close();
    let response = client.answer();
    assert_eq!(response.status, 503, "{}", response.head);
    client.expect_end();
}

/// RFC 9110 section 8.8: no validator is better than a wrong one.
#[test]
fn a_file_above_the_bound_has_no_validators() {
    let site = site();
    let names = ["/one.bin", "/other.bin"];
    names
        .iter()
        .for_each(|name| site.sparse(&name[1..], 4 * TIB));
    let server = serve(&site, "etag = \"content\"\n");
    let mut client = server.connect();
    for name in names {
        let response = client.ask("HEAD", name);
        assert_eq!((response.status, response.length()), (200, Some(4 * TIB)));
        for field in ["etag", "last-modified"] {
            assert_eq!(response.field(field), None, "{}", response.head);
        }
        let part = client.ask_with("GET", name, "Range: bytes=5-9\r\n");
        assert_eq!((part.status, part.body.len()), (206, 5));
        let dated = "Range: bytes=5-9\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        client.send(request("GET", name, dated));
        assert_eq!(client.head().status, 200, "nothing to compare with");
        client = server.connect();
    }
    // A thread of its own writes standard error.
    let count = || server.stderr().matches("etag = \"content\"").count();
    until("the warning is there", || count() > 0);
    assert_eq!(count(), 1, "{}", server.stderr());
    // The tag of size and time needs no reading.
    let by_time = serve(&site, "");
    let response = by_time.connect().ask("HEAD", names[0]);
    assert!(response.field("etag").is_some() && response.field("last-modified").is_some());
}

/// A sidecar is hashed like any file.
#[test]
fn a_large_sidecar_is_hashed_in_slices() {
    let site = site();
    site.write("data.js", "x".repeat(1_000));
    site.sparse("data.js.gz", TIB);
    let server = serve(&site, HASH_ALL);
    let mut client = server.connect();
    client.send(request("HEAD", "/data.js", "Accept-Encoding: gzip\r\n"));
    expect_cold_files(&server, std::slice::from_mut(&mut client));
    site.sparse("data.js.gz", 64 << 20);
    let mut other = server.connect();
    let response = other.ask_with("HEAD", "/data.js", "Accept-Encoding: gzip\r\n");
    assert_eq!(response.status, 200, "{}", response.head);
}
