//! Files that change while they are served: deployed, replaced, truncated or removed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use support::{Client, Launch, Server, Site, until};

#[test]
fn a_swapped_current_link_is_served_within_a_second_or_so() {
    let site = Site::empty();
    for release in ["7", "8"] {
        let place = site.beside(release);
        std::fs::create_dir(&place).expect("a release");
        std::fs::write(place.join("index.html"), release).expect("its page");
    }
    let current = site.beside("current");
    std::os::unix::fs::symlink("7", &current).expect("link");
    let server = Server::of(&current);
    let mut client = server.connect();
    assert_eq!(client.get("/").text(), "7");
    std::os::unix::fs::symlink("8", site.beside("next")).expect("link");
    std::fs::rename(site.beside("next"), &current).expect("swap");
    until("release 8 is served", || client.get("/").text() == "8");
}

#[test]
fn a_file_that_is_replaced_is_served_whole_old_or_new() {
    let site = Site::empty();
    // One in memory and one sent with sendfile(2). The lengths differ so that a mixture shows.
    let small = [vec![b'a'; 30_000], vec![b'b'; 50_000]];
    let large = [vec![b'a'; 600_000], vec![b'b'; 400_000]];
    site.write("small", &small[0]);
    site.write("large", &large[0]);
    let server = Launch::of(site.root())
        .config("[cache]\nrevalidate = 0\n[keep_alive]\nmax_requests = 1000000\n")
        .start();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for (target, versions) in [("/small", &small), ("/large", &large)] {
            let (server, is_over) = (&server, &is_over);
            scope.spawn(move || {
                let mut client = server.connect();
                while !is_over.load(Ordering::Relaxed) {
                    let body = client.get(target).body;
                    assert!(versions.contains(&body), "{target} is a mixture");
                }
            });
        }
        for round in 0..100 {
            site.replace("small", &small[round % 2]);
            site.replace("large", &large[round % 2]);
            thread::sleep(Duration::from_millis(5));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    // With revalidate = 0 each request compares with the file system.
    site.replace("small", "newest");
    assert_eq!(server.connect().get("/small").text(), "newest");
}

/// `cache.revalidate = 1`, the default.
#[test]
fn a_changed_or_removed_file_is_noticed_within_a_second_or_so() {
    let site = Site::new();
    let server = Server::of(site.root());
    let mut client = server.connect();
    assert!(client.get("/page.html").text().contains("page"));
    site.replace("page.html", "changed");
    until("the change is served", || {
        client.get("/page.html").body == b"changed"
    });
    std::fs::remove_file(site.path("page.html")).expect("remove");
    until("the removed file is missed", || {
        client.get("/page.html").status == 404
    });
    site.write("page.html", "back");
    until("the new file", || client.get("/page.html").body == b"back");
}

/// The promised length cannot be met any more, and no other bytes may be sent instead.
#[test]
fn a_file_truncated_on_its_way_ends_the_connection_short() {
    let site = Site::new();
    let len = 64 * 1024 * 1024;
    site.sparse("large.bin", len);
    let server = Server::of(site.root());
    let mut client = Client::connect_narrow(server.address());
    client.send(support::client::request("GET", "/large.bin", ""));
    assert_eq!(client.head().length(), Some(len));
    std::fs::File::options()
        .write(true)
        .open(site.path("large.bin"))
        .and_then(|file| file.set_len(1024))
        .expect("truncate");
    let got = client.try_rest().unwrap_or_else(|(got, _)| got);
    assert!((got.len() as u64) < len, "{} bytes came", got.len());
    assert!(got.iter().all(|&byte| byte == 0), "something else followed");
    server.connect().expect_usable();
}

/// An open file stays readable after it is removed.
#[test]
fn a_file_removed_on_its_way_arrives_whole() {
    let site = Site::new();
    let len = 32 * 1024 * 1024;
    site.sparse("large.bin", len);
    let server = Server::of(site.root());
    let mut client = Client::connect_narrow(server.address());
    client.send(support::client::request("GET", "/large.bin", ""));
    let head = client.head();
    std::fs::remove_file(site.path("large.bin")).expect("remove");
    let body = client.read_body(usize::try_from(len).expect("64 bits"));
    assert_eq!(head.length(), Some(body.len() as u64));
    client.expect_usable();
}
