//! A disk that does not answer. Requests for files in memory are not delayed, requests that wait for the
//! disk are answered as soon as it answers, and the server ends without waiting for it.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::admin::{ADMIN, Admin};
use support::client::request;
use support::slow_disk::{Pace, SlowDisk, SlowFile};
use support::{Client, Launch, Server, retried_after_a_stall, until};

const WORKERS: usize = 3;

/// The number of clients that request a cached file, and how often each does.
const POLITE: usize = 16;
const ROUNDS: usize = 10;

/// By default no file is compared with the disk again within a test.
const CONFIG: &str = "[cache]\nrevalidate = 3600\n";

/// Longer than the second after which the root, and by default a file, is compared again.
const DUE: Duration = Duration::from_millis(1_200);

/// The file that all polite clients request: read from the disk once, and in memory from then on.
const CACHED: SlowFile = SlowFile {
    pace: Pace::Quick,
    number: 1,
    bytes: 1_024,
};

/// A server whose root is on a slow disk.
struct Scene {
    server: Option<Server>,
    disk: SlowDisk,
}

/// A client that waits for the disk, and the file that it has requested.
struct Waiting {
    client: Client,
    file: SlowFile,
}

impl Scene {
    fn new() -> Scene {
        Scene::with("")
    }

    fn with(config: &str) -> Scene {
        Scene::configured(&format!("{CONFIG}{config}"))
    }

    fn configured(config: &str) -> Scene {
        Scene::on(SlowDisk::mount(Duration::ZERO), config)
    }

    fn on(disk: SlowDisk, config: &str) -> Scene {
        let server = Launch::of(disk.root())
            .args(&["--workers", &WORKERS.to_string()])
            .config(config)
            .start();
        let scene = Scene {
            server: Some(server),
            disk,
        };
        expect(&mut scene.server().connect(), CACHED);
        scene
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("the server has not ended")
    }

    /// `count` connections that have been answered once.
    fn polite(&self, count: usize) -> Vec<Client> {
        let mut clients: Vec<Client> = (0..count).map(|_| self.server().connect()).collect();
        clients.iter_mut().for_each(|client| expect(client, CACHED));
        clients
    }

    /// Clients that have requested a gated file each, of which the workers can read `read` at a time. After
    /// a while spare workers read more.
    fn stuck(&self, count: usize, read: usize) -> Vec<Waiting> {
        let mut waiting = self.waiting(count);
        waiting.iter_mut().for_each(Waiting::ask);
        self.until_waiting(read);
        waiting
    }

    /// Clients that have all requested one small gated file, which one worker reads.
    fn stuck_at_the_same(&self, count: usize) -> Vec<Waiting> {
        let mut waiting = self.waiting(count);
        let same = waiting[0].file;
        for waiting in &mut waiting {
            waiting.file = same;
            waiting.ask();
        }
        self.until_waiting(1);
        waiting
    }

    /// Connections for gated files, half of them small (read into memory) and half large (sent from the
    /// disk).
    fn waiting(&self, count: usize) -> Vec<Waiting> {
        let number = 1..=u32::try_from(count).expect("a few");
        let waiting = number.map(|number| Waiting {
            client: self.server().connect(),
            file: SlowFile {
                pace: Pace::Gated,
                number,
                bytes: if number % 2 == 0 { 400_000 } else { 4_096 },
            },
        });
        waiting.collect()
    }

    fn until_waiting(&self, files: usize) {
        until("the workers wait for the disk", || {
            self.disk.waiting_files() >= files
        });
    }

    /// Ends the server, expects success although the disk does not answer, and returns its messages.
    fn ended(&mut self) -> String {
        let server = self.server.take().expect("the server has not ended");
        let ended = server.ended();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stderr
    }
}

impl Drop for Scene {
    /// Lets the disk answer before the server is dropped, which cannot be killed while it reads. The disk is
    /// dropped last, since it cannot be unmounted while the server uses it.
    fn drop(&mut self) {
        self.disk.open_gate();
        self.disk.release_looks();
    }
}

