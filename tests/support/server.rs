//! The real binary in a process of its own.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tempfile::TempDir;

use super::site::public_directory;
use super::{Client, PATIENCE, until};

/// The path of the binary. Cargo puts it one directory above the program of the tests or of the bench, and
/// tells its path only to them (`CARGO_BIN_EXE_abide`), not to this library.
pub fn program() -> PathBuf {
    let own = std::env::current_exe().expect("this program has a path");
    let deps = own.parent().expect("a program is in a directory");
    let path = deps.with_file_name("abide");
    assert!(path.is_file(), "{} has not been built", path.display());
    path
}

/// Reads the standard error of a server up to its first TCP listener.
pub fn listening_address(said: &mut impl BufRead) -> SocketAddr {
    let mut lines = said.lines().map(|line| line.expect("a line"));
    let url = lines.find_map(|line| Some(line.strip_prefix("listening on http://")?.to_owned()));
    let url = url.expect("the server listens");
    url.parse().expect("an address")
}

/// A server to be started: arguments, configuration, environment.
pub struct Launch {
    command: Command,
    /// Holds the configuration file for as long as the server may read it.
    place: TempDir,
    root: OsString,
    listeners: usize,
    are_configured: bool,
}

/// A running server. Drop kills it, if it has not ended by itself.
pub struct Server {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    place: TempDir,
}

/// How a server ended: its status and its output.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Launch {
    /// A server for the site at `root`. It listens on a free port unless told otherwise.
    pub fn of(root: impl AsRef<Path>) -> Launch {
        let mut command = Command::new(program());
        command
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Launch {
            command,
            place: public_directory(),
            root: root.as_ref().into(),
            listeners: 0,
            are_configured: false,
        }
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: &[&str]) -> Launch {
        self.command.args(arguments);
        self
    }

    /// Adds a listener.
    pub fn listen(mut self, address: &str) -> Launch {
        self.command.args(["-l", address]);
        self.listeners += 1;
        self
    }

    /// Runs with this configuration file.
    pub fn config(mut self, toml: &str) -> Launch {
        let path = self.place.path().join("abide.toml");
        std::fs::write(&path, toml).expect("the configuration file");
        self.command.arg("-c").arg(path);
        self
    }

    /// Leaves all addresses to the configuration file, which has this many.
    pub fn listening_as_configured(mut self, listeners: usize) -> Launch {
        self.listeners = listeners;
        self.are_configured = true;
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Launch {
        self.command.env(name, value);
        self
    }

    /// Starts the server through another program, with `input` as its standard input. Must be called first.
    pub fn through(mut self, program: &[&str], input: impl Into<Stdio>) -> Launch {
        let mut command = Command::new(program[0]);
        command
            .args(&program[1..])
            .arg(self.command.get_program())
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        self.command = command;
        self
    }

    /// Starts the server and waits until it listens.
    pub fn start(self) -> Server {
        let wanted = self.listeners.max(1);
        let mut server = self.spawn();
        let start = Instant::now();
        while server.listening().len() < wanted {
            let ended = server.child.try_wait().expect("wait");
            assert!(
                ended.is_none(),
                "the server did not start: {}",
                server.stderr()
            );
            assert!(start.elapsed() < PATIENCE, "the server does not listen");
            thread::sleep(Duration::from_millis(1));
        }
        server
    }

    /// Runs a server that ends by itself: with a wrong configuration, `--check` or `--version`.
    pub fn run(self) -> Ended {
        self.spawn().ended()
    }

    fn spawn(mut self) -> Server {
        if self.listeners == 0 && !self.are_configured {
            self.command.args(["-l", "127.0.0.1:0"]);
        }
        self.command.arg(&self.root);
        let mut child = self.command.spawn().expect("the binary runs");
        let stdout = collect(child.stdout.take().expect("a pipe"));
        let stderr = collect(child.stderr.take().expect("a pipe"));
        Server {
            child,
            stdout,
            stderr,
            place: self.place,
        }
    }
}

impl Server {
    /// A server for `root` with the defaults.
    pub fn of(root: impl AsRef<Path>) -> Server {
        Launch::of(root).start()
    }

    /// The listeners that it has announced, one for each line.
    pub fn listening(&self) -> Vec<String> {
        let said = self.stderr();
        // A last line without its end may be incomplete.
        let complete = said.rfind('\n').map_or("", |end| &said[..end]);
        complete
            .lines()
            .filter_map(|line| line.strip_prefix("listening on "))
            .map(str::to_owned)
            .collect()
    }

    /// The address of the first TCP listener without TLS.
    pub fn address(&self) -> SocketAddr {
        self.first("http://").expect("a TCP listener")
    }

    /// The address of the first listener with TLS.
    pub fn tls_address(&self) -> SocketAddr {
        self.first("https://").expect("a TLS listener")
    }

    fn first(&self, scheme: &str) -> Option<SocketAddr> {
        self.listening()
            .iter()
            .map(|url| url.strip_prefix("proxy+").unwrap_or(url))
            .find_map(|url| url.strip_prefix(scheme)?.parse().ok())
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The path of its configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.place.path().join("abide.toml")
    }

