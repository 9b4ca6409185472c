//! The real server, and connections to it from several addresses of the loopback network.

use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::idle_connections::{IdleConnections, PER_ADDRESS, Reaped};
use crate::{MAX_BYTES_EACH, MAX_BYTES_KEPT_EACH, MAX_CPU_PERCENT, process, report};
use support::beside::Compared;
use support::client::request;
use support::load::Load;
use support::{Launch, Server, Site, pattern, until};

/// Connections that send requests all the time.
const ACTIVE: usize = 64;

/// Descriptors of either process that are not idle connections: the server's own (listeners, files,
/// refusals) and the active connections with room to spare.
const RESERVED: u64 = 1_000;

/// More than these would take minutes to open and close.
const MAX_IDLE: u64 = 1_000_000;

/// Kernel memory for both ends of a connection in bytes, an upper bound.
const KERNEL_BYTES_EACH: u64 = 16 * 1024;

/// How often the throughput is measured, each time with and without idle connections.
const PAIRS: usize = 14;

const INTERVAL: Duration = Duration::from_millis(500);

/// The time after which the server has checked the acknowledgement of a connection, half of grace after its
/// answer. Then the connection is only idle.
const SETTLING: Duration = Duration::from_millis(2_500);

const OBSERVED: Duration = Duration::from_secs(6);

/// The shortest grace that leaves a second before and after the FIN.
const GRACE_SECS: u64 = 2;

/// Idle connections opened in a second, on a slow machine.
const OPENED_PER_SECOND: usize = 4_000;

/// T, long enough for everything that is measured while all are idle.
fn timeout_secs(idle: usize) -> u64 {
    // Preparing an interval takes time, and the machine may be busy.
    let loaded = INTERVAL * 3 * PAIRS as u32;
    let measuring = SETTLING + OBSERVED + loaded;
    measuring.as_secs() + (idle / OPENED_PER_SECOND) as u64
}

/// Two equal servers, of which one has the idle connections. The throughput with and without them is
/// measured in alternating intervals of half a second, so that other load on the machine affects both. The
/// CPU time of the idle connections affects both servers too, but it is little.
struct IdleBench {
    crowded: Server,
    empty: Server,
    idle: usize,
    request: Vec<u8>,
    answer_bytes: usize,
    _site: Site,
}

/// The result of one interval of load.
struct LoadInterval {
    requests_per_second: f64,
    p99_micros: f64,
    /// CPU time of the server per request.
    cpu_micros: f64,
}

/// Runs the part and prints its tables.
pub fn run() {
    let (idle, limit) = idle_connections();
    let bench = IdleBench::start(idle);
    report::head(&format!(
        "{idle} idle connections to the real server, T + grace = {} s",
        timeout_secs(idle) + GRACE_SECS
    ));
    let each = bench.measure();
    println!("\n{limit}");
    println!("{}", needs_of_a_million(&each));
}

/// The number of idle connections, and a sentence about what limits it.
fn idle_connections() -> (usize, String) {
    let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let raised = Rlimit {
        current: Some(hard),
        maximum: Some(hard),
    };
    setrlimit(Resource::Nofile, raised).expect("the soft limit can be as high as the hard one");
    // From 90 % of its connections on, the server closes idle ones.
    let by_descriptors = hard.saturating_sub(RESERVED) / 10 * 9;
    let by_memory = process::available_bytes() / 2 / KERNEL_BYTES_EACH;
    let idle = by_descriptors.min(by_memory).min(MAX_IDLE);
    let why = if idle == by_descriptors {
        format!(
            "The limit met: {hard} descriptors (the hard limit) in each of the two processes, less \
             {RESERVED} for their own use, and 90 % of that, beyond which the server sends idle \
             connections away."
        )
    } else if idle == by_memory {
        "The limit met: half of the memory that is free, at 16 KiB for both ends.".to_owned()
    } else {
        format!("The limit met: {MAX_IDLE} are enough.")
    };
    (usize::try_from(idle).expect("a count"), why)
}

fn needs_of_a_million(each: &BytesEach) -> String {
    let ports = process::client_ports();
    // The bytes of one connection are the megabytes of a million.
    let megabytes = each.user;
    let gib = |bytes: f64| bytes * 1e6 / f64::from(1 << 30);
    let (both, server) = (gib(each.kernel), gib(each.kernel / 2.0));
    format!(
        "A million needs: a hard limit of 1,112,000 descriptors for the server (a million is 90 % of \
         the rest after its own), so fs.nr_open (here {}) and fs.file-max (here {}) above that, and as \
         many for the clients; {megabytes:.0} MB of user space; {server:.1} GiB of the kernel's memory \
         for the server's ends, {both:.1} GiB with the clients on the same machine (here {:.1} GiB are \
         free); {} client addresses for one address and port of the server, as there are {ports} ports \
         for each pair: this bench takes 127.1.0.1 and so on, {PER_ADDRESS} from each, so ports are \
         never its limit.",
        process::kernel_limit("nr_open"),
        process::kernel_limit("file-max"),
        gib(process::available_bytes() as f64 / 1e6),
        1_000_000_u64.div_ceil(ports),
    )
}

/// Bytes of an idle connection.
struct BytesEach {
    /// Memory of the server process.
    user: f64,
    /// Kernel objects for both ends: sockets, files, timers.
    kernel: f64,
}