impl Waiting {
    fn ask(&mut self) {
        self.client.send(request("GET", &self.file.target(), ""));
    }

    /// Expects the whole file, and that the connection can be used again.
    fn expect_answered(&mut self) {
        let response = self.client.answer();
        assert_eq!(response.status, 200, "{}", response.head);
        assert!(response.body == self.file.content(), "{:?}", self.file);
        expect(&mut self.client, CACHED);
    }
}

fn expect(client: &mut Client, file: SlowFile) {
    let response = client.get(&file.target());
    assert_eq!(response.status, 200, "{}", response.head);
    assert!(response.body == file.content(), "another content");
}

/// Expects every kind of cached request to be answered while `waiting` of the workers are stuck.
fn expect_unaffected(scene: &Scene, polite: &mut [Client], waiting: usize) {
    for _ in 0..ROUNDS {
        polite.iter_mut().for_each(|client| expect(client, CACHED));
    }
    // New clients as well, and clients that pipeline.
    let mut new = scene.server().connect();
    new.send(request("GET", &CACHED.target(), "").repeat(ROUNDS));
    for _ in 0..ROUNDS {
        assert!(new.answer().body == CACHED.content(), "another content");
    }
    assert!(scene.disk.waiting_files() >= waiting, "the gate is shut");
    assert_eq!(scene.disk.quick_readings(), 1, "the rest is from memory");
}

/// `count` clients wait for the disk, `read` of them with a worker.
fn expect_only_these_wait(count: usize, read: usize) {
    let scene = Scene::new();
    let mut polite = scene.polite(POLITE);
    let mut stuck = scene.stuck(count, read);
    expect_unaffected(&scene, &mut polite, read);
    scene.disk.open_gate();
    stuck.iter_mut().for_each(Waiting::expect_answered);
}

/// The requests for the disk and the cached ones arrive in one batch. However the server orders a batch,
/// no cached request waits behind one for the disk.
fn expect_only_these_wait_of_one_batch(count: usize, read: usize) {
    let scene = Scene::new();
    let mut polite = scene.polite(POLITE);
    let mut stuck = scene.waiting(count);
    // The server accepts all connections before the batch.
    for waiting in &mut stuck {
        expect(&mut waiting.client, CACHED);
    }
    scene.server().signal(Signal::STOP);
    let mut asking = stuck.iter_mut();
    for client in &mut polite {
        asking.next().into_iter().for_each(Waiting::ask);
        client.send(request("GET", &CACHED.target(), ""));
    }
    asking.for_each(Waiting::ask);
    scene.server().signal(Signal::CONT);
    for client in &mut polite {
        assert!(client.answer().body == CACHED.content(), "another content");
    }
    scene.until_waiting(read);
    expect_unaffected(&scene, &mut polite, read);
    scene.disk.open_gate();
    stuck.iter_mut().for_each(Waiting::expect_answered);
}

#[test]
#[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
fn all_workers_but_one_wait_for_the_disk_and_what_is_cached_does_not() {
    expect_only_these_wait(WORKERS - 1, WORKERS - 1);
}

#[test]
#[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
fn who_waits_for_the_disk_holds_up_nobody_of_the_same_batch() {
    expect_only_these_wait_of_one_batch(WORKERS - 1, WORKERS - 1);
}

/// All workers wait for the disk, and cached requests are answered.
mod no_worker_is_left {
    use super::*;

    #[test]
    #[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
    fn all_workers_wait_for_the_disk_and_what_is_cached_does_not() {
        expect_only_these_wait(WORKERS, WORKERS);
    }

    #[test]
    #[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
    fn more_clients_than_workers_wait_for_the_disk_and_what_is_cached_does_not() {
        expect_only_these_wait(4 * WORKERS, WORKERS);
    }

    #[test]
    #[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
    fn more_clients_than_workers_wait_for_the_disk_and_hold_up_nobody_of_the_same_batch() {
        expect_only_these_wait_of_one_batch(4 * WORKERS, WORKERS);
    }
}

