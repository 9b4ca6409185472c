//! A server or proxy as a child of the test, in a directory of its own. Drop ends all its processes.

use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, getrlimit, kill_process, kill_process_group, setrlimit,
    test_kill_process_group,
};
use tempfile::TempDir;

use super::tls::Certificate;
use super::{PATIENCE, process_tree};

/// How long a program may take to end after the signal.
const END_PATIENCE: Duration = Duration::from_secs(3);

/// How often a start is tried: another program may bind the free port first.
const ATTEMPTS: usize = 3;

/// The search path, with the directories of administrators' programs, which a user's path may lack.
pub const PATHS: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";

/// How to start a program: its path, arguments and configuration. `{place}` stands for its directory,
/// `{address}` and `{port}` for its listener, `{config}` for its configuration file, `{root}` for the files
/// that it serves, `{certificate}` and `{key}` for the files of its certificate.
#[derive(Debug, Clone)]
pub struct Recipe {
    pub program: PathBuf,
    /// The Debian package that contains the program.
    pub package: &'static str,
    pub arguments: &'static [&'static str],
    pub config: String,
    /// The signal that makes it end at once.
    pub end_with: Signal,
}

/// A running program.
pub struct Process {
    pub address: SocketAddr,
    first: Child,
    place: TempDir,
    end_with: Signal,
}

/// Why there is no process.
#[derive(Debug)]
pub enum NotStarted {
    NotInstalled,
    /// Its output.
    Failed(String),
}

impl Recipe {
    /// Serves the files at `root`, which the workers must be able to read.
    pub fn serving(mut self, root: &Path) -> Recipe {
        self.config = self.config.replace("{root}", &root.to_string_lossy());
        self
    }

    /// Presents the certificate to TLS clients.
    pub fn presenting(mut self, certificate: &Certificate) -> Recipe {
        self.config = certificate.fill(&self.config);
        self
    }

    /// Starts the program on a port of the loopback interface, and waits until it accepts.
    pub fn start(&self) -> Process {
        let (program, package) = (self.program.display(), self.package);
        match self.try_start(Ipv4Addr::LOCALHOST) {
            Ok(process) => process,
            Err(NotStarted::NotInstalled) => {
                panic!("{program} must be installed for this test (package {package})")
            }
            Err(NotStarted::Failed(said)) => panic!("{program} does not start: {said}"),
        }
    }

    /// Starts the program on a port of `host`, and waits until it accepts.
    ///
    /// # Errors
    /// If the program is not installed, or ends or does not accept, at several attempts.
    pub fn try_start(&self, host: Ipv4Addr) -> Result<Process, NotStarted> {
        let mut said = String::new();
        for _ in 0..ATTEMPTS {
            match self.spawn(free_address(host)) {
                Err(NotStarted::Failed(why)) => said = why,
                result => return result,
            }
        }
        Err(NotStarted::Failed(said))
    }

    fn spawn(&self, address: SocketAddr) -> Result<Process, NotStarted> {
        let place = TempDir::new().expect("a temporary directory");
        open_to_all(place.path());
        let file = place.path().join("server.conf");
        let fill = |text: &str| {
            text.replace("{place}", &place.path().to_string_lossy())
                .replace("{config}", &file.to_string_lossy())
                .replace("{address}", &address.to_string())
                .replace("{port}", &address.port().to_string())
        };
        fs::write(&file, fill(&self.config)).expect("the configuration file");
        let said = File::create(place.path().join("stderr")).expect("a file for what it says");
        let child = Command::new(&self.program)
            .args(self.arguments.iter().map(|argument| fill(argument)))
            .env("PATH", PATHS)
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("another descriptor of it"))
            .stderr(said)
            .process_group(0)
            .spawn();
        let first = child.map_err(|error| match error.kind() {
            ErrorKind::NotFound => NotStarted::NotInstalled,
            _ => NotStarted::Failed(error.to_string()),
        })?;
        let mut process = Process {
            address,
            first,
            place,
            end_with: self.end_with,
        };
        process
            .wait_until_it_accepts()
            .map_err(NotStarted::Failed)?;
        Ok(process)
    }
}

impl Process {
    /// The directory of its files.
    pub fn place(&self) -> &Path {
        self.place.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.place().join(name)
    }

    /// The program and all processes that it has started.
    pub fn tree(&self) -> Vec<u32> {
        process_tree::tree(self.first.id())
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

    /// Its output and its error log so far.
    pub fn said(&self) -> String {
        ["stderr", "error.log"]
            .map(|name| fs::read_to_string(self.path(name)).unwrap_or_default())
            .concat()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.first);
        // The signal goes to the first process alone: that one stops its workers, and removes what they
        // share.
        let _ = kill_process(group, self.end_with);
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
            eprintln!("the program said: {}", self.said());
        }
    }
}

/// A port of `host` that is free at the moment.
pub fn free_address(host: Ipv4Addr) -> SocketAddr {
    let listener = TcpListener::bind((host, 0)).expect("a free port");
    listener.local_addr().expect("an address")
}

/// Makes `directory` readable by all: some programs give up root, and must still read their files.
pub fn open_to_all(directory: &Path) {
    let permissions = Permissions::from_mode(0o755);
    fs::set_permissions(directory, permissions).expect("the directory is ours");
}

/// Raises the limit of descriptors of this process to the hard one, for a client or a server with many sockets.
pub fn raise_descriptor_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("the soft limit can be as high as the hard one");
}
