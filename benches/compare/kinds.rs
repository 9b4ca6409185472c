//! The configurations of the servers: each the fastest for a few static files by its documentation, without
//! a limit on requests per connection.
//!
//! In the texts, `{place}` is a folder of the server, `{root}` the directory of the files, `{address}` and
//! `{port}` the listening address, `{cpus}` the number of CPUs, `{config}` the path of the configuration,
//! `{certificate}` and `{key}` the files of the certificate; `{log}` and `{variant}` come from [`Kind`].
//!
//! Over TLS the servers keep their defaults for ciphers, sessions and tickets. abide has rustls, Caddy has Go's
//! TLS and prefers AES with 128 bits where the others take the client's first choice, 256; the rest have
//! OpenSSL.

use support::recipes;

/// A server that the bench can start.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    pub program: &'static str,
    /// The argument that prints the version.
    pub version: &'static str,
    pub config: fn() -> String,
    /// The configuration for TLS, without a log. `None` if no cell over TLS is measured.
    pub tls_config: Option<fn() -> String>,
    /// The configuration with a cache of 8 MB, if the server keeps the contents of files.
    pub small_cache_config: Option<fn() -> String>,
    pub arguments: &'static [&'static str],
    /// The texts for `{log}`: without an access log, and with one in the common or combined format, buffered
    /// if possible. `None` if no cell with a log is measured.
    pub logging: Option<[&'static str; 2]>,
    /// The text for `{variant}`.
    pub variant: &'static str,
    /// Whether the targets compare abide with this server.
    pub is_rival: bool,
}

const ABIDE: &str = "
[keep_alive]
max_requests = 2147483647
";

const SMALL_CACHE: &str = "
[cache]
bytes = 8388608
";

const NGINX_MAIN: &str =
    "user nobody nogroup; worker_processes {cpus}; worker_rlimit_nofile 20000;";

const NGINX_EVENTS: &str = "worker_connections 16384; multi_accept on;";

/// At the default level of its error log, nginx would write a line for each missing file.
const NGINX_HTTP: &str = "
    error_log {place}/error.log crit;
    types { text/html html; }
    keepalive_timeout 120s 120s;
    keepalive_requests 2147483647;
    {log}
    {variant}
    server {
        {listen}
        root {root};
    }
";

const NGINX_LISTEN: &str = "listen {address} backlog=16384 reuseport;";

const NGINX_LISTEN_TLS: &str = "listen {address} ssl backlog=16384 reuseport;";

const NGINX_LOGGING: [&str; 2] = [
    "access_log off;",
    "access_log {place}/access.log combined buffer=32k flush=1s;",
];

const OPEN_FILE_CACHE: &str = "
    open_file_cache max=1000 inactive=60s;
    open_file_cache_valid 1s;
    open_file_cache_min_uses 1;
    open_file_cache_errors on;
";

const SENDFILE_AND_CACHE: &str = "
    sendfile on;
    tcp_nopush on;
    open_file_cache max=1000 inactive=60s;
    open_file_cache_valid 1s;
    open_file_cache_min_uses 1;
    open_file_cache_errors on;
";

const LIGHTTPD: &str = r#"
server.max-fds = 20000
server.max-connections = 16384
server.listen-backlog = 16384
server.max-keep-alive-idle = 120
server.max-keep-alive-requests = 65535
server.stat-cache-engine = "simple"
mimetype.assign = ( ".html" => "text/html", "" => "application/octet-stream" )
{log}
"#;

const LIGHTTPD_LOGGING: [&str; 2] = [
    "",
    "server.modules = (\"mod_accesslog\")\naccesslog.filename = \"{place}/access.log\"",
];

const H2O: &str = "
user: nobody
num-threads: {cpus}
max-connections: 16384
http1-request-timeout: 120
{log}
";

const APACHE: &str = "
LogLevel crit
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
AddType text/html .html
ListenBacklog 16384
ServerLimit 4
StartServers 4
ThreadLimit 64
ThreadsPerChild 64
MaxRequestWorkers 256
MinSpareThreads 256
MaxSpareThreads 512
AsyncRequestWorkerFactor 64
EnableSendfile On
KeepAliveTimeout 120
MaxKeepAliveRequests 0
{log}
";

const APACHE_DIRECTORY: &str = "AllowOverride None\n    Options FollowSymLinks";

const APACHE_LOGGING: [&str; 2] = [
    "",
    r#"
BufferedLogs On
CustomLog {place}/access.log "%h %l %u %t \"%r\" %>s %b"
"#,
];

const CADDY: &str = "
{
    admin off
    auto_https off
    log {
        level ERROR
    }
    servers {
        protocols h1
    }
}
{scheme}://127.0.0.1:{port} {
    bind 127.0.0.1
    {tls}
    root * {root}
    file_server
}
";

