//! A proxy as a child of the test, in a directory of its own, with all its processes gone on drop.

use std::fs::{self, File, Permissions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use tempfile::TempDir;

use support::PATIENCE;

/// How long a proxy may take to end when it is asked to.
const END_PATIENCE: Duration = Duration::from_secs(3);

/// A port that was free a moment ago may be somebody else's when the proxy binds it.
const ATTEMPTS: usize = 3;

/// Administrators' programs are not on every user's path.
const PATHS: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";

/// How to start a proxy: the program, its arguments and its configuration. `{place}` stands for its
/// directory, `{address}` and `{port}` for where it listens, `{config}` for its configuration file.
pub struct Recipe {
    pub program: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
    pub arguments: &'static [&'static str],
    pub config: String,
}

/// A proxy that runs.
pub struct Process {
    pub address: SocketAddr,
    first: Child,
    place: TempDir,
}

impl Recipe {
    pub fn start(&self) -> Process {
        let mut said = String::new();
        for _ in 0..ATTEMPTS {
            match self.try_start() {
                Ok(process) => return process,
                Err(why) => said = why,
            }
        }
        panic!("{} does not start: {said}", self.program);
    }

    fn try_start(&self) -> Result<Process, String> {
        let place = TempDir::new().expect("a temporary directory");
        // Some give up being root, and must still get there.
        fs::set_permissions(place.path(), Permissions::from_mode(0o755)).expect("it is ours");
        let address = free_address();
        let file = place.path().join("proxy.conf");
        let fill = |text: &str| {
            text.replace("{place}", &place.path().to_string_lossy())
                .replace("{config}", &file.to_string_lossy())
                .replace("{address}", &address.to_string())
                .replace("{port}", &address.port().to_string())
        };
        fs::write(&file, fill(&self.config)).expect("the configuration file");
        let said = File::create(place.path().join("stderr")).expect("a file for what it says");
        let child = Command::new(self.program)
            .args(self.arguments.iter().map(|argument| fill(argument)))
            .env("PATH", PATHS)
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("another descriptor of it"))
            .stderr(said)
            .process_group(0)
            .spawn();
        let first = child.unwrap_or_else(|why| {
            let (program, package) = (self.program, self.package);
            panic!("{program} must be installed for this test (package {package}): {why}")
        });
        let mut process = Process {
            address,
            first,
            place,
        };
        process.wait_until_it_accepts()?;
        Ok(process)
    }
}

impl Process {
    /// Where its files are.
    pub fn place(&self) -> &Path {
        self.place.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.place().join(name)
    }

    fn wait_until_it_accepts(&mut self) -> Result<(), String> {
        let start = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            let ended = self.first.try_wait().expect("wait").is_some();
            if ended || start.elapsed() > PATIENCE {
                return Err(self.said());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// What it has written to its terminal and its log of errors.
    pub fn said(&self) -> String {
        ["stderr", "error.log"]
            .map(|name| fs::read_to_string(self.path(name)).unwrap_or_default())
            .concat()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.first);
        // To the first alone: it stops its workers, and removes what it shares with them.
        let _ = kill_process(group, Signal::TERM);
        let start = Instant::now();
        let mut first_has_ended = false;
        while start.elapsed() < END_PATIENCE {
            first_has_ended |= matches!(self.first.try_wait(), Ok(Some(_)));
            if first_has_ended && test_kill_process_group(group).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        if !first_has_ended || test_kill_process_group(group).is_ok() {
            let _ = kill_process_group(group, Signal::KILL);
            let _ = self.first.wait();
        }
        if thread::panicking() {
            eprintln!("the proxy said: {}", self.said());
        }
    }
}

/// A port of the loopback interface that nobody has at the moment.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address")
}
