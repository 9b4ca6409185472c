//! Logs whose reader stalls or that cannot be written: lines are lost and counted, and the server keeps
//! serving and ends in time.

use std::fs::{self, File, OpenOptions};
use std::io::{PipeReader, Read, pipe};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use support::client::request;
use support::server::Ended;
use support::server::program;
use support::{Client, Launch, Server, Site, retried_after_a_stall, until};

const WORKERS: &str = "2";

/// Enough requests that their log lines far exceed a pipe (pipe(7): 64 KiB).
const MANY: usize = 3_000;

/// The time in which a server without connections ends, whatever its logs do.
const IN_TIME: Duration = Duration::from_secs(3);

fn make_fifo(path: &Path) {
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, mode, 0).expect("mkfifo");
}

/// Opens the FIFO for reading, and does not read.
fn open_reader(path: &Path) -> File {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    opened.expect("the FIFO")
}

fn logging(site: &Site, log: &Path) -> Server {
    Launch::of(site.root())
        .config(&format!("access_log.path = '{}'\n", log.display()))
        .args(&["-w", WORKERS])
        .start()
}

/// Sends requests until the log, a pipe, is full.
fn fill_log(connect: &dyn Fn() -> Client) {
    for _ in 0..MANY / 50 {
        let mut client = connect();
        client.send(request("GET", "/", "").repeat(50));
        for _ in 0..50 {
            assert_eq!(client.answer().status, 200);
        }
    }
}

