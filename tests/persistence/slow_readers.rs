//! Clients that take their answers slowly, or send more than the server accepts: they hold no thread, and
//! lose no answer.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use abide::connection::transport::UNSENT_BYTES;
use support::client::request;
use support::{Client, Launch, Server, Site, pattern, retried_after_a_stall, until};

const LARGE: usize = 50 * 1024 * 1024;

/// A server with a single worker: a client that holds it would hold up all others.
fn one_worker(site: &Site) -> Server {
    Launch::of(site.root()).args(&["-w", "1"]).start()
}

#[test]
fn a_reader_that_takes_nothing_holds_no_thread() {
    retried_after_a_stall(|| {
        let site = Site::new();
        site.sparse("large.bin", LARGE as u64);
        let server = one_worker(&site);
        let mut stuck: Vec<Client> = (0..20)
            .map(|_| Client::connect_narrow(server.address()))
            .collect();
        for client in &mut stuck {
            client.send(request("GET", "/large.bin", ""));
        }
        let start = Instant::now();
        for _ in 0..100 {
            server.connect().expect_usable();
        }
        assert!(start.elapsed() < Duration::from_secs(5), "the others wait");
        // Each client continues where it stopped.
        let mut client = stuck.pop().expect("a client");
        assert_eq!(client.answer().body.len(), LARGE);
        client.expect_usable();
    });
}

/// More connections that always have work than there are workers: the event loop still polls for
/// the others, and they are served in between.
#[test]
fn pipelining_floods_do_not_starve_a_polite_client() {
    retried_after_a_stall(|| {
        let site = Site::new();
        let server = Launch::of(site.root())
            .args(&["-w", "1", "--max-requests", "2000000000"])
            .start();
        let is_over = AtomicBool::new(false);
        let burst = request("GET", "/index.html", "").repeat(1_000);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let mut sender = server.connect();
                let (burst, is_over) = (&burst, &is_over);
                scope.spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        sender.send_some(burst.as_bytes());
                        sender.receive_once();
                    }
                });
            }
            let mut polite = server.connect();
            let start = Instant::now();
            for _ in 0..40 {
                polite.expect_usable();
            }
            let took = start.elapsed();
            is_over.store(true, Ordering::Relaxed);
            assert!(took < Duration::from_secs(2), "40 requests took {took:?}");
        });
    });
}

/// A worker gives one connection a bounded turn, so a fast reader of a large file does not hold it either.
#[test]
fn a_fast_download_does_not_hold_the_others() {
    retried_after_a_stall(|| {
        let site = Site::new();
        site.sparse("huge.bin", 2 * 1024 * 1024 * 1024);
        let server = one_worker(&site);
        std::thread::scope(|scope| {
            let mut client = server.connect();
            client.send(request("GET", "/huge.bin", ""));
            scope.spawn(move || {
                for _ in 0..512 {
                    client.read_body(1024 * 1024);
                }
            });
            let start = Instant::now();
            for _ in 0..20 {
                server.connect().expect_usable();
            }
            assert!(start.elapsed() < Duration::from_secs(5), "the others wait");
        });
    });
}

/// One client that pipelines without end is treated like the others.
#[test]
fn a_pipelining_flood_does_not_hold_the_others() {
    retried_after_a_stall(|| {
        let site = Site::new();
        let server = Launch::of(site.root())
            .args(&["-w", "1", "--max-requests", "1000000"])
            .start();
        let mut flood = server.connect();
        let requests = request("GET", "/", "").repeat(2_000);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..5 {
                    flood.send(&requests);
                    (0..2_000).for_each(|_| assert_eq!(flood.answer().status, 200));
                }
            });
            for _ in 0..20 {
                let start = Instant::now();
                server.connect().expect_usable();
                assert!(start.elapsed() < Duration::from_secs(2), "the others wait");
            }
        });
    });
}

