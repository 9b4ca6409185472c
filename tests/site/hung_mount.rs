//! A file system that is mounted below the root and does not answer: files on the file system of the
//! root are compared and served as usual.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;
use support::client::request;
use support::slow_disk::{ABSENT, Pace, SlowDisk, SlowFile};
use support::{Client, Launch, Server, Site, until};

const WORKERS: usize = 2;

/// More files on the mount than there are workers.
const FILES: usize = 3 * WORKERS;

/// Longer than the second after which a file is compared with the disk again.
const DUE: Duration = Duration::from_millis(1_200);

/// Longer than it takes to start spare workers.
const SOON: Duration = Duration::from_secs(1);

/// The shortest lease of a spare worker.
const LEASE: Duration = Duration::from_secs(10);

/// Much longer than [`DUE`] and the second after which a lookup counts as hanging.
const LONG: Duration = Duration::from_secs(4);

struct Scene {
    server: Option<Server>,
    disk: SlowDisk,
    site: Site,
}

impl Scene {
    fn new() -> Scene {
        Scene::with("")
    }

    fn with(config: &str) -> Scene {
        let site = Site::new();
        site.directory("mount");
        let disk = SlowDisk::mount_at(&site.path("mount"), Duration::ZERO);
        let server = Launch::of(site.root())
            .args(&["--workers", &WORKERS.to_string()])
            .config(config)
            .start();
        Scene {
            server: Some(server),
            disk,
            site,
        }
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("the server has not ended")
    }

    fn connect(&self) -> Client {
        self.server().connect()
    }

    /// Ends the server, expects success, and returns its messages.
    fn ended(&mut self) -> String {
        let server = self.server.take().expect("the server has not ended");
        let ended = server.ended();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stderr
    }

    /// A file on the file system of the root that was not requested before is answered within `limit`.
    fn expect_cold(&self, client: &mut Client, name: &str, limit: Duration) {
        self.site.write(name, name);
        let start = Instant::now();
        let response = client.get(&format!("/{name}"));
        let took = start.elapsed();
        assert_eq!(response.body, name.as_bytes(), "{}", response.head);
        assert!(took < limit, "{name} took {took:?}");
    }

    /// Clients that have requested files on the mount that the server does not know. Each holds a thread:
    /// first [`FILES`] whose content hangs, half of them small (read into memory) and half large (sent from
    /// the disk), then as many whose open hangs.
    fn stuck(&self) -> Vec<(Client, SlowFile)> {
        let mut stuck = self.asking_for(Pace::Gated, FILES);
        // The lookups are held only then, since the kernel queues all others in the directory behind one.
        until("the content of each file is asked for", || {
            self.disk.waiting_files() == FILES
        });
        self.disk.hold_looks();
        stuck.extend(self.asking_for(Pace::Watched, FILES));
        until("the mount is asked", || self.disk.held_looks() > 0);
        stuck
    }

    /// `count` clients, each of which has requested another file.
    fn asking_for(&self, pace: Pace, count: usize) -> Vec<(Client, SlowFile)> {
        let files = (1..=count as u32).map(|number| SlowFile {
            pace,
            number,
            bytes: if number % 2 == 0 { 400_000 } else { 4_096 },
        });
        let ask = |file: SlowFile| {
            let mut client = self.connect();
            client.send(request("GET", &format!("/mount{}", file.target()), ""));
            (client, file)
        };
        files.map(ask).collect()
    }

    /// Lets the disk answer.
    fn release(&self) {
        self.disk.release_looks();
        self.disk.open_gate();
    }

    /// Two clients that request `target`. One requests a new file of the root's file system first, in the
    /// same segment, so a worker reaches `target` there, and the event loop does for the other client.
    fn asking(&self, target: &str, number: usize) -> [Client; 2] {
        let new = format!("new-{target}-{number}").replace('/', "-");
        self.site.write(&new, "new");
        let mut clients = [self.connect(), self.connect()];
        let first = request("GET", &format!("/{new}"), "");
        clients[0].send([first, request("GET", target, "")].concat());
        clients[1].send(request("GET", target, ""));
        assert_eq!(clients[0].answer().body, b"new");
        clients
    }

    /// Changes a file on the file system of the root, and waits until the new content is served.
    fn expect_current(&self, name: &str, content: &str) {
        self.site.replace(name, content);
        let mut client = self.connect();
        until("the change is seen", || {
            let response = client.get(&format!("/{name}"));
            response.body == content.as_bytes()
        });
    }
}

impl Drop for Scene {
    /// Ends the server before the disk, which cannot be unmounted while the server uses it.
    fn drop(&mut self) {
        self.release();
        self.server = None;
    }
}

