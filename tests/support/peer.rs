//! nginx and Apache as children of the test, configured as much like abide as they can be: the same
//! files are hidden, links out of the root are refused, and the limits are about the same.

use std::fs::{self, File, Permissions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tempfile::TempDir;

use super::{Client, PATIENCE, Site};

/// How long a server may take to end when it is asked to.
const END_PATIENCE: Duration = Duration::from_secs(3);

/// A port that was free a moment ago may be somebody else's when the server binds it.
const ATTEMPTS: usize = 3;

const NGINX: &str = "
user www-data;
worker_processes 2;
pid {place}/nginx.pid;
error_log {place}/error.log;
events { worker_connections 512; }
http {
    access_log off;
    client_body_temp_path {place}/client_body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    {types}
    charset utf-8;
    keepalive_timeout 60;
    keepalive_requests 1000;
    client_header_buffer_size 1k;
    large_client_header_buffers 4 1040;
    client_max_body_size 4k;
    lingering_timeout 100ms;
    absolute_redirect off;
    if_modified_since before;
    max_ranges 16;
    server {
        listen {address};
        root {root};
        disable_symlinks on from={root};
        location ~ /\\.(?!well-known) { return 404; }
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
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule allowmethods_module {modules}/mod_allowmethods.so
LoadModule alias_module {modules}/mod_alias.so
LoadModule mime_module {modules}/mod_mime.so
LoadModule dir_module {modules}/mod_dir.so
TypesConfig /dev/null
AddType text/html .html
AddType text/plain .txt
AddDefaultCharset utf-8
StartServers 1
ServerLimit 1
ThreadsPerChild 64
MaxRequestWorkers 64
KeepAlive On
KeepAliveTimeout 60
MaxKeepAliveRequests 1000
LimitRequestLine 1036
LimitRequestFieldSize 4066
LimitRequestFields 100
LimitRequestBody 4096
MaxRanges 16
TraceEnable off
DocumentRoot {root}
<Directory {root}>
    Options None
    AllowOverride None
    AllowMethods GET HEAD OPTIONS
    Require all granted
</Directory>
RedirectMatch 404 /\\.(?!well-known)
";

/// The media types of the site that the cases know.
const TWO_TYPES: &str = "types { text/html html; text/plain txt; }";

/// The media types of Debian's nginx, and the one of what is not among them.
const DEBIAN_TYPES: &str = "include /etc/nginx/mime.types; default_type application/octet-stream;";

/// Where Debian and its relatives keep Apache's modules.
const APACHE_MODULES: &str = "/usr/lib/apache2/modules";

/// A server that is not ours. It ends on drop, with all its processes.
pub struct Peer {
    pub name: &'static str,
    pub address: SocketAddr,
    /// Of `/index.html`, quotes included.
    pub etag: String,
    _processes: Processes,
}

impl Peer {
    pub fn nginx(site: &Site) -> Peer {
        Peer::nginx_with(TWO_TYPES, site)
    }

    /// nginx with the media types that Debian gives it.
    pub fn nginx_of_debian(site: &Site) -> Peer {
        Peer::nginx_with(DEBIAN_TYPES, site)
    }

    fn nginx_with(types: &str, site: &Site) -> Peer {
        let config = NGINX.replace("{types}", types);
        Peer::start("nginx", &config, site, |command, place, config| {
            command.arg("-p").arg(place).arg("-c").arg(config);
            command.args(["-g", "daemon off;"]);
            // Until it has read where to log, it would log to its default place.
            command.arg("-e").arg(place.join("error.log"));
        })
    }

    pub fn apache(site: &Site) -> Peer {
        Peer::start("apache2", APACHE, site, |command, place, config| {
            command.arg("-d").arg(place).arg("-f").arg(config);
            command.arg("-DFOREGROUND");
        })
    }

    fn start(
        program: &'static str,
        config: &str,
        site: &Site,
        arguments: fn(&mut Command, &Path, &Path),
    ) -> Peer {
        // Its workers run as another user, who must be able to get to the files.
        let root = site.root();
        let above = root.parent().expect("a site is in a directory of its own");
        open_to_all(above);
        let mut said = String::new();
        for _ in 0..ATTEMPTS {
            let place = TempDir::new().expect("a temporary directory");
            open_to_all(place.path());
            let address = free_address();
            let config = config
                .replace("{place}", &place.path().to_string_lossy())
                .replace("{root}", &root.to_string_lossy())
                .replace("{address}", &address.to_string())
                .replace("{modules}", APACHE_MODULES);
            let path = place.path().join("server.conf");
            fs::write(&path, config).expect("the configuration file");
            let mut command = Command::new(program);
            arguments(&mut command, place.path(), &path);
            match Processes::start(command, place, address) {
                Ok(processes) => return Peer::of(program, address, processes),
                Err(why) => said = why,
            }
        }
        panic!("{program} does not start: {said}");
    }

    fn of(program: &'static str, address: SocketAddr, processes: Processes) -> Peer {
        let mut client = Client::connect(address);
        client.send("GET /index.html HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = String::from_utf8(client.rest()).expect("an answer in ASCII");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{program}: {answer}");
        let etag = answer.lines().find_map(|line| line.strip_prefix("ETag: "));
        Peer {
            name: program.trim_end_matches('2'),
            address,
            etag: etag.expect("an entity tag").to_owned(),
            _processes: processes,
        }
    }
}

fn open_to_all(directory: &Path) {
    let permissions = Permissions::from_mode(0o755);
    fs::set_permissions(directory, permissions).expect("the directory is ours");
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address")
}

/// A server's processes, a group of their own, and the directory that they work in.
struct Processes {
    first: Child,
    place: TempDir,
}

impl Processes {
    /// Starts `command` and waits until it accepts on `address`.
    fn start(
        mut command: Command,
        place: TempDir,
        address: SocketAddr,
    ) -> Result<Processes, String> {
        let said = File::create(place.path().join("stderr")).expect("a file for what it says");
        let program = command.get_program().to_owned();
        let child = command
            // Administrators' programs are not on every user's path.
            .env(
                "PATH",
                "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin",
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .process_group(0)
            .spawn();
        let first = child.unwrap_or_else(|why| {
            panic!("{program:?} must be installed for this test (nginx-light, apache2): {why}")
        });
        let mut processes = Processes { first, place };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = processes.first.try_wait().expect("wait").is_some();
            if ended || start.elapsed() > PATIENCE {
                return Err(processes.said());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(processes)
    }

    fn said(&self) -> String {
        ["stderr", "error.log"]
            .map(|name| fs::read_to_string(self.place.path().join(name)).unwrap_or_default())
            .concat()
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.first);
        // To the first alone: it stops its workers, and removes what it shares with them.
        let _ = rustix::process::kill_process(group, Signal::TERM);
        let start = Instant::now();
        while start.elapsed() < END_PATIENCE {
            let ended = matches!(self.first.try_wait(), Ok(Some(_)));
            if ended && test_kill_process_group(group).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.first.wait();
    }
}
