//! A file system that is mounted below the root and does not answer: what is on that of the root is
//! compared, and served, as if nothing was.

#[path = "support/slow_disk.rs"]
mod slow_disk;
mod support;

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;
use slow_disk::{ABSENT, Pace, SlowDisk, SlowFile};
use support::client::request;
use support::{Client, Launch, Server, Site, until};

const WORKERS: usize = 2;

/// More files on the mount than there are workers.
const FILES: usize = 3 * WORKERS;

/// Longer than the second after which a file is looked at again.
const DUE: Duration = Duration::from_millis(1_200);

/// Longer than DUE and the second after which a look counts as one that hangs, by far.
const LONG: Duration = Duration::from_secs(4);

struct Scene {
    server: Option<Server>,
    disk: SlowDisk,
    site: Site,
}

impl Scene {
    fn new() -> Scene {
        let site = Site::new();
        site.directory("mount");
        let disk = SlowDisk::mount_at(&site.path("mount"), Duration::ZERO);
        let server = Launch::of(site.root())
            .args(&["--workers", &WORKERS.to_string()])
            .start();
        Scene {
            server: Some(server),
            disk,
            site,
        }
    }

    fn connect(&self) -> Client {
        self.server.as_ref().expect("it has not ended").connect()
    }

    /// A client each that has asked for something new on the file system of the root, and in the same
    /// segment for `target`: so a worker comes upon that, as well as the event loop for another client.
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

    /// The content of a file of the root's file system is what was written last, soon.
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
    /// Before the disk, which cannot be unmounted while the server uses it.
    fn drop(&mut self) {
        self.disk.release_looks();
        self.disk.open_gate();
        self.server = None;
    }
}

/// The targets on the mount, which memory knows.
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

/// Files on the file system of the root are served and compared as ever.
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
        // Others go on asking for what hangs.
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
    // It answers at last.
    scene.disk.release_looks();
    for (clients, target) in clients.into_iter().zip(&targets) {
        for mut client in clients {
            let is_absent = target.contains(ABSENT);
            assert_eq!(client.answer().status, if is_absent { 404 } else { 200 });
        }
    }
    let server = scene.server.take().expect("it has not ended");
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code, Some(0));
}

/// A file system that is mounted over a directory hides files that memory knows.
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
    until("it is hidden", || {
        scene.connect().get(&target).status == 404
    });
}

/// A form that is not newer than its file is read by a thread of its own for each device.
#[test]
#[ignore = "needs FUSE: /dev/fuse, and root or fusermount3 (fuse3)"]
fn a_form_that_cannot_be_read_holds_up_no_file_no_other_form_and_no_compression() {
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
    until("another form is judged", || {
        ask("own.js", "zstd").body == own
    });
    until("another form is made", || {
        support::encoding(&ask("own.js", "br")) == Some("br")
    });
    until("one is made of a file whose other form hangs", || {
        support::encoding(&ask(&names[0], "br")) == Some("br")
    });
    // They are of other content, as it turns out, and others are made.
    scene.disk.open_gate();
    for name in &names {
        until("a form is made", || {
            support::encoding(&ask(name, "gzip")) == Some("gzip")
        });
    }
}