/// The targets on the mount, whose files are in memory.
fn known_targets(scene: &Scene) -> Vec<String> {
    let files = (1..=FILES).map(|number| {
        let file = SlowFile {
            pace: Pace::Watched,
            number: u32::try_from(number).expect("a few"),
            bytes: 1_024,
        };
        (format!("/mount{}", file.target()), 200)
    });
    let absences = (1..=FILES).map(|number| (format!("/mount/{ABSENT}-{number}"), 404));
    let all: Vec<_> = files.chain(absences).collect();
    for (target, status) in &all {
        assert_eq!(scene.connect().get(target).status, *status, "{target}");
    }
    all.into_iter().map(|(target, _)| target).collect()
}

/// Files on the file system of the root are served and compared as usual.
fn expect_unaffected(scene: &Scene, asked: &[String]) {
    let start = Instant::now();
    for number in 0.. {
        scene.expect_current("known", &format!("content {number}"));
        let later = format!("later-{number}");
        assert_eq!(scene.connect().get(&format!("/{later}")).status, 404);
        scene.expect_current(&later, "there");
        if start.elapsed() > LONG {
            break;
        }
        // Other clients keep requesting the files that hang.
        for target in asked {
            scene.connect().send(request("GET", target, ""));
        }
    }
}

#[test]
#[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
fn a_mount_that_hangs_below_the_root_holds_up_its_own_files_only() {
    let mut scene = Scene::new();
    scene.expect_current("known", "as it was");
    let targets = known_targets(&scene);
    scene.disk.hold_looks();
    thread::sleep(DUE);
    let asking = targets.iter().enumerate();
    let clients: Vec<_> = asking
        .map(|(number, target)| scene.asking(target, number))
        .collect();
    until("the mount is asked", || scene.disk.held_looks() > 0);
    expect_unaffected(&scene, &targets);
    // The mount answers.
    scene.release();
    for (clients, target) in clients.into_iter().zip(&targets) {
        for mut client in clients {
            let is_absent = target.contains(ABSENT);
            assert_eq!(client.answer().status, if is_absent { 404 } else { 200 });
        }
    }
    scene.server().signal(Signal::TERM);
    scene.ended();
}

#[test]
#[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
fn spare_workers_serve_while_a_mount_holds_all_workers() {
    let mut scene = Scene::new();
    let mut polite = scene.connect();
    scene.expect_cold(&mut polite, "before", SOON);
    let stuck = scene.stuck();
    // This request is queued behind all of them.
    scene.expect_cold(&mut polite, "first", SOON);
    let start = Instant::now();
    for number in 0.. {
        scene.expect_cold(&mut polite, &format!("cold-{number}"), SOON);
        scene.expect_cold(&mut scene.connect(), &format!("new-{number}"), SOON);
        if start.elapsed() > LONG {
            break;
        }
        // One connection may send a limited number of requests.
        thread::sleep(Duration::from_millis(100));
    }
    let notice = format!("all {WORKERS} workers wait for the disk; ");
    let said = scene.server().stderr();
    assert_eq!(said.matches(&notice).count(), 1, "{said}");
    assert!(scene.server().spares() > 2 * FILES - WORKERS, "{said}");
    scene.release();
    for (mut client, file) in stuck {
        let response = client.answer();
        assert_eq!(response.status, 200, "{}", response.head);
        assert!(response.body == file.content(), "{file:?}");
    }
    thread::sleep(LEASE);
    until("the spare workers end", || scene.server().spares() == 0);
    scene.expect_cold(&mut polite, "after", SOON);
    drop(polite);
    scene.server().signal(Signal::TERM);
    scene.ended();
}

/// More requests than all workers and spare workers together can take.
#[test]
#[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
fn however_many_ask_for_what_hangs_a_thread_is_left_for_the_file_system_of_the_root() {
    const MANY: usize = 60;
    let mut scene = Scene::new();
    scene.site.sparse("large", 20 << 20);
    let mut polite = scene.connect();
    let mut stuck = scene.asking_for(Pace::Gated, MANY);
    scene.expect_cold(&mut polite, "first", SOON);
    // Large files that are in the cache are sent from the disk.
    stuck.extend(scene.asking_for(Pace::Gated, MANY));
    for number in 0..20 {
        scene.expect_cold(&mut polite, &format!("cold-{number}"), SOON);
        scene.expect_cold(&mut scene.connect(), &format!("new-{number}"), SOON);
        assert_eq!(scene.connect().get("/absent").status, 404);
        thread::sleep(Duration::from_millis(100));
    }
    let large = scene.connect().get("/large");
    assert_eq!(large.body.len(), 20 << 20);
    let held = scene.disk.waiting_files();
    assert!(held < MANY, "{held} hold a thread each");
    scene.release();
    for (mut client, file) in stuck {
        assert!(client.answer().body == file.content(), "{file:?}");
    }
    drop(polite);
    scene.server().signal(Signal::TERM);
    scene.ended();
}