impl IdleBench {
    fn start(idle: usize) -> IdleBench {
        let site = Site::empty();
        site.write("1k.html", pattern(1024));
        let config = format!(
            "[keep_alive]\ntimeout = {}\ngrace = {GRACE_SECS}\nmax_requests = 2147483647\n",
            timeout_secs(idle)
        );
        let start = || Launch::of(site.root()).config(&config).start();
        let (crowded, empty) = (start(), start());
        let answer = crowded.connect().get("/1k.html");
        IdleBench {
            crowded,
            empty,
            idle,
            request: request("GET", "/1k.html", "").into_bytes(),
            answer_bytes: answer.head.len() + 4 + answer.body.len(),
            _site: site,
        }
    }

    /// Prints a line for each measurement; returns the memory of each connection.
    fn measure(&self) -> BytesEach {
        // The first load makes each server allocate memory that does not belong to idle connections.
        self.measure_interval(&self.empty);
        self.measure_interval(&self.crowded);
        let pid = self.crowded.pid();
        let before = process::private_bytes(pid);
        let slab_before = process::slab_bytes();
        let buffers_before = process::socket_buffer_bytes();
        let connections = IdleConnections::open(
            self.crowded.address(),
            self.idle,
            &self.request,
            self.answer_bytes,
        );
        thread::sleep(SETTLING);
        let user = self.each(before, process::private_bytes(pid));
        report::line(
            "user-space memory per idle connection",
            "<= 160 bytes",
            format!("{user:.0} bytes"),
            user <= MAX_BYTES_EACH,
        );
        let kernel = self.each(slab_before, process::slab_bytes());
        report::note(
            "kernel memory per connection, both ends",
            format!("{kernel:.0} bytes of objects"),
        );
        let buffers = self.each(buffers_before, process::socket_buffer_bytes());
        report::note(
            "kernel memory for data in transit",
            format!("{buffers:.0} bytes"),
        );
        self.observe();
        self.compare();
        self.expect_reaped(connections);
        until("all idle connections are closed", || {
            process::descriptors(pid) < self.idle.min(RESERVED as usize / 2)
        });
        // The event loop frees memory when it next advances the wheel.
        thread::sleep(SETTLING);
        let kept_each = self.each(before, process::private_bytes(pid));
        report::line(
            "memory not given back when all are gone, per connection",
            "<= 80 bytes",
            format!("{kept_each:.0} bytes, {user:.0} while they were idle"),
            kept_each <= MAX_BYTES_KEPT_EACH,
        );
        BytesEach { user, kernel }
    }

    /// The difference that each idle connection makes, in bytes.
    fn each(&self, before: u64, after: u64) -> f64 {
        (after as f64 - before as f64) / self.idle as f64
    }

    fn measure_interval(&self, server: &Server) -> LoadInterval {
        let load = Load {
            server: server.address(),
            connections: ACTIVE,
            request: self.request.clone(),
            answer_bytes: self.answer_bytes,
        };
        let before = process::cpu_time(server.pid());
        let measured = load.run(INTERVAL);
        let used = process::cpu_time(server.pid()).saturating_sub(before);
        LoadInterval {
            requests_per_second: measured.requests_per_second,
            p99_micros: measured.p99().into(),
            cpu_micros: used.as_secs_f64() * 1e6 / measured.answers as f64,
        }
    }

    /// Measures the server's CPU time while no client sends a request.
    fn observe(&self) {
        let before = process::cpu_time(self.crowded.pid());
        thread::sleep(OBSERVED);
        let used = process::cpu_time(self.crowded.pid()).saturating_sub(before);
        let percent = 100.0 * used.as_secs_f64() / OBSERVED.as_secs_f64();
        report::line(
            "CPU while all are idle",
            "< 1 % of a core",
            format!("{percent:.2} %"),
            percent < MAX_CPU_PERCENT,
        );
    }

    fn compare(&self) {
        let alone = || self.measure_interval(&self.empty);
        let beside = || self.measure_interval(&self.crowded);
        let compared = Compared::alternating(PAIRS, alone, beside);
        report::note(
            &format!("{ACTIVE} connections alone"),
            medians(&compared.alone),
        );
        report::note(
            "active connections beside the idle ones",
            medians(&compared.beside),
        );
        let ratio = compared.median_ratio(|interval| interval.requests_per_second);
        report::line(
            "ratio of the rates, median of the pairs",
            ">= 0.95",
            format!("{ratio:.3}"),
            ratio >= 0.95,
        );
        let ratio = compared.median_ratio(|interval| interval.cpu_micros);
        report::note("ratio of the CPU times per request", format!("{ratio:.3}"));
    }

    fn expect_reaped(&self, connections: IdleConnections) {
        let timeout = timeout_secs(self.idle) as f64;
        let most = timeout + GRACE_SECS as f64 + 1.0;
        let patience = Duration::from_secs_f64(most + 10.0);
        let Reaped {
            earliest_secs,
            latest_secs,
            left,
        } = connections.reaped(patience);
        report::line(
            "first FIN after the answer",
            &format!(">= {timeout:.0} s (T)"),
            format!("{earliest_secs:.2} s"),
            earliest_secs >= timeout,
        );
        let measured = match left {
            0 => format!("{latest_secs:.2} s"),
            left => format!("{latest_secs:.2} s, {left} never"),
        };
        report::line(
            "last FIN after the answer",
            &format!("<= {most:.0} s (T + grace + 1 s)"),
            measured,
            left == 0 && latest_secs <= most,
        );
    }
}

fn medians(intervals: &[LoadInterval]) -> String {
    let rate = median(
        intervals
            .iter()
            .map(|interval| interval.requests_per_second),
    );
    let p99 = median(intervals.iter().map(|interval| interval.p99_micros));
    let cpu = median(intervals.iter().map(|interval| interval.cpu_micros));
    format!("{rate:.0} requests/s, p99 {p99:.0} us, CPU {cpu:.1} us per request")
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
