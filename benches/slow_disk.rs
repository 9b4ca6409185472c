//! Whether those who wait for a slow disk slow down those who do not: `cargo bench --bench slow_disk`.
//! It prints a table of latencies, after a minute. It needs FUSE: /dev/fuse, and root or fusermount3.
//!
//! The ordinary clients are 32 connections that ask for 1 KB that is in the server's memory, again as
//! soon as they have it. The others ask, one file after the other, for files that nobody has asked for
//! before; each of them costs 50 ms of the disk, and next to nothing of the CPU. No spare worker is to
//! start for that: the last line tells how many there are.

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

/// What a reading of the disk costs.
const LATENESS: Duration = Duration::from_millis(50);

const SPELL: Duration = Duration::from_millis(500);
const PAIRS: usize = 14;

/// Ratio of the p99 beside slow readings to the p99 without them that is to be kept.
const MOST_RATIO: f64 = 2.0;

const CACHED: SlowFile = SlowFile {
    pace: Pace::Quick,
    number: 1,
    bytes: 1_024,
};

/// Those who wait for the disk.
struct Readers {
    count: usize,
    /// Files that have been asked for: none is asked for twice.
    files: AtomicU32,
    /// Time that their answers took all together, in milliseconds.
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
    // The server has the disk's directory open.
    drop(server);
}

fn measure(readers: &Readers, asked_before: u32, load: &Load) {
    let compared = Compared::in_turns(PAIRS, || load.run(SPELL), || run_beside(readers, load));
    let ratio = compared.ratio();
    let met = if ratio.median <= MOST_RATIO {
        "yes"
    } else {
        "NO"
    };
    let files = readers.files.load(Ordering::Relaxed) - asked_before;
    let each = readers.millis.load(Ordering::Relaxed) / files.max(1);
    println!(
        "| {} | {} | {} | {ratio} | <= {MOST_RATIO} | {met} | {files} times {each} ms |",
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
        let measured = load.run(SPELL);
        has_to_stop.store(true, Ordering::Relaxed);
        measured
    })
}

impl Readers {
    /// One of them.
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
