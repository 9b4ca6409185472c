//! The servers, all configured alike and started as children that end with the bench.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;

use support::process::{NotStarted, PATHS, Process, Recipe, open_to_all};
use support::recipes;
use support::tls::Certificate;
use tempfile::TempDir;

use super::{BODY_BYTES, MAX_REQUESTS, TIMEOUT_SECS};

pub const SMALL_PATH: &str = "/small.html";
pub const LARGE_PATH: &str = "/large.bin";
const LARGE_BYTES: usize = 384 * 1024;

const ABIDE: &str = "
[keep_alive]
timeout = {timeout}
max_requests = {max}
[limits]
body_bytes = {body}
";

const NGINX_MAIN: &str = "user www-data; worker_processes 2; worker_rlimit_nofile 8192;";

const NGINX_HTTP: &str = "
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout {timeout}s {timeout}s;
    keepalive_requests {max};
    client_max_body_size {body};
    server {
        {listen}
        root {root};
    }
";

const NGINX_LISTEN: &str = "listen {address} backlog=4096;";

const NGINX_LISTEN_TLS: &str = "listen {address} ssl backlog=4096;";

const APACHE: &str = "
ListenBacklog 4096
ServerLimit 8
StartServers 8
ThreadsPerChild 64
MaxRequestWorkers 512
MinSpareThreads 512
MaxSpareThreads 1024
AsyncRequestWorkerFactor 8
KeepAliveTimeout {timeout}
MaxKeepAliveRequests {max}
LimitRequestBody {body}
";

const LIGHTTPD: &str = "
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

impl Kind {
    /// The name, with the version if the program reports one.
    pub fn title(self) -> String {
        let (name, argument) = match self {
            Kind::Abide => ("abide", "--version"),
            Kind::Nginx => ("nginx", "-v"),
            Kind::Apache => ("Apache", "-v"),
            Kind::Lighttpd => ("lighttpd", "-v"),
        };
        let mut command = Command::new(self.recipe(false).program);
        let output = command.env("PATH", PATHS).arg(argument).output();
        let said = output.map(|output| [output.stdout, output.stderr].concat());
        let said = String::from_utf8(said.unwrap_or_default()).unwrap_or_default();
        let version = said
            .split(['/', ' ', '\n'])
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        format!("{name} {}", version.unwrap_or_default())
            .trim()
            .to_owned()
    }

    fn recipe(self, is_tls: bool) -> Recipe {
        let with = |settings: &str, for_tls: &str| {
            let for_tls = if is_tls { for_tls } else { "" };
            [settings, for_tls].concat()
        };
        let mut recipe = match self {
            Kind::Abide if is_tls => recipes::abide_tls(ABIDE),
            Kind::Abide => recipes::abide(ABIDE),
            Kind::Nginx => {
                let listen = if is_tls {
                    NGINX_LISTEN_TLS
                } else {
                    NGINX_LISTEN
                };
                let http = NGINX_HTTP.replace("{listen}", &with(listen, recipes::NGINX_TLS));
                recipes::nginx(NGINX_MAIN, "worker_connections 4096;", &http)
            }
            Kind::Apache => recipes::apache(&with(APACHE, recipes::APACHE_TLS), ""),
            Kind::Lighttpd => recipes::lighttpd(&with(LIGHTTPD, recipes::LIGHTTPD_TLS)),
        };
        recipe.config = recipe
            .config
            .replace("{timeout}", &TIMEOUT_SECS.to_string())
            .replace("{max}", &MAX_REQUESTS.to_string())
            .replace("{body_kilobytes}", &(BODY_BYTES / 1024).to_string())
            .replace("{body}", &BODY_BYTES.to_string());
        recipe
    }

    /// Starts it over the files of `place`, for TLS if there is a certificate, and waits until it accepts.
    pub fn start(
        self,
        place: &SiteDirectory,
        certificate: Option<&Certificate>,
    ) -> Result<Process, NotStarted> {
        let mut recipe = self.recipe(certificate.is_some()).serving(&place.root());
        if let Some(certificate) = certificate {
            recipe = recipe.presenting(certificate);
        }
        recipe.try_start(Ipv4Addr::LOCALHOST)
    }
}

/// The files that all servers serve. They are removed on drop.
pub struct SiteDirectory(TempDir);

impl SiteDirectory {
    pub fn new() -> io::Result<SiteDirectory> {
        let place = SiteDirectory(TempDir::new()?);
        open_to_all(place.0.path());
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