/// Workers that regularly take new work need no spare workers, however many clients wait.
#[test]
#[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
fn a_disk_that_is_merely_slow_starts_no_spare_worker() {
    retried_after_a_stall(|| {
        const LATENESS: Duration = Duration::from_millis(50);
        let scene = Scene::on(SlowDisk::mount(LATENESS), CONFIG);
        let mut clients = scene.polite(4 * WORKERS);
        let start = Instant::now();
        for round in 0.. {
            let mut files = Vec::new();
            for (index, client) in clients.iter_mut().enumerate() {
                let file = SlowFile {
                    pace: Pace::Late,
                    number: (round * 4 * WORKERS + index + 1) as u32,
                    bytes: if index % 2 == 0 { 400_000 } else { 4_096 },
                };
                client.send(request("GET", &file.target(), ""));
                files.push(file);
            }
            for (client, file) in clients.iter_mut().zip(files) {
                assert!(client.answer().body == file.content(), "{file:?}");
            }
            assert_eq!(scene.server().spares(), 0);
            if start.elapsed() > Duration::from_secs(2) {
                break;
            }
        }
    });
}

/// All of them are answered when the one load in flight ends.
#[test]
#[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
fn several_that_want_the_same_file_get_it_from_one_reading() {
    let scene = Scene::new();
    let mut stuck = scene.stuck_at_the_same(WORKERS - 1);
    expect_unaffected(&scene, &mut scene.polite(POLITE), 1);
    scene.disk.open_gate();
    stuck.iter_mut().for_each(Waiting::expect_answered);
}

/// These requests wait without a worker, and the other workers read other files meanwhile.
#[test]
#[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
fn however_many_want_the_same_file_one_worker_waits_for_it() {
    let scene = Scene::new();
    let mut stuck = scene.stuck_at_the_same(4 * WORKERS);
    let new = SlowFile {
        number: 2,
        ..CACHED
    };
    expect(&mut scene.server().connect(), new);
    assert_eq!(scene.disk.waiting_files(), 1, "the gate is shut");
    scene.disk.open_gate();
    stuck.iter_mut().for_each(Waiting::expect_answered);
    assert_eq!(scene.disk.gated_readings(), 1);
}

/// The waiting requests do not read the file again one after the other.
#[test]
#[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
fn a_file_that_memory_has_no_room_for_is_read_once_for_all_who_wait() {
    // The file alone fills the cache.
    let scene = Scene::with("bytes = 4096\nfile_bytes = 4096\n");
    let mut stuck = scene.stuck_at_the_same(4 * WORKERS);
    // The answer to this deferred request shows that all earlier ones wait already.
    let new = SlowFile {
        number: 2,
        ..CACHED
    };
    expect(&mut scene.server().connect(), new);
    scene.disk.open_gate();
    stuck.iter_mut().for_each(Waiting::expect_answered);
    assert_eq!(scene.disk.gated_readings(), 1);
}

/// Comparisons with the disk do not wait behind workers that read.
#[test]
#[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
fn what_is_cached_is_compared_with_the_disk_though_no_worker_is_left() {
    let scene = Scene::configured("");
    let mut polite = scene.polite(POLITE);
    let mut stuck = scene.stuck(4 * WORKERS, WORKERS);
    for _ in 0..2 {
        thread::sleep(DUE);
        expect_unaffected(&scene, &mut polite, WORKERS);
    }
    scene.disk.open_gate();
    stuck.iter_mut().for_each(Waiting::expect_answered);
}

/// A recently compared file is served while its next comparison hangs.
#[test]
#[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
fn what_is_cached_is_served_while_the_look_at_it_hangs() {
    let watched = SlowFile {
        pace: Pace::Watched,
        ..CACHED
    };
    let scene = Scene::configured("");
    let mut clients = scene.polite(2);
    let [first, other] = &mut clients[..] else {
        panic!("there are two")
    };
    expect(other, watched);
    scene.disk.hold_looks();
    thread::sleep(DUE);
    first.send(request("GET", &watched.target(), ""));
    until("the disk is asked", || scene.disk.held_looks() == 1);
    expect(other, watched);
    thread::sleep(DUE);
    expect(other, watched);
    let response = first.answer();
    assert!(response.body == watched.content(), "{}", response.head);
    assert_eq!(scene.disk.held_looks(), 1, "the disk does not answer");
    scene.disk.release_looks();
    expect(first, watched);
}

