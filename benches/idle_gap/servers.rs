//! The servers, all configured alike and started as children that end with the bench.

use std::fs::{self, File, Permissions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use tempfile::TempDir;

use super::{BODY_BYTES, MAX_REQUESTS, TIMEOUT_SECS};

pub const SMALL_PATH: &str = "/small.html";
pub const LARGE_PATH: &str = "/large.bin";
const LARGE_BYTES: usize = 384 * 1024;

const START_PATIENCE: Duration = Duration::from_secs(10);
const END_PATIENCE: Duration = Duration::from_secs(3);

/// The path includes the directories of administrators' programs, which not every user's path does.
const PATH: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";

const ABIDE: &str = "
root = \"{root}\"
listen = [\"{address}\"]
[keep_alive]
timeout = {timeout}
max_requests = {max}
[limits]
body_bytes = {body}
";

const NGINX: &str = "
user www-data;
worker_processes 2;
worker_rlimit_nofile 8192;
pid {place}/nginx.pid;
error_log {place}/error.log;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path {place}/client_body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout {timeout}s {timeout}s;
    keepalive_requests {max};
    client_max_body_size {body};
    server {
        listen {address} backlog=4096;
        root {root};
    }
}
";

const APACHE: &str = "
Listen {address}
ServerName localhost
User www-data
Group www-data
PidFile {place}/apache.pid
DefaultRuntimeDir {place}
Mutex file:{place} default
ErrorLog {place}/error.log
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule mime_module /usr/lib/apache2/modules/mod_mime.so
TypesConfig /dev/null
ListenBacklog 4096
ServerLimit 8
StartServers 8
ThreadsPerChild 64
MaxRequestWorkers 512
MinSpareThreads 512
MaxSpareThreads 1024
AsyncRequestWorkerFactor 8
KeepAlive On
KeepAliveTimeout {timeout}
MaxKeepAliveRequests {max}
LimitRequestBody {body}
DocumentRoot {root}
<Directory {root}>
    Require all granted
</Directory>
";

const LIGHTTPD: &str = "
server.document-root = \"{root}\"
server.bind = \"127.0.0.1\"
server.port = {port}
server.errorlog = \"{place}/error.log\"
server.pid-file = \"{place}/lighttpd.pid\"
server.max-fds = 8192
server.max-connections = 4096
server.listen-backlog = 4096
server.max-keep-alive-idle = {timeout}
server.max-keep-alive-requests = {max}
server.max-request-size = {body_kilobytes}
";

/// A kind of server to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Abide,
    Nginx,
    Apache,
    Lighttpd,
}

pub const KINDS: [Kind; 4] = [Kind::Abide, Kind::Nginx, Kind::Apache, Kind::Lighttpd];

/// The result of starting a server.
pub enum Start {
    Running(Server),
    NotInstalled,
    Failed(String),
}

impl Kind {
    /// The name, with the version if the program reports one.
    pub fn title(self) -> String {
        let (name, argument) = match self {
            Kind::Abide => ("abide", "--version"),
            Kind::Nginx => ("nginx", "-v"),
            Kind::Apache => ("Apache", "-v"),
            Kind::Lighttpd => ("lighttpd", "-v"),
        };
        let mut command = Command::new(self.program());
        let output = command.env("PATH", PATH).arg(argument).output();
        let said = output.map(|output| [output.stdout, output.stderr].concat());
        let said = String::from_utf8(said.unwrap_or_default()).unwrap_or_default();
        let version = said
            .split(['/', ' ', '\n'])
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        format!("{name} {}", version.unwrap_or_default())
            .trim()
            .to_owned()
    }

    fn program(self) -> PathBuf {
        match self {
            Kind::Abide => env!("CARGO_BIN_EXE_abide").into(),
            Kind::Nginx => "nginx".into(),
            Kind::Apache => "apache2".into(),
            Kind::Lighttpd => "lighttpd".into(),
        }
    }

