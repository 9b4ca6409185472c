//! The servers, which are children that end with the bench, and the files that they serve.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use support::process::{PATHS, free_address, open_to_all};
use support::process_tree;
use support::tls::Certificate;
use tempfile::TempDir;

use super::cells::{DIRECTORY, FILES, LARGE_SITE_PAGES, PAGES_PER_DIRECTORY, Setup, page_path};
use super::kinds::Kind;
use super::options::ExtraServer;
use super::pinning;

const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the large site is left alone before it is served.
const SETTLING: Duration = Duration::from_secs(3);

const END_TIMEOUT: Duration = Duration::from_secs(3);

/// The path, with the directories of administrators' programs, which not every user's path has.
pub fn search_path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    format!("{own}:{PATHS}")
}

/// A running server. All its processes end on drop.
pub struct Server {
    pub address: SocketAddr,
    child: Child,
    own: TempDir,
}

impl Kind {
    /// Whether the bench knows how to set it up so.
    pub fn can_be(&self, setup: Setup) -> bool {
        match setup {
            Setup::Plain | Setup::SmallCache => true,
            Setup::Logged => self.logging.is_some(),
            Setup::Tls => self.tls_config.is_some(),
        }
    }

    /// The version, if the program reports one.
    pub fn version(&self) -> String {
        let mut command = Command::new(self.program);
        let output = command
            .env("PATH", search_path())
            .arg(self.version)
            .output();
        let said = output.map(|output| [output.stdout, output.stderr].concat());
        let said = String::from_utf8(said.unwrap_or_default()).unwrap_or_default();
        let is_version = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
        let words = said.split(['/', ' ', '\n']);
        words
            .map(|word| word.trim_start_matches('v'))
            .find(is_version)
            .unwrap_or_default()
            .to_owned()
    }

    /// Whether the program is installed.
    pub fn is_installed(&self) -> bool {
        let path = search_path();
        let mut folders = path.split(':').map(Path::new);
        folders.any(|folder| folder.join(self.program).is_file())
    }

    /// Starts the server with the files of `place`, and waits until it accepts.
    pub fn start(&self, place: &SiteDirectory, setup: Setup) -> io::Result<Server> {
        let own = TempDir::new()?;
        open_to_all(own.path());
        let address = free_address(Ipv4Addr::LOCALHOST);
        let config = own.path().join("server.conf");
        let log = self.logging.unwrap_or_default()[usize::from(setup == Setup::Logged)];
        let text = match (setup, self.tls_config) {
            (Setup::Tls, Some(tls_config)) => place.certificate.fill(&tls_config()),
            (Setup::SmallCache, _) => (self.small_cache_config.unwrap_or(self.config))(),
            _ => (self.config)(),
        };
        let fill = |text: &str| {
            text.replace("{log}", log)
                .replace("{variant}", self.variant)
                .replace("{place}", &own.path().to_string_lossy())
                .replace("{config}", &config.to_string_lossy())
                .replace("{root}", &place.root().to_string_lossy())
                .replace("{address}", &address.to_string())
                .replace("{port}", &address.port().to_string())
                .replace("{cpus}", &pinning::server_cpus().to_string())
        };
        fs::write(&config, fill(&text))?;
        let arguments = self.arguments.iter().map(|argument| fill(argument));
        let mut command = Command::new(self.program);
        command.args(arguments.filter(|argument| !argument.is_empty()));
        Server::spawn(command, address, own)
    }
}

impl ExtraServer {
    /// Starts the server, and waits until it accepts.
    pub fn start(&self, place: &SiteDirectory) -> io::Result<Server> {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(&self.command)
            .env("ROOT", place.root())
            .env("PORT", self.port.to_string());
        let address = (Ipv4Addr::LOCALHOST, self.port).into();
        Server::spawn(command, address, TempDir::new()?)
    }
}

impl Server {
    /// Starts the [`floor`](super::floor), which answers as `upstream` does.
    pub fn floor(upstream: &Server) -> io::Result<Server> {
        let address = free_address(Ipv4Addr::LOCALHOST);
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("--floor")
            .args([address, upstream.address].map(|address| address.to_string()));
        Server::spawn(command, address, TempDir::new()?)
    }

    fn spawn(command: Command, address: SocketAddr, own: TempDir) -> io::Result<Server> {
        if TcpStream::connect(address).is_ok() {
            return Err(io::Error::other(format!("{address} is taken")));
        }
        let mut command = pinning::on_server_cpus(command);
        let child = command
            .env("PATH", search_path())
            // Caddy stores its state in the home directory.
            .env("HOME", own.path())
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(own.path().join("stderr"))?)
            .process_group(0)
            .spawn()?;
        let mut server = Server {
            address,
            child,
            own,
        };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            if server.child.try_wait()?.is_some() || start.elapsed() > START_TIMEOUT {
                return Err(io::Error::other(server.said()));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// The process and all its descendants.
    pub fn tree(&self) -> Vec<u32> {
        process_tree::tree(self.child.id())
    }

    fn said(&self) -> String {
        let said = ["stderr", "error.log"]
            .map(|name| fs::read_to_string(self.own.path().join(name)).unwrap_or_default())
            .concat();
        said.trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.child);
        let _ = kill_process_group(group, Signal::TERM);
        // On SIGINT abide does not wait for idle connections.
        let _ = kill_process_group(group, Signal::INT);
        let start = Instant::now();
        while start.elapsed() < END_TIMEOUT {
            let has_ended = matches!(self.child.try_wait(), Ok(Some(_)));
            if has_ended && test_kill_process_group(group).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// The files that all servers serve, and the certificate that all present. They are removed on drop.
pub struct SiteDirectory {
    own: TempDir,
    pub certificate: Certificate,
}

impl SiteDirectory {
    /// The files, with those of the large site if asked for.
    pub fn new(has_large_site: bool) -> io::Result<SiteDirectory> {
        let place = SiteDirectory {
            own: TempDir::new()?,
            certificate: Certificate::new(),
        };
        open_to_all(place.own.path());
        let below_root = |path: &str| place.root().join(path.trim_start_matches('/'));
        fs::create_dir_all(below_root(DIRECTORY))?;
        fs::write(below_root(DIRECTORY).join("index.html"), "directory\n")?;
        for (path, bytes) in FILES {
            fs::write(below_root(path), vec![b'.'; bytes])?;
        }
        let pages = if has_large_site { LARGE_SITE_PAGES } else { 0 };
        for page in 0..pages {
            let path = below_root(&page_path(page));
            if page % PAGES_PER_DIRECTORY == 0
                && let Some(directory) = path.parent()
            {
                fs::create_dir_all(directory)?;
            }
            fs::write(path, vec![b'.'; 1 << 10])?;
        }
        if has_large_site {
            // As a site that was there before: the first reads set atime, and no server trusts the timestamps of
            // a file that has just been written.
            thread::sleep(SETTLING);
            for page in 0..pages {
                fs::read(below_root(&page_path(page)))?;
            }
        }
        Ok(place)
    }

    fn root(&self) -> PathBuf {
        self.own.path().join("www")
    }
}