#[test]
#[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
fn a_drain_serves_with_spare_workers_and_waits_for_them() {
    let mut scene = Scene::new();
    let mut polite = scene.connect();
    scene.expect_cold(&mut polite, "before", SOON);
    let stuck = scene.stuck();
    scene.server().signal(Signal::TERM);
    scene.server().wait_for("abide: draining");
    scene.expect_cold(&mut polite, "draining", SOON);
    scene.release();
    for (mut client, file) in stuck {
        assert!(client.answer().body == file.content(), "{file:?}");
    }
    // The counters include the answers of spare workers.
    scene.server().signal(Signal::USR2);
    let requests = 2 + 2 * FILES;
    let total = format!("requests_total {requests}\n");
    scene.server().wait_for(&total);
    drop(polite);
    scene.ended();
}

#[test]
#[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
fn spare_workers_that_are_stuck_hold_up_no_end() {
    let mut scene = Scene::with("[shutdown]\ndrain = 1\n");
    // Lookups are not held here: a process that has ended remains until FUSE has answered them.
    let _stuck = scene.asking_for(Pace::Gated, FILES);
    until("the content of each file is asked for", || {
        scene.disk.waiting_files() == FILES
    });
    scene.server().signal(Signal::TERM);
    let said = scene.ended();
    assert!(said.contains("the drain deadline has passed"), "{said}");
    assert!(scene.disk.waiting_files() > 0, "the disk has not answered");
}

/// A mount over a directory hides files that are in memory.
#[test]
#[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
fn a_mount_that_comes_later_and_hangs_holds_up_nobody_else() {
    let site = Site::new();
    let hidden = format!("mount/{ABSENT}-file");
    site.directory("mount");
    site.write(&hidden, "hidden soon");
    let server = Launch::of(site.root()).args(&["--workers", "2"]).start();
    let target = format!("/{hidden}");
    assert_eq!(server.connect().get(&target).status, 200);
    let disk = SlowDisk::mount_at(&site.path("mount"), Duration::ZERO);
    disk.hold_looks();
    let scene = Scene {
        server: Some(server),
        disk,
        site,
    };
    thread::sleep(DUE);
    let _asking = scene.asking(&target, 1);
    until("the mount is asked", || scene.disk.held_looks() > 0);
    expect_unaffected(&scene, std::slice::from_ref(&target));
    scene.disk.release_looks();
    until("the file is hidden", || {
        scene.connect().get(&target).status == 404
    });
}

/// A sidecar that is not newer than its file is verified by a separate thread for each device.
#[test]
#[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
fn a_sidecar_that_cannot_be_read_holds_up_no_file_no_other_sidecar_and_no_compression() {
    let scene = Scene::new();
    let gated = |number| SlowFile {
        pace: Pace::Gated,
        number,
        bytes: 1_024,
    };
    let content = support::text(100_000);
    let names: Vec<_> = (1..=FILES)
        .map(|number| format!("hung{number}.js"))
        .collect();
    for (name, number) in names.iter().zip(1..) {
        scene.site.write(name, &content);
        let target = format!("mount{}", gated(number).target());
        scene.site.link(target, &format!("{name}.gz"));
    }
    let own = zstd::encode_all(&content[..], 12).expect("zstd");
    scene.site.write("own.js.zst", &own);
    scene.site.date("own.js.zst", SystemTime::UNIX_EPOCH);
    scene.site.write("own.js", &content);
    let mut client = scene.connect();
    let mut ask = |name: &str, codings: &str| {
        let fields = support::accepting(codings);
        let response = client.ask_with("GET", &format!("/{name}"), &fields);
        assert!(support::decoded(&response) == content, "{name}");
        response
    };
    for _ in 0..3 {
        for name in &names {
            assert_eq!(support::encoding(&ask(name, "gzip")), None, "{name}");
        }
    }
    until("the disk is asked", || scene.disk.waiting_files() > 0);
    assert_eq!(scene.disk.waiting_files(), 1, "by one thread");
    until("another sidecar is verified", || {
        ask("own.js", "zstd").body == own
    });
    until("another variant is made", || {
        support::encoding(&ask("own.js", "br")) == Some("br")
    });
    until("a variant is made of a file whose sidecar hangs", || {
        support::encoding(&ask(&names[0], "br")) == Some("br")
    });
    // The sidecars turn out to have other content, so variants are made.
    scene.disk.open_gate();
    for name in &names {
        until("a variant is made", || {
            support::encoding(&ask(name, "gzip")) == Some("gzip")
        });
    }
}
