//! The effect of clients that wait for a slow disk on other clients: `cargo bench --bench slow_disk`. It
//! prints a table of latencies, after a minute. It needs FUSE: /dev/fuse, and root or fusermount3.
//!
//! The ordinary clients are 32 connections, each of which requests 1 KB from the server's memory again and
//! again. The other clients request files that have not been requested before, one after the other. Each
//! file needs 50 ms of the disk, and almost no CPU time. No spare worker should start for that: the last
//! line of the output is the number of spare workers.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::beside::{Compared, cell};
use support::client::request;
use support::load::{Load, Measured};
use support::slow_disk::{Pace, SlowDisk, SlowFile};
use support::{Client, Launch};

const ORDINARY: usize = 32;
const WORKERS: usize = 4;

/// The time of one read from the disk.
const LATENESS: Duration = Duration::from_millis(50);

const INTERVAL: Duration = Duration::from_millis(500);
const PAIRS: usize = 14;

/// The target for the ratio of the p99 beside slow reads to the p99 without them.
const MAX_RATIO: f64 = 2.0;

const CACHED: SlowFile = SlowFile {
    pace: Pace::Quick,
    number: 1,
    bytes: 1_024,
};

/// The clients that wait for the disk.
struct Readers {
    count: usize,
    /// The number of files requested so far. None is requested twice.
    files: AtomicU32,
    /// The total time of their answers, in milliseconds.
    millis: AtomicU32,
}

fn main() {
    let disk = SlowDisk::mount(LATENESS);
    let config = "[keep_alive]\nmax_requests = 2147483647\n";
    let server = Launch::of(disk.root())
        .args(&["--workers", &WORKERS.to_string()])
        .config(config)
        .start();
    let answer = server.connect().get(&CACHED.target());
    assert!(answer.body == CACHED.content(), "another content");
    let load = Load {
        server: server.address(),
        connections: ORDINARY,
        request: request("GET", &CACHED.target(), "").into_bytes(),
        answer_bytes: answer.head.len() + 4 + answer.body.len(),
    };
    let millis = LATENESS.as_millis();
    println!(
        "\n## {ORDINARY} clients of the memory, {WORKERS} workers, and clients of a disk that takes {millis} ms\n"
    );
    println!(
        "| clients of the disk | without them | beside them | ratio of p99 | target | met | they waited |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut asked = 0;
    for count in [1, WORKERS - 1, WORKERS, 4 * WORKERS] {
        let readers = Readers {
            count,
            files: AtomicU32::new(asked),
            millis: AtomicU32::new(0),
        };
        measure(&readers, asked, &load);
        asked = readers.files.into_inner();
    }
    println!("\nspare workers: {}", server.spares());
    // The server must end before the disk is unmounted, because it has the directory open.
    drop(server);
}

fn measure(readers: &Readers, asked_before: u32, load: &Load) {
    let compared =
        Compared::alternating(PAIRS, || load.run(INTERVAL), || run_beside(readers, load));
    let ratio = compared.ratio();
    let met = if ratio.median <= MAX_RATIO {
        "yes"
    } else {
        "NO"
    };
    let files = readers.files.load(Ordering::Relaxed) - asked_before;
    let each = readers.millis.load(Ordering::Relaxed) / files.max(1);
    println!(
        "| {} | {} | {} | {ratio} | <= {MAX_RATIO} | {met} | {files} times {each} ms |",
        readers.count,
        cell(&compared.alone),
        cell(&compared.beside),
    );
}

fn run_beside(readers: &Readers, load: &Load) -> Measured {
    let has_to_stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..readers.count {
            scope.spawn(|| readers.play(load, &has_to_stop));
        }
        let measured = load.run(INTERVAL);
        has_to_stop.store(true, Ordering::Relaxed);
        measured
    })
}

impl Readers {
    /// Runs one client.
    fn play(&self, load: &Load, has_to_stop: &AtomicBool) {
        let mut client = Client::connect(load.server);
        while !has_to_stop.load(Ordering::Relaxed) {
            let file = SlowFile {
                pace: Pace::Late,
                number: 1 + self.files.fetch_add(1, Ordering::Relaxed),
                bytes: 1_024,
            };
            let start = Instant::now();
            let answer = client.get(&file.target());
            let millis = start.elapsed().as_millis() as u32;
            self.millis.fetch_add(millis, Ordering::Relaxed);
            assert!(answer.body == file.content(), "another content");
        }
    }
}