/// The server stops reading while an answer is stuck, so that the client's own kernel holds it back and the
/// server stores nothing more. When the client reads again, all its requests are answered.
#[test]
fn a_client_that_asks_without_reading_is_held_back_and_then_answered() {
    let site = Site::new();
    site.sparse("large.bin", LARGE as u64);
    let server = Launch::of(site.root())
        .args(&["-w", "1", "--max-requests", "1000000"])
        .start();
    let mut client = server.connect();
    client.send(request("GET", "/large.bin", ""));
    // The request is long compared with its answer, so that the kernels' buffers hold few requests.
    let padding = format!("X-Padding: {}\r\n", "p".repeat(16 * 1024));
    let small = request("GET", "/page.html", &padding);
    let mut sent = 0;
    let mut stuck_since = None;
    while stuck_since.is_none_or(|since: Instant| since.elapsed() < Duration::from_millis(300)) {
        match client.send_some(&small.as_bytes()[sent % small.len()..]) {
            Some(count) => {
                sent += count;
                stuck_since = None;
            }
            None => {
                stuck_since.get_or_insert_with(Instant::now);
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        assert!(sent < LARGE, "the server reads on and on");
    }
    assert_eq!(client.answer().body.len(), LARGE);
    let left = small.len() - sent % small.len();
    client.send(&small.as_bytes()[small.len() - left..]);
    for _ in 0..sent / small.len() + 1 {
        let response = client.answer();
        assert_eq!(
            (response.status, response.text().contains("page")),
            (200, true)
        );
    }
    client.expect_usable();
}

/// RFC 9112 section 9.6: all that was asked for before the half-close is answered.
#[test]
fn a_slow_reader_that_has_half_closed_gets_everything() {
    let site = Site::new();
    let content = pattern(8 * 1024 * 1024);
    site.write("large.bin", &content);
    let server = one_worker(&site);
    let mut client = Client::connect_narrow(server.address());
    client.send(request("GET", "/large.bin", "").repeat(2));
    client.send(request("GET", "/", ""));
    client.half_close();
    for _ in 0..2 {
        assert!(client.answer().body == content);
    }
    assert_eq!(client.answer().status, 200);
    client.expect_end();
}

/// RFC 9112 section 9.6: the close does not cut off the last answer.
#[test]
fn a_slow_reader_gets_a_closing_answer_whole() {
    let site = Site::new();
    let content = pattern(8 * 1024 * 1024);
    site.write("large.bin", &content);
    let server = one_worker(&site);
    let mut client = Client::connect_narrow(server.address());
    let response = client.ask_with("GET", "/large.bin", "Connection: close\r\n");
    assert!(response.body == content);
    client.expect_end();
}

/// RFC 9110 section 15.5.14: the client is still sending when the answer comes, and can read it.
#[test]
fn a_413_is_readable_by_a_client_that_still_sends() {
    let site = Site::new();
    let server = one_worker(&site);
    let mut client = server.connect();
    let len = 16 * 1024 * 1024;
    client.send(request("POST", "/", &format!("Content-Length: {len}\r\n")));
    client.send(vec![b'x'; len]);
    let response = client.answer();
    assert_eq!((response.status, response.persists()), (413, false));
    client.expect_end();
}

/// The size of a chunked body is known only when it has arrived.
#[test]
fn a_chunked_body_over_the_limit_is_413_and_readable() {
    let site = Site::new();
    let server = one_worker(&site);
    let mut client = server.connect();
    client.send(request("POST", "/", "Transfer-Encoding: chunked\r\n"));
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for _ in 0..64 {
        client.send(&chunk);
    }
    let response = client.answer();
    assert_eq!((response.status, response.persists()), (413, false));
    client.expect_end();
}

#[test]
fn a_400_is_readable_by_a_client_that_still_sends() {
    let site = Site::new();
    let server = one_worker(&site);
    let mut client = server.connect();
    client.send("BAD REQUEST\r\n\r\n");
    client.send(vec![b'x'; 16 * 1024 * 1024]);
    assert_eq!(client.answer().status, 400);
    client.expect_end();
}

/// `limits.body_bytes` is the largest body that is still read.
#[test]
fn a_body_of_exactly_the_limit_is_read() {
    let site = Site::new();
    let server = Launch::of(site.root())
        .config("[limits]\nbody_bytes = 1000\n")
        .start();
    let mut client = server.connect();
    client.send(request("POST", "/", "Content-Length: 1000\r\n"));
    client.send("x".repeat(1000));
    assert!(client.answer().persists());
    client.send(request("POST", "/", "Content-Length: 1001\r\n"));
    assert_eq!(client.answer().status, 413);
    client.expect_end();
}

/// The kernel buffers little for clients that read nothing: the memory of all sockets together is limited
/// (tcp_mem, tcp(7)), and other clients would have none left.
#[test]
fn readers_that_take_nothing_hold_little_of_the_kernels_memory() {
    const READERS: usize = 20;
    let site = Site::new();
    site.sparse("large.bin", 20 << 20);
    let server = Server::of(site.root());
    let mut stuck: Vec<Client> = (0..READERS)
        .map(|_| Client::connect_narrow(server.address()))
        .collect();
    for client in &mut stuck {
        client.send(request("GET", "/large.bin", ""));
        client.head();
    }
    let most = settled_queue(&server, READERS);
    // A part of one send may exceed the bound.
    assert!(most <= 2 * u64::from(UNSENT_BYTES), "{most}");
    // A client that has read a large answer may hold what the send buffer takes, as with any server.
    for client in &mut stuck {
        client.read_body(20 << 20);
        client.send(request("GET", "/large.bin", ""));
        client.head();
    }
    let most = settled_queue(&server, READERS);
    let send_buffer = fs::read_to_string("/proc/sys/net/ipv4/tcp_wmem").expect("tcp(7)");
    let send_buffer = send_buffer.split_whitespace().last().expect("the maximum");
    let send_buffer: u64 = send_buffer.parse().expect("a number");
    assert!(most <= 2 * send_buffer, "{most}");
}

/// The largest send queue in bytes among the `connections` connections of `server`, once none of them
/// changes any more.
fn settled_queue(server: &Server, connections: usize) -> u64 {
    let mut held = Vec::new();
    until("nothing moves any more", || {
        let before = std::mem::replace(&mut held, send_queues(server.address().port()));
        std::thread::sleep(Duration::from_millis(100));
        held.len() == connections && held == before && held.iter().all(|bytes| *bytes > 0)
    });
    held.into_iter().max().unwrap_or(0)
}

/// For each connection of the server on `port`, the bytes that it has given to the kernel and its peer has
/// not acknowledged (`tx_queue`, proc_net_tcp).
fn send_queues(port: u16) -> Vec<u64> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
    let (local, established) = (format!(":{port:04X}"), "01");
    table
        .lines()
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>())
        .filter(|cells| cells[1].ends_with(&local) && cells[3] == established)
        .map(|cells| {
            let (sending, _) = cells[4].split_once(':').expect("two queues");
            u64::from_str_radix(sending, 16).expect("a number")
        })
        .collect()
}