    /// Writes another configuration and has the server reload it. Returns the lines that the server says until the
    /// reload has succeeded or has been refused.
    pub fn reload(&self, toml: &str) -> String {
        std::fs::write(self.config_file(), toml).expect("the configuration file");
        self.reload_again()
    }

    /// Has the server read its configuration again. Returns as [`reload`](Server::reload).
    pub fn reload_again(&self) -> String {
        let before = self.stderr().len();
        let since = || self.stderr().split_off(before);
        self.signal(Signal::HUP);
        until("the server has reloaded", || {
            let said = since();
            said.contains("abide: reloaded\n") || said.contains("abide: reload refused: ")
        });
        since()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the server can be signalled");
    }

    /// Its standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().expect("no reader panics").clone()
    }

    /// Its standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.lock().expect("no reader panics").clone()
    }

    /// Waits until its standard error contains `text`.
    pub fn wait_for(&self, text: &str) {
        until(&format!("the server says {text:?}"), || {
            self.stderr().contains(text)
        });
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }

    /// Resident memory of the process, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let path = format!("/proc/{}/smaps_rollup", self.pid());
        let said = std::fs::read_to_string(path).expect("/proc");
        let line = said.lines().find_map(|line| line.strip_prefix("Rss:"));
        let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
        kib.expect("Rss").trim().parse().expect("a number")
    }

    /// Open descriptors of the process.
    pub fn descriptors(&self) -> usize {
        let directory = format!("/proc/{}/fd", self.pid());
        std::fs::read_dir(directory).expect("/proc").count()
    }

    /// The names of its threads.
    pub fn threads(&self) -> Vec<String> {
        let directory = format!("/proc/{}/task", self.pid());
        let threads = std::fs::read_dir(directory).expect("/proc");
        // A thread that has ended meanwhile has no name.
        let name = |thread: std::fs::DirEntry| {
            std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default()
        };
        threads
            .map(|thread| name(thread.expect("a thread")))
            .collect()
    }

    /// How many spare workers it has.
    pub fn spares(&self) -> usize {
        let threads = self.threads();
        threads
            .iter()
            .filter(|name| name.starts_with("spare-"))
            .count()
    }

    /// Limits it to `count` descriptors from now on.
    pub fn limit_descriptors(&self, count: u64) {
        let limit = Rlimit {
            current: Some(count),
            maximum: Some(count),
        };
        let pid = Pid::from_child(&self.child);
        prlimit(Some(pid), Resource::Nofile, limit).expect("prlimit");
    }

    /// CPU time that it has used so far, in clock ticks of the kernel: hundredths of a second.
    pub fn cpu_ticks(&self) -> u64 {
        Server::ticks_in(&format!("/proc/{}/stat", self.pid()))
    }

    /// CPU time that its thread of this name has used so far, in clock ticks.
    pub fn cpu_ticks_of(&self, name: &str) -> u64 {
        let directory = format!("/proc/{}/task", self.pid());
        let find = || {
            let mut threads = std::fs::read_dir(&directory).expect("/proc");
            threads.find_map(|thread| {
                let path = thread.expect("a thread").path();
                let own = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
                (own.trim_end() == name).then_some(path)
            })
        };
        // A thread that has just started may not have its name yet.
        let start = Instant::now();
        let path = loop {
            match find() {
                Some(path) => break path,
                None if start.elapsed() < Duration::from_secs(5) => std::thread::yield_now(),
                None => panic!("no thread {name}"),
            }
        };
        Server::ticks_in(&path.join("stat").display().to_string())
    }

    fn ticks_in(path: &str) -> u64 {
        let stat = std::fs::read_to_string(path).expect("/proc");
        // The name, in parentheses, is the second of the fields (proc_pid_stat(5)).
        let (_, fields) = stat.rsplit_once(") ").expect("a name");
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks = |index: usize| fields[index].parse::<u64>().expect("a number");
        ticks(11) + ticks(12)
    }

    /// Waits for its end.
    pub fn ended(mut self) -> Ended {
        let status = self.wait_for_end();
        // The threads that read the pipes may end after the process.
        until("the pipes are read to their end", || {
            Arc::strong_count(&self.stdout) == 1 && Arc::strong_count(&self.stderr) == 1
        });
        Ended {
            code: status.code(),
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }

    fn wait_for_end(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "the server does not end; it said: {}",
                self.stderr()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the server said: {}", self.stderr());
        }
    }
}

/// Reads a pipe to its end in a thread, so that the server never blocks on it.
fn collect(pipe: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let collected = Arc::new(Mutex::new(String::new()));
    let ours = Arc::clone(&collected);
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe
            .read_until(b'\n', &mut line)
            .is_ok_and(|count| count > 0)
        {
            let text = String::from_utf8_lossy(&line);
            ours.lock().expect("no reader panics").push_str(&text);
            line.clear();
        }
    });
    collected
}
