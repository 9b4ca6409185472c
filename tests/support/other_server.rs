//! nginx and Apache, configured as much like abide as they can be: the same files are hidden, links out of
//! the root are refused, and the limits are about the same.

use std::net::SocketAddr;

use super::process::{Process, Recipe, open_to_all};
use super::{Client, Site, recipes};

const NGINX_HTTP: &str = "
    access_log off;
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
";

const APACHE: &str = "
LoadModule allowmethods_module /usr/lib/apache2/modules/mod_allowmethods.so
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
AddType text/html .html
AddType text/plain .txt
AddDefaultCharset utf-8
StartServers 1
ServerLimit 1
ThreadsPerChild 64
MaxRequestWorkers 64
KeepAliveTimeout 60
MaxKeepAliveRequests 1000
LimitRequestLine 1036
LimitRequestFieldSize 4066
LimitRequestFields 100
LimitRequestBody 4096
MaxRanges 16
TraceEnable off
RedirectMatch 404 /\\.(?!well-known)
";

const APACHE_DIRECTORY: &str = "
    Options None
    AllowOverride None
    AllowMethods GET HEAD OPTIONS
";

/// The media types that the site of the conformance cases needs.
const TWO_TYPES: &str = "types { text/html html; text/plain txt; }";

/// The media types of Debian's nginx, and the type of all other files.
const DEBIAN_TYPES: &str = "include /etc/nginx/mime.types; default_type application/octet-stream;";

/// A server other than abide. Drop ends all its processes.
pub struct OtherServer {
    pub name: &'static str,
    pub address: SocketAddr,
    /// The entity tag of `/index.html`, quotes included.
    pub etag: String,
    _process: Process,
}

impl OtherServer {
    pub fn nginx(site: &Site) -> OtherServer {
        OtherServer::nginx_with(TWO_TYPES, site)
    }

    /// nginx with the media types that Debian gives it.
    pub fn nginx_of_debian(site: &Site) -> OtherServer {
        OtherServer::nginx_with(DEBIAN_TYPES, site)
    }

    fn nginx_with(types: &str, site: &Site) -> OtherServer {
        let main = "user www-data; worker_processes 2;";
        let http = NGINX_HTTP.replace("{types}", types);
        let recipe = recipes::nginx(main, "worker_connections 512;", &http);
        OtherServer::start("nginx", recipe, site)
    }

    pub fn apache(site: &Site) -> OtherServer {
        let recipe = recipes::apache(APACHE, APACHE_DIRECTORY);
        OtherServer::start("apache", recipe, site)
    }

    fn start(name: &'static str, recipe: Recipe, site: &Site) -> OtherServer {
        // Its workers run as another user, who must be able to read the files.
        let root = site.root();
        open_to_all(root.parent().expect("a site is in a directory of its own"));
        let process = recipe.serving(&root).start();
        let mut client = Client::connect(process.address);
        client.send("GET /index.html HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = String::from_utf8(client.rest()).expect("an answer in ASCII");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{name}: {answer}");
        let etag = answer.lines().find_map(|line| line.strip_prefix("ETag: "));
        OtherServer {
            name,
            address: process.address,
            etag: etag.expect("an entity tag").to_owned(),
            _process: process,
        }
    }
}
