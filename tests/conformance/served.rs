//! The site that all cases ask, and the server that serves it.

use std::fs::File;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use support::{Launch, Server, Site, pattern};

/// When `/index.html` was changed: Mon, 01 Jan 2024 00:00:00 GMT.
pub const MODIFIED_UNIX_SECS: u64 = 1_704_067_200;

/// The T that the server advertises, in seconds.
pub const TIMEOUT_SECS: u32 = 60;

/// Requests on one connection.
pub const MAX_REQUESTS: u32 = 1000;

/// Limits that a case can reach with few bytes: sent one by one, a long head is slow to read.
/// What no case is about is as by default.
const CONFIG: &str = "
[keep_alive]
timeout = 60
grace = 10
max_requests = 1000

[limits]
target_bytes = 1024
head_bytes = 4096
headers = 100
body_bytes = 4096

[[redirect]]
from = '/gone'
status = 410

[[redirect]]
from = '/withheld'
status = 451

[[redirect]]
from = '/302'
to = '/digits.txt'
status = 302

[[redirect]]
from = '/303'
to = '/digits.txt'
status = 303

[[redirect]]
from = '/307'
to = '/digits.txt'
status = 307

[[redirect]]
from = '/308'
to = '/digits.txt'
status = 308
";

/// A server, its site, and what is known of it.
pub struct Served {
    pub address: SocketAddr,
    /// Of `/index.html`, quotes included.
    pub etag: String,
    _server: Server,
    _site: Site,
}

impl Served {
    pub fn start() -> Served {
        let site = site();
        let server = Launch::of(site.root()).config(CONFIG).start();
        let index = server.connect().get("/index.html");
        Served {
            address: server.address(),
            etag: index.field("etag").expect("ETag").to_owned(),
            _server: server,
            _site: site,
        }
    }
}

/// The files that the cases know.
pub fn site() -> Site {
    let site = Site::empty();
    site.write("index.html", "index\n");
    let index = File::open(site.path("index.html")).expect("the file just written");
    let modified = UNIX_EPOCH + Duration::from_secs(MODIFIED_UNIX_SECS);
    index.set_modified(modified).expect("utimes");
    site.write("digits.txt", "0123456789".repeat(10));
    site.write("empty.txt", "");
    site.write("dir/index.html", "index of dir\n");
    site.write("with space.txt", "with space\n");
    site.write("a/b/c.txt", "c\n");
    site.write(".hidden", "hidden\n");
    site.write(".well-known/x.txt", "well-known\n");
    site.write("umlaut-\u{e4}.txt", "umlaut\n");
    // Above cache.file_bytes: sent with sendfile.
    site.write("large.bin", pattern(300 * 1024));
    site.link("/etc/hostname", "outside.txt");
    site.link("../beside.txt", "climbing.txt");
    std::fs::write(site.beside("beside.txt"), "beside\n").expect("a file beside the root");
    site.link("digits.txt", "alias.txt");
    site.fifo("pipe");
    site.write("future.txt", "future\n");
    let future = File::open(site.path("future.txt")).expect("the file just written");
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    future.set_modified(tomorrow).expect("utimes");
    site.write("bare/page.txt", "no index here\n");
    site.write("100%.txt", "percent\n");
    site.write("a+b.txt", "plus\n");
    site
}
