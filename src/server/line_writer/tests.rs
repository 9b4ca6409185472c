//! A target that does not take the lines.

use std::io::{PipeReader, PipeWriter, Read, pipe};
use std::os::fd::AsFd;
use std::sync::atomic::AtomicUsize;

use super::*;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(30);

/// Long enough for a writer to block.
const SHORT: Duration = Duration::from_millis(20);

/// More than a pipe takes.
const MAX_BYTES: usize = 256 * 1024;

const SILENT: LossCallbacks = LossCallbacks {
    failed: |_| {},
    recovered: |_| {},
};

struct To(PipeWriter);

impl Sink for To {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn reopen(&mut self) -> bool {
        false
    }
}

fn queue_to_pipe(callbacks: LossCallbacks) -> (Arc<LineQueue>, PipeReader) {
    let (reader, writer) = pipe().expect("a pipe");
    let queue = LineQueue::start("writer", MAX_BYTES, callbacks, To(writer));
    (queue.expect("a thread"), reader)
}

/// Pushes numbered lines until one is dropped. Returns how many were taken.
fn fill(queue: &LineQueue) -> u64 {
    for number in 0.. {
        queue.push(format!("{number:0>99}\n").as_bytes());
        if queue.dropped_total() > 0 {
            return number;
        }
    }
    unreachable!("the queue is bounded")
}

#[test]
fn a_target_that_takes_nothing_holds_up_nobody_and_gets_whole_lines_in_order_later() {
    static FAILED: AtomicUsize = AtomicUsize::new(0);
    static RECOVERED: AtomicU64 = AtomicU64::new(0);
    let callbacks = LossCallbacks {
        failed: |_| {
            FAILED.fetch_add(1, Ordering::SeqCst);
        },
        recovered: |lines| {
            RECOVERED.fetch_add(lines, Ordering::SeqCst);
        },
    };
    let (queue, reader) = queue_to_pipe(callbacks);
    let taken = fill(&queue);
    assert!(taken * 100 > MAX_BYTES as u64 - CHUNK_BYTES as u64);
    // The writer makes room for as much as the pipe takes. Until then some of these lines may fit.
    assert!(!queue.flush(SHORT), "nobody reads");
    let dropped_before = queue.dropped_total();
    let mut much = b"x\n".repeat(MAX_BYTES / 2 + 1);
    queue.take_from(&mut much);
    assert!(much.is_empty());
    let dropped = queue.dropped_total();
    assert_eq!(dropped - dropped_before, MAX_BYTES as u64 / 2 + 1);
    assert_eq!(FAILED.load(Ordering::SeqCst), 1, "reported once");
    assert!(queue.unwritten() > dropped);

    let reading = thread::spawn(move || std::io::read_to_string(reader).expect("text"));
    assert!(queue.flush(LONG), "somebody reads");
    assert_eq!(RECOVERED.load(Ordering::SeqCst), dropped);
    assert_eq!(queue.unwritten(), 0);
    queue.close();
    drop(queue);
    let text = reading.join().expect("the reader");
    let lines: Vec<u64> = text
        .lines()
        .map(|line| line.parse().expect("a whole line"))
        .collect();
    assert_eq!(lines, (0..taken).collect::<Vec<_>>());
}

#[test]
fn a_descriptor_that_does_not_block_is_waited_for() {
    let (mut reader, writer) = pipe().expect("a pipe");
    rustix::io::ioctl_fionbio(&writer, true).expect("non-blocking");
    let queue = LineQueue::start("writer", MAX_BYTES, SILENT, To(writer)).expect("a thread");
    let mut lines = [vec![b'x'; MAX_BYTES - 1], vec![b'\n']].concat();
    queue.take_from(&mut lines);
    assert!(!queue.flush(SHORT), "nobody reads");
    let mut read = vec![0; MAX_BYTES];
    reader.read_exact(&mut read).expect("all of it");
    assert!(queue.flush(LONG));
    assert_eq!(queue.dropped_total(), 0);
}

#[test]
fn a_reader_that_has_gone_costs_lines_only() {
    let (queue, reader) = queue_to_pipe(SILENT);
    drop(reader);
    queue.push(b"one\ntwo\n");
    assert!(queue.flush(LONG));
    assert_eq!(queue.dropped_total(), 2);
}

#[test]
fn chunks_end_with_a_line() {
    assert_eq!(chunk_len(b"one\ntwo\n"), 8);
    let lines = [
        vec![b'x'; CHUNK_BYTES - 10],
        b"\nthis one\nno more\n".to_vec(),
    ]
    .concat();
    assert_eq!(chunk_len(&lines), CHUNK_BYTES);
    let long = [vec![b'x'; 2 * CHUNK_BYTES], b"\nmore\n".to_vec()].concat();
    assert_eq!(chunk_len(&long), 2 * CHUNK_BYTES + 1);
}
