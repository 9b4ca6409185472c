//! The admin listener (`[admin]`): clients that are silent, that do not read, and that ask or send without end.

use std::thread;
use std::time::{Duration, Instant};

use support::admin::Admin;
use support::{Server, Site, until};

use super::admin::start;

/// Clients at a time that the listener has places for.
const PLACES: usize = 16;

/// How long a client may hold its place.
const CLIENT_LIMIT: Duration = Duration::from_secs(5);

/// A client that waits for a place gets that of a client without a complete request.
#[test]
fn two_hundred_silent_clients_delay_no_health_check() {
    let site = Site::new();
    let (_server, admin) = start(&site, "");
    let silent: Vec<_> = (0..200).map(|_| admin.connect()).collect();
    for _ in 0..5 {
        let start = Instant::now();
        assert_eq!(admin.get("/live").status, 200);
        let waited = start.elapsed();
        assert!(waited < Duration::from_secs(1), "{waited:?}");
    }
    drop(silent);
}

/// Sends `start` and then byte by byte for a second, from as many clients as there are places. Returns how long the
/// last of them stayed connected, and the share of a CPU that the thread took.
fn trickle(server: &Server, admin: &Admin, start: &str) -> (Duration, f64) {
    const TRICKLE: Duration = Duration::from_secs(1);
    let (begun, before) = (Instant::now(), server.cpu_ticks_of("admin"));
    let send = || {
        let mut client = admin.connect();
        client.send(start);
        while begun.elapsed() < TRICKLE && client.try_send("x").is_ok() {
            thread::sleep(Duration::from_micros(200));
        }
    };
    thread::scope(|scope| {
        for _ in 0..PLACES {
            scope.spawn(send);
        }
    });
    let kept = begun.elapsed();
    let used_millis = 10 * (server.cpu_ticks_of("admin") - before);
    (kept, used_millis as f64 / TRICKLE.as_millis() as f64)
}

/// Each byte would be a wake-up of the thread.
#[test]
fn clients_that_send_byte_by_byte_take_little_cpu() {
    let site = Site::new();
    let (server, admin) = start(&site, "");
    let head = "GET /live HTTP/1.1\r\nHost: localhost\r\nA: ";
    let (_, share) = trickle(&server, &admin, head);
    assert!(share < 0.25, "{share} of a CPU");
    // Bytes after the request end the connection.
    let (kept, share) = trickle(&server, &admin, &format!("{head}\r\n\r\n"));
    assert!(share < 0.25, "{share} of a CPU");
    assert!(kept < Duration::from_millis(900), "{kept:?}");
    assert_eq!(admin.get("/live").status, 200);
}

#[test]
fn silent_clients_and_clients_that_do_not_read_keep_nobody_waiting() {
    let site = Site::new();
    let (server, admin) = start(&site, "");
    let (start, idle) = (Instant::now(), server.descriptors());
    let mut crowd: Vec<_> = (0..2 * PLACES).map(|_| admin.connect()).collect();
    for deaf in crowd.iter_mut().step_by(2) {
        deaf.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    assert_eq!(admin.get("/live").status, 200);
    assert!(start.elapsed() < CLIENT_LIMIT, "{:?}", start.elapsed());
    // No client keeps its place for longer than the limit.
    until("the places are free again", || server.descriptors() <= idle);
    for client in &mut crowd {
        let _ = client.try_rest();
    }
    server.connect().expect_usable();
}

/// However many clients ask, the thread leaves the CPUs to those that serve the site.
#[test]
fn a_flood_of_admin_clients_takes_no_cpu_from_the_site() {
    const FLOOD: Duration = Duration::from_secs(2);
    let site = Site::new();
    let (server, admin) = start(&site, "");
    let (start, before) = (Instant::now(), server.cpu_ticks_of("admin"));
    let answered = thread::scope(|scope| {
        let flood = || {
            let mut answered = 0;
            while start.elapsed() < FLOOD {
                assert_eq!(admin.get("/metrics").status, 200);
                answered += 1;
            }
            answered
        };
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(flood)).collect();
        let answered = clients
            .into_iter()
            .map(|client| client.join().expect("no panic"));
        answered.sum::<u32>()
    });
    let used_millis = 10 * (server.cpu_ticks_of("admin") - before);
    let share = used_millis as f64 / start.elapsed().as_millis() as f64;
    assert!(share < 0.25, "{share} of a CPU for {answered} responses");
    assert!(answered >= 16, "{answered} responses");
}
