//! The clients: wrk, h2load, and those of the bench for HEAD and for handshakes. Each runs for a given time
//! and returns its result.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use support::tls::{self, Certificate, KeyExchange};

use super::cells::{Cell, LARGE_SITE_PAGES, Load, PAGES_PER_DIRECTORY, Setup};
use super::handshake_client::{HandshakeClient, Tickets};
use super::head_client;
use super::servers::search_path;

/// The percentiles of latency in a result.
pub const PERCENTILES: [f64; 6] = [50.0, 75.0, 90.0, 99.0, 99.9, 99.99];

pub const MEDIAN: usize = 0;
pub const P99: usize = 3;

const TIMEOUT: Duration = Duration::from_secs(5);

/// The result of a client.
#[derive(Debug, Clone, Default)]
pub struct LoadResult {
    pub requests: u64,
    pub secs: f64,
    /// The latencies at [`PERCENTILES`].
    pub latency_micros: [f64; PERCENTILES.len()],
    /// Answers with a wrong status, and failed connections.
    pub wrong: u64,
}

impl LoadResult {
    /// A result from the latency of each request, in any order.
    pub fn of(mut micros: Vec<u32>, secs: f64, wrong: u64) -> LoadResult {
        micros.sort_unstable();
        let at = |percentile: f64| {
            let rank = (micros.len() as f64 * percentile / 100.0).ceil() as usize;
            micros.get(rank.saturating_sub(1)).copied().unwrap_or(0)
        };
        LoadResult {
            requests: micros.len() as u64,
            secs,
            latency_micros: PERCENTILES.map(|percentile| f64::from(at(percentile))),
            wrong,
        }
    }
}

/// A wrk script that prints the result in one line.
const WRK_DONE: &str = "
function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format('seen %d %d %d %d', summary.requests, summary.duration, e.status,
        e.connect + e.read + e.write + e.timeout))
    for _, percentile in ipairs({50, 75, 90, 99, 99.9, 99.99}) do
        io.write(' ', latency:percentile(percentile))
    end
    io.write('\\n')
end
";

/// A wrk script that sends DEPTH requests at once.
const WRK_PIPELINE: &str = "
local piece
function init(arguments)
    local requests = {}
    for i = 1, DEPTH do requests[i] = wrk.format() end
    piece = table.concat(requests)
end
function request() return piece end
";

/// A wrk script that asks for pages at random.
const WRK_RANDOM_PAGES: &str = "
local threads = 0
function setup(thread)
    threads = threads + 1
    thread:set('seed', threads)
end
function init(arguments) math.randomseed(seed) end
function request()
    local page = math.random(0, PAGES - 1)
    local path = string.format('/pages/%04d/%03d.html', math.floor(page / PER_DIRECTORY), page % PER_DIRECTORY)
    return 'GET ' .. path .. ' HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n'
end
";

/// A wrk script that asks for ranges at random.
const WRK_RANGES: &str = "
function request()
    local first = math.random(0, BYTES / LENGTH - 1) * LENGTH
    wrk.headers['Range'] = 'bytes=' .. first .. '-' .. first + LENGTH - 1
    return wrk.format()
end
";

/// A wrk script that waits half a second to one and a half seconds before each request.
const WRK_THINKING: &str = "
function delay() return math.random(500, 1500) end
";

/// The length of a range in bytes.
const RANGE_BYTES: usize = 1 << 20;

/// The directory for scripts and logs, and the parameters of the clients.
pub struct Clients<'a> {
    pub place: &'a Path,
    /// The certificate that all servers present over TLS.
    pub certificate: &'a Certificate,
    pub tickets: Arc<Tickets>,
    pub secs: u32,
    /// Requests per second that keep the cheapest server's core busy.
    pub core_rate: f64,
}