    fn config(self) -> &'static str {
        match self {
            Kind::Abide => ABIDE,
            Kind::Nginx => NGINX,
            Kind::Apache => APACHE,
            Kind::Lighttpd => LIGHTTPD,
        }
    }

    fn arguments(self, command: &mut Command, place: &Path, config: &Path) {
        match self {
            Kind::Abide => command.arg("-c").arg(config),
            Kind::Nginx => {
                command.arg("-p").arg(place).arg("-c").arg(config);
                // nginx logs to its default file until it has read the configuration.
                command.arg("-e").arg(place.join("error.log"));
                command.args(["-g", "daemon off;"])
            }
            Kind::Apache => {
                command.arg("-d").arg(place).arg("-f").arg(config);
                command.arg("-DFOREGROUND")
            }
            Kind::Lighttpd => command.arg("-D").arg("-f").arg(config),
        };
    }

    /// The signal that ends the server at once.
    fn end_with(self) -> Signal {
        match self {
            Kind::Abide => Signal::INT,
            Kind::Nginx | Kind::Apache | Kind::Lighttpd => Signal::TERM,
        }
    }

    /// Starts the server with the files of `place`, and waits until it accepts.
    pub fn start(self, place: &SiteDirectory) -> Start {
        self.try_start(place).unwrap_or_else(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                Start::NotInstalled
            } else {
                Start::Failed(error.to_string())
            }
        })
    }

    fn try_start(self, place: &SiteDirectory) -> io::Result<Start> {
        let own = TempDir::new()?;
        open_to_all(own.path())?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let config = self
            .config()
            .replace("{place}", &own.path().to_string_lossy())
            .replace("{root}", &place.root().to_string_lossy())
            .replace("{address}", &address.to_string())
            .replace("{port}", &address.port().to_string())
            .replace("{timeout}", &TIMEOUT_SECS.to_string())
            .replace("{max}", &MAX_REQUESTS.to_string())
            .replace("{body_kilobytes}", &(BODY_BYTES / 1024).to_string())
            .replace("{body}", &BODY_BYTES.to_string());
        let path = own.path().join("server.conf");
        fs::write(&path, config)?;
        let mut command = Command::new(self.program());
        self.arguments(&mut command, own.path(), &path);
        let child = command
            .env("PATH", PATH)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(own.path().join("stderr"))?)
            .process_group(0)
            .spawn()?;
        let mut server = Server {
            address,
            child,
            end_with: self.end_with(),
            own,
        };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            if server.child.try_wait()?.is_some() || start.elapsed() > START_PATIENCE {
                return Ok(Start::Failed(server.said()));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(Start::Running(server))
    }
}

/// A running server. All its processes end on drop.
pub struct Server {
    pub address: SocketAddr,
    child: Child,
    end_with: Signal,
    own: TempDir,
}

impl Server {
    fn said(&self) -> String {
        ["stderr", "error.log"]
            .map(|name| fs::read_to_string(self.own.path().join(name)).unwrap_or_default())
            .concat()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.child);
        // Signal only the first process, which stops its workers.
        let _ = kill_process(group, self.end_with);
        let start = Instant::now();
        while start.elapsed() < END_PATIENCE {
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

/// The files that all servers serve. They are removed on drop.
pub struct SiteDirectory(TempDir);

impl SiteDirectory {
    pub fn new() -> io::Result<SiteDirectory> {
        let place = SiteDirectory(TempDir::new()?);
        open_to_all(place.0.path())?;
        fs::create_dir(place.root())?;
        let file = |path: &str| place.root().join(path.trim_start_matches('/'));
        fs::write(file(SMALL_PATH), "<!doctype html><title>small</title>\n")?;
        fs::write(file(LARGE_PATH), vec![b'.'; LARGE_BYTES])?;
        Ok(place)
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("www")
    }
}

/// Lets other users read the directory, because some servers run their workers as another user.
fn open_to_all(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, Permissions::from_mode(0o755))
}
