//! The configurations of the servers: each the fastest for a few static files by its documentation, without
//! a limit on requests per connection.
//!
//! In the texts, `{place}` is a folder of the server, `{root}` the directory of the files, `{port}` the port,
//! `{cpus}` the number of CPUs, `{config}` the path of the configuration; `{log}` and `{variant}` come from
//! [`Kind`].

/// A server that the bench knows how to start.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    pub program: &'static str,
    /// The argument that prints the version.
    pub version: &'static str,
    pub config: &'static str,
    pub arguments: &'static [&'static str],
    /// The texts for `{log}`: without an access log, and with one in the common or combined format, buffered
    /// if possible. `None` if no cell with a log is measured.
    pub logging: Option<[&'static str; 2]>,
    /// The text for `{variant}`.
    pub variant: &'static str,
    /// Whether the targets compare abide with this server.
    pub is_rival: bool,
}

const ABIDE: &str = r#"
root = "{root}"
listen = ["127.0.0.1:{port}"]
[keep_alive]
max_requests = 2147483647
"#;

const NGINX: &str = "
user nobody nogroup;
daemon off;
worker_processes auto;
worker_rlimit_nofile 20000;
pid {place}/nginx.pid;
error_log {place}/error.log crit;
events { worker_connections 16384; multi_accept on; }
http {
    client_body_temp_path {place}/client_body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    types { text/html html; }
    keepalive_timeout 120s 120s;
    keepalive_requests 2147483647;
    {log}
    {variant}
    server {
        listen 127.0.0.1:{port} backlog=16384 reuseport;
        root {root};
    }
}
";

const NGINX_ARGUMENTS: &[&str] = &["-p", "{place}", "-c", "{config}", "-e", "{place}/error.log"];

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
server.document-root = "{root}"
server.bind = "127.0.0.1"
server.port = {port}
server.errorlog = "{place}/error.log"
server.pid-file = "{place}/lighttpd.pid"
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

const H2O: &str = r#"
user: nobody
error-log: {place}/error.log
num-threads: {cpus}
max-connections: 16384
http1-request-timeout: 120
http1-upgrade-to-http2: OFF
listen: { host: 127.0.0.1, port: {port} }
{log}
hosts:
  default:
    paths:
      "/": { file.dir: "{root}" }
"#;

const APACHE: &str = "
Listen 127.0.0.1:{port}
ServerName localhost
User nobody
Group nogroup
PidFile {place}/apache.pid
DefaultRuntimeDir {place}
Mutex file:{place} default
ErrorLog {place}/error.log
LogLevel crit
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule mime_module /usr/lib/apache2/modules/mod_mime.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
TypesConfig /dev/null
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
KeepAlive On
KeepAliveTimeout 120
MaxKeepAliveRequests 0
DocumentRoot {root}
<Directory {root}>
    AllowOverride None
    Options FollowSymLinks
    Require all granted
</Directory>
{log}
";

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
http://127.0.0.1:{port} {
    bind 127.0.0.1
    root * {root}
    file_server
}
";

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

const fn nginx(name: &'static str, variant: &'static str) -> Kind {
    Kind {
        name,
        program: "nginx",
        version: "-v",
        config: NGINX,
        arguments: NGINX_ARGUMENTS,
        logging: Some(NGINX_LOGGING),
        variant,
        is_rival: true,
    }
}

/// The servers in the order of the tables.
pub const KINDS: [Kind; 9] = [
    Kind {
        name: ABIDE_NAME,
        program: env!("CARGO_BIN_EXE_abide"),
        version: "--version",
        config: ABIDE,
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
        config: LIGHTTPD,
        arguments: &["-D", "-f", "{config}"],
        logging: Some(LIGHTTPD_LOGGING),
        variant: "",
        is_rival: true,
    },
    Kind {
        name: "h2o",
        program: "h2o",
        version: "-v",
        config: H2O,
        arguments: &["-m", "worker", "-c", "{config}"],
        logging: Some(["", "access-log: {place}/access.log"]),
        variant: "",
        is_rival: true,
    },
    Kind {
        name: "Apache",
        program: "apache2",
        version: "-v",
        config: APACHE,
        arguments: &["-d", "{place}", "-f", "{config}", "-DFOREGROUND"],
        logging: Some(APACHE_LOGGING),
        variant: "",
        is_rival: false,
    },
    Kind {
        name: "Caddy",
        program: "caddy",
        version: "version",
        config: CADDY,
        arguments: &["run", "--adapter", "caddyfile", "--config", "{config}"],
        logging: None,
        variant: "",
        is_rival: false,
    },
    Kind {
        name: "static-web-server",
        program: "static-web-server",
        version: "--version",
        config: "",
        arguments: SWS_ARGUMENTS,
        logging: None,
        variant: "",
        is_rival: false,
    },
];