/// A mixture of two versions is never sent (RFC 9110 section 8.8.1).
#[test]
#[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
fn a_file_that_never_holds_still_is_not_served_for_now() {
    let scene = Scene::new();
    let restless = SlowFile {
        pace: Pace::Restless,
        number: 1,
        bytes: 4_096,
    };
    let response = scene.server().connect().get(&restless.target());
    assert_eq!(response.status, 503, "{}", response.head);
    assert!(response.head.contains("Retry-After: "), "{}", response.head);
    assert!(!response.head.contains("ETag: "), "{}", response.head);
}

#[test]
#[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
fn sigint_ends_the_server_in_two_seconds_though_the_disk_never_answers() {
    retried_after_a_stall(|| {
        for stuck in [1, WORKERS] {
            let mut scene = Scene::new();
            let _idle = scene.polite(POLITE);
            let _stuck = scene.stuck(stuck, stuck);
            let start = Instant::now();
            scene.server().signal(Signal::INT);
            scene.ended();
            let took = start.elapsed();
            assert!(took < Duration::from_secs(2), "{took:?}");
            assert!(scene.disk.waiting_files() > 0, "the gate is shut");
        }
    });
}

#[test]
#[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
fn a_second_sigint_does_not_wait_for_the_disk_at_all() {
    retried_after_a_stall(|| {
        let mut scene = Scene::new();
        let _stuck = scene.stuck(WORKERS, WORKERS);
        scene.server().signal(Signal::INT);
        thread::sleep(Duration::from_millis(600));
        let start = Instant::now();
        scene.server().signal(Signal::INT);
        let server = scene.server.take().expect("the server has not ended");
        assert_eq!(server.ended().code, Some(1));
        let took = start.elapsed();
        assert!(took < Duration::from_millis(500), "{took:?}");
        assert!(scene.disk.waiting_files() > 0, "the gate is shut");
    });
}

#[test]
#[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
fn a_drain_ends_at_its_deadline_though_the_disk_never_answers() {
    for stuck in [1, WORKERS] {
        let mut scene = Scene::with("[shutdown]\ndrain = 1\n");
        let _stuck = scene.stuck(stuck, stuck);
        scene.server().signal(Signal::TERM);
        let said = scene.ended();
        assert!(said.contains("the drain deadline has passed"), "{said}");
        assert!(scene.disk.waiting_files() > 0, "the gate is shut");
    }
}

#[test]
#[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
fn a_drain_waits_for_the_disk_while_it_may() {
    let mut scene = Scene::new();
    let stuck = scene.stuck(WORKERS - 1, WORKERS - 1);
    scene.server().signal(Signal::TERM);
    let waits = format!("waiting for {} connections", WORKERS - 1);
    scene.server().wait_for(&waits);
    scene.disk.open_gate();
    for mut waiting in stuck {
        let response = waiting.client.answer();
        assert!(response.body == waiting.file.content());
    }
    scene.ended();
}

/// The operator is answered while every worker, spare ones included, waits for the disk.
#[test]
#[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
fn the_admin_listener_does_not_wait_for_the_workers() {
    let scene = Scene::with(ADMIN);
    let admin = Admin::of(scene.server());
    let mut stuck = scene.stuck(40, WORKERS);
    until("no worker is left", || {
        let metrics = admin.metrics();
        metrics.value("abide_workers_parked") == 0.0
            && metrics.value("abide_loads") >= WORKERS as f64
            && metrics.value("abide_queue_length{queue=\"blocking\"}") > 0.0
    });
    for page in ["/live", "/ready", "/", "/status.json", "/connections.json"] {
        assert_eq!(admin.get(page).status, 200, "{page}");
    }
    scene.disk.open_gate();
    stuck.iter_mut().for_each(Waiting::expect_answered);
    until("the loads are over", || {
        admin.metrics().value("abide_loads") == 0.0
    });
}