/// Cached and cold files are served for longer than log lines are kept.
fn expect_serving(site: &Site, connect: &dyn Fn() -> Client) {
    for number in 0..8 {
        let name = format!("cold-{number}");
        site.write(&name, &name);
        let response = connect().get(&format!("/{name}"));
        assert_eq!((response.status, response.body.len()), (200, name.len()));
        assert_eq!(connect().get("/").status, 200);
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn ended_in_time(server: Server) -> Ended {
    let start = Instant::now();
    server.signal(Signal::TERM);
    let ended = server.ended();
    let took = start.elapsed();
    assert!(took < IN_TIME, "{took:?}: {}", ended.stderr);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended
}

#[test]
fn an_access_log_that_nobody_reads_stalls_only_itself() {
    retried_after_a_stall(|| {
        let site = Site::new();
        let log = site.beside("fifo");
        make_fifo(&log);
        let _reader = open_reader(&log);
        let server = logging(&site, &log);
        fill_log(&|| server.connect());
        expect_serving(&site, &|| server.connect());
        // SIGUSR1 reopens the log only after the blocked write, and the server does not wait for that.
        server.signal(Signal::USR1);
        expect_serving(&site, &|| server.connect());
        server.signal(Signal::USR2);
        server.wait_for("access_log_lines_dropped_total 0\n");
        let said = ended_in_time(server).stderr;
        let (_, lost) = said.split_once("lines lost at the end: ").expect(&said);
        let lost: usize = lost.lines().next().expect("a line").parse().expect(&said);
        assert!((MANY / 2..=MANY + 32).contains(&lost), "{said}");
    });
}

#[test]
fn an_access_log_that_is_read_late_gets_every_line() {
    retried_after_a_stall(|| {
        let site = Site::new();
        let log = site.beside("fifo");
        make_fifo(&log);
        let mut reader = open_reader(&log);
        let server = logging(&site, &log);
        fill_log(&|| server.connect());
        let flags = rustix::fs::fcntl_getfl(&reader).expect("flags");
        rustix::fs::fcntl_setfl(&reader, flags - OFlags::NONBLOCK).expect("blocking");
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        ended_in_time(server);
        let text = reading.join().expect("the reader").expect("text");
        assert_eq!(text.lines().count(), MANY);
        assert!(text.lines().all(|line| {
            line.ends_with(" 200 -")
                || line
                    .split(' ')
                    .next_back()
                    .is_some_and(|bytes| bytes.parse::<u32>().is_ok())
        }));
    });
}

#[test]
fn a_fifo_without_a_reader_is_refused_at_the_start_and_kept_out_at_a_reopening() {
    retried_after_a_stall(|| {
        let site = Site::new();
        let (log, moved) = (site.beside("log"), site.beside("log.1"));
        make_fifo(&log);
        let refused = Launch::of(site.root())
            .args(&["--access-log", log.to_str().expect("text")])
            .run();
        assert_eq!(refused.code, Some(2));
        let expected = format!(
            "abide: cannot open the access log {}: no process reads this FIFO\n",
            log.display()
        );
        assert_eq!(refused.stderr, expected);
        fs::remove_file(&log).expect("the FIFO");
        let server = logging(&site, &log);
        fs::rename(&log, &moved).expect("rename");
        make_fifo(&log);
        server.signal(Signal::USR1);
        server.wait_for("no process reads this FIFO; the old file stays in use");
        server.connect().get("/");
        ended_in_time(server);
        let text = fs::read_to_string(&moved).expect("the old file");
        assert_eq!(text.lines().count(), 1);
    });
}

/// Without a handler SIGXFSZ would end the process (setrlimit(2), RLIMIT_FSIZE).
#[test]
fn a_file_size_limit_costs_lines_and_tears_none() {
    retried_after_a_stall(|| {
        let site = Site::new();
        let log = site.beside("log");
        let server = logging(&site, &log);
        let limit = |bytes: u64| {
            let limit = Rlimit {
                current: Some(bytes),
                maximum: None,
            };
            let pid = Pid::from_raw(server.pid().cast_signed());
            prlimit(pid, Resource::Fsize, limit).expect("prlimit");
        };
        // The limit falls into the middle of a line.
        limit(1_003);
        let mut client = server.connect();
        client.send(request("GET", "/", "").repeat(50));
        for _ in 0..50 {
            client.answer();
        }
        server.wait_for("the access log cannot be written");
        expect_serving(&site, &|| server.connect());
        assert_eq!(fs::metadata(&log).expect("the log").len(), 1_003);
        limit(1 << 30);
        client.get("/last");
        server.wait_for("the access log can be written again; lines lost: ");
        drop(client);
        let said = ended_in_time(server).stderr;
        assert_eq!(said.matches("cannot be written").count(), 1, "{said}");
        let text = fs::read_to_string(&log).expect("the log");
        for line in text.lines() {
            assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
            assert_eq!(line.matches('"').count(), 2, "{line}");
        }
        assert!(text.contains("GET /last "), "{text}");
        let (_, lost) = said.split_once("lines lost: ").expect(&said);
        let lost: usize = lost.lines().next().expect("a line").parse().expect(&said);
        assert_eq!(text.lines().count() + lost, 50 + 16 + 1, "{said}");
    });
}

/// A server one of whose standard streams is a pipe that is not read. It listens on a socket in the file
/// system, so the test need not read its address.
struct Unread {
    child: Child,
    pipe: PipeReader,
}

impl Unread {
    fn start(site: &Site, arguments: &[&str], to_pipe: fn(&mut Command, Stdio)) -> Unread {
        let (pipe, writer) = pipe().expect("a pipe");
        let mut command = Command::new(program());
        command
            .env("RUST_LOG", "debug")
            .args(["-w", WORKERS, "-l"])
            .arg(format!("unix:{}", site.beside("socket").display()))
            .args(arguments)
            .arg(site.root())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        to_pipe(&mut command, writer.into());
        let child = command.spawn().expect("the binary runs");
        // The socket's file exists a moment before the socket listens.
        let socket = site.beside("socket");
        until("a listener", || UnixStream::connect(&socket).is_ok());
        Unread { child, pipe }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the server can be signalled");
    }

    fn expect_ended_in_time(&mut self) {
        let start = Instant::now();
        self.signal(Signal::TERM);
        let mut status: Option<ExitStatus> = None;
        until("the server ends", || {
            status = self.child.try_wait().expect("wait");
            status.is_some()
        });
        assert!(start.elapsed() < IN_TIME, "{:?}", start.elapsed());
        assert_eq!(status.and_then(|status| status.code()), Some(0));
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_access_log_on_a_standard_output_that_nobody_reads_stalls_only_itself() {
    retried_after_a_stall(|| {
        let site = Site::new();
        let mut server = Unread::start(&site, &["--access-log", "-"], |command, pipe| {
            command.stdout(pipe);
        });
        let connect = || Client::connect_unix(site.beside("socket").as_path());
        fill_log(&connect);
        expect_serving(&site, &connect);
        server.signal(Signal::USR1);
        expect_serving(&site, &connect);
        server.expect_ended_in_time();
    });
}

/// Connections whose messages at `RUST_LOG=debug` exceed the pipe and its queue.
const TALKATIVE: usize = 12_000;

#[test]
fn a_standard_error_that_nobody_reads_holds_up_nobody() {
    retried_after_a_stall(|| {
        let site = Site::new();
        let mut server = Unread::start(&site, &[], |command, pipe| {
            command.stderr(pipe);
        });
        let connect = || Client::connect_unix(site.beside("socket").as_path());
        for _ in 0..TALKATIVE {
            assert_eq!(connect().get("/").status, 200);
        }
        server.signal(Signal::USR2);
        expect_serving(&site, &connect);
        server.expect_ended_in_time();
    });
}

#[test]
fn a_standard_error_that_is_read_again_tells_how_much_was_lost() {
    let site = Site::new();
    let server = Unread::start(&site, &[], |command, pipe| {
        command.stderr(pipe);
    });
    let connect = || Client::connect_unix(site.beside("socket").as_path());
    for _ in 0..TALKATIVE {
        connect().get("/");
    }
    let mut text = String::new();
    let mut part = [0; 64 * 1024];
    let lost = "abide: standard error was not read; lines lost: ";
    while !text.contains(lost) {
        let count = (&server.pipe).read(&mut part).expect("read");
        assert!(count > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&part[..count]));
    }
    // Later lines are not lost.
    server.signal(Signal::USR2);
    while !text.contains("access_log_lines_dropped_total 0\n") {
        let count = (&server.pipe).read(&mut part).expect("read");
        text.push_str(&String::from_utf8_lossy(&part[..count]));
    }
}