impl Clients<'_> {
    /// Runs the load of a cell against a server.
    pub fn run(&self, cell: &Cell, address: SocketAddr) -> io::Result<LoadResult> {
        let time = Duration::from_secs(self.secs.into());
        match cell.load {
            Load::Head => head_client::run(cell, address, time),
            Load::FullHandshake(key_exchange) => {
                let config = self.certificate.client(key_exchange);
                Ok(HandshakeClient::full(cell, address, config).run(time))
            }
            Load::ResumedHandshake => {
                Ok(HandshakeClient::resuming(&self.tickets, cell, address).run(time))
            }
            Load::Paced(part) => self.h2load(cell, address, self.core_rate * part),
            _ => self.wrk(cell, address),
        }
    }

    /// Requests per second that the client of a paced cell intends to send.
    pub fn asked(&self, cell: &Cell) -> Option<f64> {
        match cell.load {
            Load::Paced(part) => Some(self.core_rate * part),
            _ => None,
        }
    }

    fn wrk(&self, cell: &Cell, address: SocketAddr) -> io::Result<LoadResult> {
        let mut script = WRK_DONE.to_owned();
        script += &match cell.load {
            Load::Pipelined(depth) => WRK_PIPELINE.replace("DEPTH", &depth.to_string()),
            Load::RandomPages => WRK_RANDOM_PAGES
                .replace("PAGES", &LARGE_SITE_PAGES.to_string())
                .replace("PER_DIRECTORY", &PAGES_PER_DIRECTORY.to_string()),
            Load::Ranges => WRK_RANGES
                .replace("BYTES", &cell.body_bytes().to_string())
                .replace("LENGTH", &RANGE_BYTES.to_string()),
            Load::Thinking => WRK_THINKING.to_owned(),
            _ => String::new(),
        };
        let path = self.place.join("wrk.lua");
        fs::write(&path, script)?;
        let mut command = Command::new("wrk");
        for header in self.headers(cell, address)? {
            command.arg("-H").arg(header);
        }
        let threads = cell.connections.min(num_cpus::get() as u32);
        command
            .arg(format!("-t{threads}"))
            .arg(format!("-c{}", cell.connections))
            .arg(format!("-d{}", self.secs))
            .arg("-s")
            .arg(path)
            .arg(format!("{}://{address}{}", scheme(cell), cell.path));
        let said = output(command)?;
        let line = said.lines().find_map(|line| line.strip_prefix("seen "));
        let numbers = line.map(|line| line.split(' ').map_while(|word| word.parse().ok()));
        let numbers: Vec<f64> = numbers.into_iter().flatten().collect();
        let [requests, micros, statuses, errors, latency @ ..] = numbers.as_slice() else {
            return Err(io::Error::other(format!("wrk says: {said}")));
        };
        let mut seen = LoadResult {
            requests: *requests as u64,
            secs: micros / 1e6,
            // wrk counts all statuses from 400 on as errors.
            wrong: (errors + if cell.status < 400 { *statuses } else { 0.0 }) as u64,
            ..LoadResult::default()
        };
        for (kept, micros) in seen.latency_micros.iter_mut().zip(latency) {
            *kept = *micros;
        }
        Ok(seen)
    }

    fn h2load(&self, cell: &Cell, address: SocketAddr, rate: f64) -> io::Result<LoadResult> {
        let log = self.place.join("h2load.log");
        let mut command = Command::new("h2load");
        command
            .args(["--h1", "-t1"])
            .arg(format!("-c{}", cell.connections))
            .arg(format!("-D{}", self.secs))
            .arg(format!("--rps={:.3}", rate / f64::from(cell.connections)))
            .arg(format!("--log-file={}", log.display()))
            .arg(format!("http://{address}{}", cell.path));
        output(command)?;
        let text = fs::read_to_string(&log)?;
        fs::remove_file(&log)?;
        let mut micros = Vec::new();
        let mut wrong = 0;
        for line in text.lines() {
            let mut columns = line.split('\t').skip(1);
            let is_right = columns.next() == Some("200");
            match columns.next().and_then(|column| column.parse().ok()) {
                Some(latency) if is_right => micros.push(latency),
                _ => wrong += 1,
            }
        }
        Ok(LoadResult::of(micros, f64::from(self.secs), wrong))
    }

    /// Prepares the load: checks the status of an answer, and collects tickets for sessions that are resumed.
    pub fn prepare(&self, cell: &Cell, address: SocketAddr) -> io::Result<()> {
        self.check(cell, address)?;
        if cell.load == Load::ResumedHandshake {
            let client = HandshakeClient::collecting(&self.tickets, cell, address);
            client.run(Duration::from_secs(self.secs.into()));
        }
        Ok(())
    }

    /// Sends one request of the load, and checks the status.
    fn check(&self, cell: &Cell, address: SocketAddr) -> io::Result<()> {
        let method = if cell.load == Load::Head {
            "HEAD"
        } else {
            "GET"
        };
        let head = self.head_of_answer(method, cell, &self.headers(cell, address)?, address)?;
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let is_right = match cell.status {
            301 => matches!(status, Some(301 | 308)),
            other => status == Some(other),
        };
        if is_right {
            return Ok(());
        }
        let line = head.lines().next().unwrap_or("nothing");
        Err(io::Error::other(format!("it answers {line}")))
    }

    /// The header fields that the load adds to those of the client.
    fn headers(&self, cell: &Cell, address: SocketAddr) -> io::Result<Vec<String>> {
        Ok(match cell.load {
            Load::Reconnecting => vec!["Connection: close".to_owned()],
            Load::Ranges => vec![format!("Range: bytes=0-{}", RANGE_BYTES - 1)],
            // Like a browser, send all validators of the earlier answer.
            Load::Conditional => {
                let head = self.head_of_answer("GET", cell, &[], address)?;
                let value = |name: &str| {
                    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
                    let field = fields.find(|field| field.0.eq_ignore_ascii_case(name))?;
                    Some(field.1.trim().to_owned())
                };
                let validators = [
                    ("If-None-Match", "ETag"),
                    ("If-Modified-Since", "Last-Modified"),
                ];
                let lines =
                    validators.map(|(asks, says)| Some(format!("{asks}: {}", value(says)?)));
                lines.into_iter().flatten().collect()
            }
            _ => Vec::new(),
        })
    }

    fn head_of_answer(
        &self,
        method: &str,
        cell: &Cell,
        headers: &[String],
        address: SocketAddr,
    ) -> io::Result<String> {
        let path = cell.path;
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n");
        for header in headers {
            request += &format!("{header}\r\n");
        }
        if !request.contains("Connection:") {
            request += "Connection: close\r\n";
        }
        request += "\r\n";
        let mut answer = Vec::new();
        if cell.setup == Setup::Tls {
            let config = Arc::new(self.certificate.client(KeyExchange::X25519));
            let mut stream = tls::connect(address, &config)?;
            stream.write_all(request.as_bytes())?;
            answer = tls::read_answer(&mut stream)?;
        } else {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.write_all(request.as_bytes())?;
            stream.read_to_end(&mut answer)?;
        }
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        answer.truncate(end.unwrap_or(answer.len()));
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

fn scheme(cell: &Cell) -> &'static str {
    match cell.setup {
        Setup::Tls => "https",
        Setup::Plain | Setup::Logged | Setup::SmallCache => "http",
    }
}

fn output(mut command: Command) -> io::Result<String> {
    let output = command
        .env("PATH", search_path())
        .stdin(Stdio::null())
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
