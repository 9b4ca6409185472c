//! Configurations of the programs that tests and benches start. The settings with which a program runs as a
//! child, with all its files in one directory, are here; each user adds its own.

use std::path::PathBuf;

use rustix::process::Signal;

use super::process::Recipe;

fn recipe(
    program: &str,
    package: &'static str,
    arguments: &'static [&'static str],
    config: String,
) -> Recipe {
    Recipe {
        program: PathBuf::from(program),
        package,
        arguments,
        config,
        end_with: Signal::TERM,
    }
}

const NGINX: &str = "
{main}
daemon off;
pid {place}/nginx.pid;
error_log {place}/error.log;
events { {events} }
http {
    client_body_temp_path {place}/client_body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    {http}
}
";

/// Without `-e` nginx logs to its default place until it has read the configuration.
pub const NGINX_ARGUMENTS: &[&str] =
    &["-p", "{place}", "-c", "{config}", "-e", "{place}/error.log"];

/// nginx's configuration with `main` at its top and these contents of its blocks `events` and `http`.
pub fn nginx_config(main: &str, events: &str, http: &str) -> String {
    NGINX
        .replace("{main}", main)
        .replace("{events}", events)
        .replace("{http}", http)
}

/// nginx with the configuration of [`nginx_config`].
pub fn nginx(main: &str, events: &str, http: &str) -> Recipe {
    let config = nginx_config(main, events, http);
    recipe("nginx", "nginx-light", NGINX_ARGUMENTS, config)
}

/// Settings of nginx's block `server` for TLS. Its `listen` needs the parameter `ssl` as well.
pub const NGINX_TLS: &str = "
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.2 TLSv1.3;
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
KeepAlive On
DocumentRoot {root}
{settings}
<Directory {root}>
    {directory}
    Require all granted
</Directory>
";

pub const APACHE_ARGUMENTS: &[&str] = &["-d", "{place}", "-f", "{config}", "-DFOREGROUND"];

/// Apache's configuration with these settings of the server and of the directory that it serves.
pub fn apache_config(settings: &str, directory: &str) -> String {
    APACHE
        .replace("{settings}", settings)
        .replace("{directory}", directory)
}

/// Apache with the configuration of [`apache_config`].
pub fn apache(settings: &str, directory: &str) -> Recipe {
    let config = apache_config(settings, directory);
    recipe("apache2", "apache2", APACHE_ARGUMENTS, config)
}

/// Settings of Apache with which it speaks TLS on its address.
pub const APACHE_TLS: &str = "
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
SSLEngine On
SSLCertificateFile {certificate}
SSLCertificateKeyFile {key}
SSLProtocol TLSv1.2 TLSv1.3
";

const LIGHTTPD: &str = r#"
server.document-root = "{root}"
server.bind = "127.0.0.1"
server.port = {port}
server.errorlog = "{place}/error.log"
server.pid-file = "{place}/lighttpd.pid"
{settings}
"#;

pub const LIGHTTPD_ARGUMENTS: &[&str] = &["-D", "-f", "{config}"];

/// lighttpd's configuration with these settings.
pub fn lighttpd_config(settings: &str) -> String {
    LIGHTTPD.replace("{settings}", settings)
}

/// lighttpd with these settings.
pub fn lighttpd(settings: &str) -> Recipe {
    let config = lighttpd_config(settings);
    recipe("lighttpd", "lighttpd", LIGHTTPD_ARGUMENTS, config)
}

/// Settings of lighttpd with which it speaks TLS on its address.
pub const LIGHTTPD_TLS: &str = r#"
server.modules += ("mod_openssl")
ssl.engine = "enable"
ssl.pemfile = "{certificate}"
ssl.privkey = "{key}"
"#;

const H2O: &str = r#"
error-log: {place}/error.log
http1-upgrade-to-http2: OFF
listen: { host: 127.0.0.1, port: {port}{listen} }
{settings}
hosts:
  default:
    paths:
      "/": { file.dir: "{root}" }
