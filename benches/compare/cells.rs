//! The cells: what is requested, over how many connections, and the targets for abide.

use support::tls::KeyExchange;

/// The files that all servers serve: path and size in bytes.
pub const FILES: [(&str, usize); 5] = [
    ("/1k.html", 1 << 10),
    ("/10k.html", 10 << 10),
    ("/100k.bin", 100 << 10),
    ("/1m.bin", 1 << 20),
    ("/10m.bin", 10 << 20),
];

/// The number of pages of the large site, and of the pages in each of its directories.
pub const LARGE_SITE_PAGES: usize = 40_000;
pub const PAGES_PER_DIRECTORY: usize = 200;

/// The path of a page of the large site.
pub fn page_path(page: usize) -> String {
    let (directory, page) = (page / PAGES_PER_DIRECTORY, page % PAGES_PER_DIRECTORY);
    format!("{LARGE_SITE}/{directory:04}/{page:03}.html")
}

const LARGE_SITE: &str = "/pages";

/// The path of the first page.
const FIRST_PAGE: &str = "/pages/0000/000.html";

/// A directory, which is requested without its slash.
pub const DIRECTORY: &str = "/directory";

const SMALL: &str = FILES[0].0;
const MISSING: &str = "/missing.html";

/// How the servers are set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    Plain,
    /// With an access log.
    Logged,
    /// With a cache of 8 MB, if the server keeps the contents of files.
    SmallCache,
    Tls,
}

/// How the requests are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    /// Closed loop: the next request follows the answer.
    Closed,
    /// This number of requests at once on each connection, and the next ones after all answers.
    Pipelined(u32),
    /// Pages of the large site at random.
    RandomPages,
    /// Ranges of 1 MB at random.
    Ranges,
    /// Each client waits a second on average before its next request.
    Thinking,
    /// HEAD requests. Neither wrk nor h2load knows that their answers have no body.
    Head,
    /// Conditional requests, with the validators of an earlier answer.
    Conditional,
    /// A new connection for each request.
    Reconnecting,
    /// A new connection with a full handshake for each request.
    FullHandshake(KeyExchange),
    /// A new connection for each request, which resumes the session of an earlier one.
    ResumedHandshake,
    /// Open loop: the rate that keeps the cheapest of the servers busy for this part of a core.
    Paced(f64),
}

impl Load {
    /// Whether all requests are the same.
    pub fn is_uniform(self) -> bool {
        !matches!(self, Load::RandomPages | Load::Ranges)
    }

    /// Whether the clients are those of the bench itself.
    pub fn is_made_by_bench(self) -> bool {
        matches!(
            self,
            Load::Head | Load::FullHandshake(_) | Load::ResumedHandshake
        )
    }
}

/// Bounds on the ratio of abide's value to the best rival's, in the same run.
#[derive(Debug, Clone, Copy)]
pub struct Targets {
    /// CPU time per request, at most.
    pub cpu: Option<f64>,
    /// Requests per second, at least.
    pub rate: Option<f64>,
    /// Median latency, at most.
    pub p50: Option<f64>,
    /// Latency that 99 of 100 requests do not exceed, at most.
    pub p99: Option<f64>,
}

/// One kind of load, the same for all servers.
#[derive(Debug, Clone, Copy)]
pub struct Cell {
    /// The name for `--cell`.
    pub name: &'static str,
    pub title: &'static str,
    pub path: &'static str,
    pub connections: u32,
    pub load: Load,
    pub setup: Setup,
    /// The status that the servers must answer with; 301 stands for all permanent redirects.
    pub status: u16,
    pub targets: Targets,
}

impl Cell {
    /// The size of the requested file; 0 if the path is not a file.
    pub fn body_bytes(&self) -> usize {
        let file = FILES.iter().find(|(path, _)| *path == self.path);
        file.map_or(0, |(_, bytes)| *bytes)
    }
}

const fn cpu(cpu: f64) -> Targets {
    Targets {
        cpu: Some(cpu),
        rate: None,
        p50: None,
        p99: None,
    }
}

const SATURATED: Targets = Targets {
    rate: Some(1.2),
    p99: Some(1.1),
    ..cpu(0.75)
};

const LARGE: Targets = Targets {
    rate: Some(1.0),
    ..cpu(1.0)
};

const PACED: Targets = Targets {
    p99: Some(1.1),
    ..cpu(1.05)
};

const SMALL_OVER_TLS: Targets = cpu(0.9);

const OVER_TLS: Targets = cpu(1.0);

const NO_TARGETS: Targets = Targets {
    cpu: None,
    ..OVER_TLS
};

const ALONE: Targets = Targets {
    p50: Some(1.15),
    ..cpu(1.15)
};

const fn get(name: &'static str, title: &'static str, path: &'static str) -> Cell {
    Cell {
        name,
        title,
        path,
        connections: 32,
        load: Load::Closed,
        setup: Setup::Plain,
        status: 200,
        targets: cpu(0.75),
    }
}