const CADDY_TLS: &str = "tls {certificate} {key}";

const SWS_ARGUMENTS: &[&str] = &[
    "--host",
    "127.0.0.1",
    "--port",
    "{port}",
    "--root",
    "{root}",
    "--log-level",
    "error",
    "--compression",
    "false",
    "--cache-control-headers",
    "false",
];

pub const ABIDE_NAME: &str = "abide";

/// nginx, with this text for the addresses and certificates of its block `server`.
fn nginx_config(listen: &str) -> String {
    let http = NGINX_HTTP.replace("{listen}", listen);
    recipes::nginx_config(NGINX_MAIN, NGINX_EVENTS, &http)
}

const fn nginx(name: &'static str, variant: &'static str) -> Kind {
    Kind {
        name,
        program: "nginx",
        version: "-v",
        config: || nginx_config(NGINX_LISTEN),
        tls_config: Some(|| nginx_config(&[NGINX_LISTEN_TLS, recipes::NGINX_TLS].concat())),
        small_cache_config: None,
        arguments: recipes::NGINX_ARGUMENTS,
        logging: Some(NGINX_LOGGING),
        variant,
        is_rival: true,
    }
}

/// The servers in the order of the tables.
pub const KINDS: [Kind; 10] = [
    Kind {
        name: ABIDE_NAME,
        program: env!("CARGO_BIN_EXE_abide"),
        version: "--version",
        config: || recipes::abide_config(ABIDE),
        tls_config: Some(|| recipes::abide_tls_config(ABIDE)),
        small_cache_config: Some(|| recipes::abide_config(&[ABIDE, SMALL_CACHE].concat())),
        arguments: &["-c", "{config}", "{log}"],
        logging: Some(["", "--access-log={place}/access.log"]),
        variant: "",
        is_rival: false,
    },
    nginx("nginx", ""),
    nginx("nginx, sendfile, cache", SENDFILE_AND_CACHE),
    nginx("nginx, cache", OPEN_FILE_CACHE),
    Kind {
        name: "lighttpd",
        program: "lighttpd",
        version: "-v",
        config: || recipes::lighttpd_config(LIGHTTPD),
        tls_config: Some(|| recipes::lighttpd_config(&[LIGHTTPD, recipes::LIGHTTPD_TLS].concat())),
        small_cache_config: None,
        arguments: recipes::LIGHTTPD_ARGUMENTS,
        logging: Some(LIGHTTPD_LOGGING),
        variant: "",
        is_rival: true,
    },
    Kind {
        name: "h2o",
        program: "h2o",
        version: "-v",
        config: || recipes::h2o_config(H2O),
        tls_config: Some(|| recipes::h2o_tls_config(H2O)),
        small_cache_config: None,
        arguments: recipes::H2O_ARGUMENTS,
        logging: Some(["", "access-log: {place}/access.log"]),
        variant: "",
        is_rival: true,
    },
    // Not packaged by Debian. It has fewer features than the others; it shows what the machine gives.
    Kind {
        name: "lwan",
        program: "lwan",
        version: "--version",
        config: String::new,
        tls_config: None,
        small_cache_config: None,
        arguments: &["--root", "{root}", "--listen", "127.0.0.1:{port}"],
        logging: None,
        variant: "",
        is_rival: false,
    },
    Kind {
        name: "Apache",
        program: "apache2",
        version: "-v",
        config: || recipes::apache_config(APACHE, APACHE_DIRECTORY),
        tls_config: Some(|| {
            recipes::apache_config(&[APACHE, recipes::APACHE_TLS].concat(), APACHE_DIRECTORY)
        }),
        small_cache_config: None,
        arguments: recipes::APACHE_ARGUMENTS,
        logging: Some(APACHE_LOGGING),
        variant: "",
        is_rival: false,
    },
    Kind {
        name: "Caddy",
        program: "caddy",
        version: "version",
        config: || CADDY.replace("{scheme}", "http").replace("{tls}", ""),
        tls_config: Some(|| {
            CADDY
                .replace("{scheme}", "https")
                .replace("{tls}", CADDY_TLS)
        }),
        small_cache_config: None,
        arguments: &["run", "--adapter", "caddyfile", "--config", "{config}"],
        logging: None,
        variant: "",
        is_rival: true,
    },
    Kind {
        name: "static-web-server",
        program: "static-web-server",
        version: "--version",
        config: String::new,
        tls_config: None,
        small_cache_config: None,
        arguments: SWS_ARGUMENTS,
        logging: None,
        variant: "",
        is_rival: false,
    },
];
