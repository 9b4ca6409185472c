//! The site and the server of all cases.

use std::fs::File;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use support::{Launch, Server, Site, pattern};

/// The modification time of `/index.html`: Mon, 01 Jan 2024 00:00:00 GMT.
pub const MODIFIED_UNIX_SECS: u64 = 1_704_067_200;

/// The T that the server advertises, in seconds.
pub const TIMEOUT_SECS: u32 = 60;

/// `keep_alive.max_requests`.
pub const MAX_REQUESTS: u32 = 1000;

/// Lowers the limits so that a case reaches them with few bytes, since byte by byte a long head is slow
/// to send. Settings that no case tests have their defaults.
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

/// A server and its site.
pub struct Served {
    pub address: SocketAddr,
    /// The entity tag of `/index.html`, with its quotes.
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

/// The files that the cases request.
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
    // Larger than cache.file_bytes, so it is sent with sendfile(2).
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