/// A cell over TLS.
const fn tls(name: &'static str, title: &'static str, path: &'static str) -> Cell {
    Cell {
        setup: Setup::Tls,
        targets: OVER_TLS,
        ..get(name, title, path)
    }
}

pub const CELLS: [Cell; 27] = [
    Cell {
        targets: SATURATED,
        ..get("1k", "1 KB, 32 connections", SMALL)
    },
    Cell {
        connections: 256,
        targets: SATURATED,
        ..get("1k-256", "1 KB, 256 connections", SMALL)
    },
    Cell {
        targets: cpu(0.8),
        ..get("10k", "10 KB", FILES[1].0)
    },
    Cell {
        targets: LARGE,
        ..get("100k", "100 KB", FILES[2].0)
    },
    Cell {
        targets: LARGE,
        ..get("1m", "1 MB", FILES[3].0)
    },
    Cell {
        targets: LARGE,
        ..get("10m", "10 MB", FILES[4].0)
    },
    Cell {
        connections: 16,
        load: Load::Ranges,
        status: 206,
        targets: cpu(1.0),
        ..get("ranges", "1 MB ranges of 10 MB, 16 connections", FILES[4].0)
    },
    Cell {
        load: Load::RandomPages,
        setup: Setup::SmallCache,
        targets: cpu(1.0),
        ..get("large-site", "40,000 pages, cache of 8 MB", FIRST_PAGE)
    },
    Cell {
        load: Load::RandomPages,
        ..get("large-site-cached", "40,000 pages in the cache", FIRST_PAGE)
    },
    Cell {
        connections: 5_000,
        load: Load::Thinking,
        targets: cpu(0.65),
        ..get("thinking", "5,000 clients, a request a second each", SMALL)
    },
    Cell {
        load: Load::Conditional,
        status: 304,
        ..get("304", "304 Not Modified", SMALL)
    },
    Cell {
        status: 404,
        ..get("404", "404 Not Found", MISSING)
    },
    Cell {
        load: Load::Head,
        ..get("head", "HEAD", SMALL)
    },
    Cell {
        status: 301,
        ..get("redirect", "Redirect to the slash", DIRECTORY)
    },
    Cell {
        load: Load::Pipelined(16),
        targets: cpu(0.25),
        ..get("pipelined", "16 pipelined", SMALL)
    },
    Cell {
        load: Load::Reconnecting,
        targets: cpu(0.95),
        ..get("connect", "New connection each", SMALL)
    },
    Cell {
        load: Load::Paced(1.0 / 3.0),
        targets: PACED,
        ..get("third", "A third of a core's load", SMALL)
    },
    Cell {
        load: Load::Paced(2.0 / 3.0),
        targets: PACED,
        ..get("two-thirds", "Two thirds of a core's load", SMALL)
    },
    Cell {
        connections: 1,
        targets: ALONE,
        ..get("one", "One connection", SMALL)
    },
    Cell {
        setup: Setup::Logged,
        targets: cpu(0.8),
        ..get("log", "Access log on", SMALL)
    },
    Cell {
        targets: SMALL_OVER_TLS,
        ..tls("tls-1k", "TLS, 1 KB, 32 connections", SMALL)
    },
    Cell {
        connections: 256,
        targets: SMALL_OVER_TLS,
        ..tls("tls-1k-256", "TLS, 1 KB, 256 connections", SMALL)
    },
    tls("tls-100k", "TLS, 100 KB", FILES[2].0),
    tls("tls-10m", "TLS, 10 MB", FILES[4].0),
    Cell {
        load: Load::FullHandshake(KeyExchange::X25519),
        ..tls("tls-full", "TLS, full handshake each", SMALL)
    },
    Cell {
        load: Load::ResumedHandshake,
        ..tls("tls-resumed", "TLS, resumed session each", SMALL)
    },
    // The OpenSSL and the Go of most rivals have no ML-KEM, so they do less work here.
    Cell {
        load: Load::FullHandshake(KeyExchange::PostQuantum),
        targets: NO_TARGETS,
        ..tls("tls-pq", "TLS, full handshake, ML-KEM", SMALL)
    },
];

/// The name, for `--cell`, of the series of cells with 1 KB over 1 to 8,192 connections.
pub const SERIES: &str = "connections";

/// The numbers of connections of the series.
pub fn series(quick: bool) -> Vec<u32> {
    if quick {
        vec![1, 16, 256, 4096]
    } else {
        vec![1, 4, 16, 64, 256, 1024, 4096, 8192]
    }
}

/// The cell of the series with this number of connections.
pub fn of_series(connections: u32) -> Cell {
    Cell {
        connections,
        ..get(SERIES, "1 KB", SMALL)
    }
}