"#;

const H2O_TLS: &str =
    r#", ssl: { certificate-file: "{certificate}", key-file: "{key}", minimum-version: TLSv1.2 }"#;

/// The process that serves is the child itself.
pub const H2O_ARGUMENTS: &[&str] = &["-m", "worker", "-c", "{config}"];

/// h2o's configuration with these settings.
pub fn h2o_config(settings: &str) -> String {
    let config = H2O.replace("{settings}", settings);
    config.replace("{listen}", "")
}

/// h2o's configuration with these settings, for TLS.
pub fn h2o_tls_config(settings: &str) -> String {
    let config = H2O.replace("{settings}", settings);
    config.replace("{listen}", H2O_TLS)
}

/// h2o with these settings, for TLS.
pub fn h2o_tls(settings: &str) -> Recipe {
    recipe("h2o", "h2o", H2O_ARGUMENTS, h2o_tls_config(settings))
}

const HAPROXY: &str = "
global
    nbthread 2
    maxconn 1000
    {global}
defaults
    mode http
    timeout connect 5s
    timeout client 75s
    timeout http-request 75s
    timeout http-keep-alive 75s
    timeout server 20s
    {defaults}
frontend front
    bind {address}
    default_backend abide
backend abide
    http-reuse always
    {backend}
";

/// HAProxy in front of abide, with persistent connections on both sides, and these additions to its
/// sections `global`, `defaults` and `backend`.
pub fn haproxy(global: &str, defaults: &str, backend: &str) -> Recipe {
    let config = HAPROXY
        .replace("{global}", global)
        .replace("{defaults}", defaults)
        .replace("{backend}", backend);
    recipe("haproxy", "haproxy", &["-db", "-f", "{config}"], config)
}

const VARNISH: &str = "
vcl 4.1;
backend abide {
    .host = \"{ip}\";
    .port = \"{next_port}\";
}
sub vcl_recv {
    return (pass);
}
";

const VARNISH_ARGUMENTS: &[&str] = &[
    "-F",
    "-n",
    "{place}/varnish",
    "-a",
    "{address}",
    "-f",
    "{config}",
    "-s",
    "default,16m",
    "-p",
    "backend_idle_timeout=2",
    "-p",
    "timeout_idle=75",
    "-p",
    "thread_pools=1",
    "-p",
    "thread_pool_min=150",
];

/// Varnish in front of abide: it caches nothing, and keeps an idle connection to abide for 2 s.
pub fn varnish(ip: &str, port: u16) -> Recipe {
    let config = VARNISH
        .replace("{ip}", ip)
        .replace("{next_port}", &port.to_string());
    recipe("varnishd", "varnish", VARNISH_ARGUMENTS, config)
}

const ABIDE: &str = r#"
root = "{root}"
listen = ["{address}"]
{settings}
"#;

const ABIDE_TLS: &str = r#"
root = "{root}"
listen = ["https://{address}"]
certificate = "{certificate}"
key = "{key}"
{settings}
"#;

/// abide's configuration, for tests that start several programs.
pub fn abide_config(settings: &str) -> String {
    ABIDE.replace("{settings}", settings)
}

/// abide's configuration with these settings, for TLS.
pub fn abide_tls_config(settings: &str) -> String {
    ABIDE_TLS.replace("{settings}", settings)
}

/// abide, for tests that start several programs.
pub fn abide(settings: &str) -> Recipe {
    abide_of(abide_config(settings))
}

/// abide over TLS, for tests that start several programs.
pub fn abide_tls(settings: &str) -> Recipe {
    abide_of(abide_tls_config(settings))
}

fn abide_of(config: String) -> Recipe {
    Recipe {
        program: super::server::program(),
        end_with: Signal::INT,
        ..recipe("", "none: it is built", &["-c", "{config}"], config)
    }
}
