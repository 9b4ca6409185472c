//! A trial: one client, one server, pauses, and the number of requests lost on either side.
//!
//! A trial has lanes. A lane is one connection of the client: it requests a small page, reads the answer,
//! pauses, and repeats this. Lane `l` pauses before its request `k` (the first is 0) for
//! `gaps[(l + k) % n]` milliseconds, so that pauses of all lengths occur at any time. Lane `l` begins
//! `STAGGER_MILLIS * l` after the first.
//!
//! A client program gets these arguments and runs the lanes:
//!
//! ```text
//! URLS LANES REQUESTS GAPS BODY
//! URLS      a list with commas; lane l uses URLS[l % n]
//! LANES     the number of lanes
//! REQUESTS  the number of requests of each lane
//! GAPS      milliseconds, a list with commas
//! BODY      the expected body of each answer; the expected status is 200
//! ```
//!
//! A request is lost if the application gets an error instead of the answer. A program retries nothing
//! itself; only the client library may, with its defaults. The program prints lines of these kinds, the
//! last one at its end. `late` is the longest delay after a pause, before the request is made. A program
//! need not measure it: a thread of the test watches for stalls of the whole machine too.
//!
//! ```text
//! version=TEXT
//! error=COUNT TEXT
//! late=MILLIS
//! answered=COUNT lost=COUNT
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::counters::{closes, counter};
use support::stall::{RUNS, trace, watched};
use support::{Authority, Launch, Server, Share, Site};

/// `keep_alive.timeout`, the T that the server advertises.
pub const T_SECS: u64 = 3;

/// `keep_alive.grace`, long because the machine may be busy.
pub const GRACE_SECS: u64 = 2;

/// The default number of lanes.
pub const LANES: usize = 250;

/// The time between the starts of two lanes.
pub const STAGGER_MILLIS: u64 = 4;

/// The smallest meaningful number of requests of a trial.
pub const FEWEST_REQUESTS: u64 = 1000;

/// The time that a client may take beyond its pauses on a busy machine.
const SLACK: Duration = Duration::from_secs(60);

/// A client that is later than this may send after T + grace, though its pauses are below T. The other half
/// of grace is for a limit of the client's own that counts whole seconds.
const MAX_LATE: Duration = Duration::from_millis(GRACE_SECS * 1000 / 2);

/// The variables that name a file of trusted certificates: for OpenSSL, Go and some programs of these trials,
/// for requests, curl and LWP.
const TRUST_VARIABLES: [&str; 4] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PERL_LWP_SSL_CA_FILE",
];

/// The requested page.
const BODY: &str = "the whole body";

/// A client and its load: [`LANES`] lanes of 5 requests each by default.
pub struct Trial {
    client: String,
    timeout_secs: u64,
    keep_alive: String,
    gaps_millis: Vec<u64>,
    lanes: usize,
    requests: usize,
    listeners: usize,
    is_over_tls: bool,
}

/// The parameters for a client.
pub struct Load {
    /// One URL, or one for each lane ([`Trial::an_origin_each`]).
    pub urls: Vec<String>,
    pub lanes: usize,
    /// The number of requests of each lane.
    pub requests: usize,
    pub gaps_millis: Vec<u64>,
    /// The expected body of each answer.
    pub body: &'static str,
    /// The certificate of the authority that the client must trust, if the URLs begin with https.
    pub authority: Option<PathBuf>,
}

/// The result that a client reports at its end.
#[derive(Debug, Default)]
pub struct Outcome {
    pub version: String,
    pub answered: u64,
    pub lost: u64,
    /// The longest delay after a pause, until the request is made.
    pub late: Duration,
    /// The texts of errors, with their numbers.
    pub errors: BTreeMap<String, u64>,
}

/// A finished trial. It displays as one line.
pub struct Report {
    pub client: String,
    pub outcome: Outcome,
    /// The number of requests that the server answered.
    pub requests: u64,
    /// The number of connections that the server accepted.
    pub connections: u64,
    /// The number of requests after the server's close, which the client has lost or repeated.
    pub races: u64,
    /// The number of connections that the server closed for their age.
    pub idle_closes: u64,
}

impl Trial {
    /// A trial of `client`, its name in the report.
    pub fn of(client: &str) -> Trial {
        Trial {
            client: client.to_owned(),
            timeout_secs: T_SECS,
            keep_alive: String::new(),
            gaps_millis: vec![T_SECS * 1000],
            lanes: LANES,
            requests: 5,
            listeners: 1,
            is_over_tls: false,
        }
    }

    /// Sets the pauses, in milliseconds.
    pub fn gaps(mut self, gaps_millis: &[u64]) -> Trial {
        self.gaps_millis = gaps_millis.to_vec();
        self
    }

    /// Sets the number of lanes, and the number of requests of each.
    pub fn lanes(mut self, lanes: usize, requests: usize) -> Trial {
        (self.lanes, self.requests) = (lanes, requests);
        self
    }

    /// Gives each lane a URL with its own port. This is for clients that keep one pool of connections per
    /// process, where a lane could use the connection of another.
    pub fn an_origin_each(mut self) -> Trial {
        self.listeners = self.lanes;
        self
    }

    /// Has the server listen with TLS, with a certificate of a private authority.
    pub fn over_tls(mut self) -> Trial {
        self.is_over_tls = true;
        self.client.push_str(" over TLS");
        self
    }

    /// Sets the T that the server advertises.
    pub fn timeout_secs(mut self, timeout_secs: u64) -> Trial {
        self.timeout_secs = timeout_secs;
        self
    }

    /// Adds a line to the section `[keep_alive]` of the configuration.
    pub fn keep_alive(mut self, line: &str) -> Trial {
        self.keep_alive.push_str(line);
        self.keep_alive.push('\n');
        self
    }

    /// Tries a program. The arguments in the module's documentation are added to `program`.
    pub fn run(self, program: Command) -> Report {
        self.run_with(|load| {
            let gaps: Vec<String> = load.gaps_millis.iter().map(u64::to_string).collect();
            let envs = program
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?)));
            // Each run of the trial has another server, so other arguments.
            let mut run = Command::new(program.get_program());
            run.args(program.get_args()).envs(envs);
            // A proxy that the environment names must not be used.
            run.env("NO_PROXY", "*").env("no_proxy", "*");
            if let Some(authority) = &load.authority {
                run.envs(TRUST_VARIABLES.map(|name| (name, authority)));
            }
            run.arg(load.urls.join(","));
            run.args([load.lanes, load.requests].map(|count| count.to_string()));
            run.args([&gaps.join(","), load.body]);
            Outcome::parse(&Program::start(&mut run).output(load.limit()))
        })
    }

    /// Tries a client inside the test. A trial whose client is late shows nothing about the server, whatever
    /// its result, and is run again.
    pub fn run_with(self, client: impl Fn(&Load) -> Outcome) -> Report {
        // Handshakes of many connections at once keep both the client and the server busy.
        let _share = Share::of(if self.is_over_tls { 3 } else { 2 });
        for _ in 1..RUNS {
            let report = self.run_once(&client);
            if report.outcome.late < MAX_LATE {
                return report;
            }
            trace(&format!("once more, the client was late: {report}"));
        }
        self.run_once(&client)
    }

    fn run_once(&self, client: impl Fn(&Load) -> Outcome) -> Report {
        let site = Site::empty();
        site.write("page.txt", BODY);
        let authority = self.is_over_tls.then(Authority::new);
        let server = self.start(&site, authority.as_ref());
        let url = |listening: String| format!("{}/page.txt", listening.trim_end_matches('/'));
        let load = Load {
            urls: server.listening().into_iter().map(url).collect(),
            lanes: self.lanes,
            requests: self.requests,
            gaps_millis: self.gaps_millis.clone(),
            body: BODY,
            authority: authority.as_ref().map(Authority::root),
        };
        let (mut outcome, stall) = watched(|| client(&load));
        outcome.late = outcome.late.max(stall);
        let report = Report {
            client: self.client.clone(),
            outcome,
            requests: counter(&server, "requests_total"),
            connections: counter(&server, "connections_accepted_total"),
            races: counter(&server, "keep_alive_race_total"),
            idle_closes: closes(&server, "idle"),
        };
        println!("{report}");
        let done = report.outcome.answered + report.outcome.lost;
        assert_eq!(done, load.total(), "{report}: some requests were not sent");
        report
    }

    fn start(&self, site: &Site, authority: Option<&Authority>) -> Server {
        let certificate = authority.map(|authority| authority.issue_local().settings());
        let launch = Launch::of(site.root()).config(&format!(
            "{}[keep_alive]\ntimeout = {}\ngrace = {GRACE_SECS}\n{}",
            certificate.unwrap_or_default(),
            self.timeout_secs,
            self.keep_alive
        ));
        let scheme = if authority.is_some() { "https" } else { "http" };
        let address = format!("{scheme}://127.0.0.1:0");
        (0..self.listeners)
            .fold(launch, |launch, _| launch.listen(&address))
            .start()
    }
}

impl Load {
    /// The pause of a lane before a request.
    pub fn gap_before(&self, lane: usize, request: usize) -> Duration {
        Duration::from_millis(match request {
            0 => 0,
            _ => self.gaps_millis[(lane + request) % self.gaps_millis.len()],
        })
    }

    /// The number of requests of all lanes.
    pub fn total(&self) -> u64 {
        (self.lanes * self.requests) as u64
    }

    /// The time after which a client has failed.
    pub fn limit(&self) -> Duration {
        let longest = self.gaps_millis.iter().max().copied().unwrap_or(0);
        Duration::from_millis(longest * self.requests as u64) + SLACK
    }
}

impl Outcome {
    /// Parses the output of a program.
    pub fn parse(printed: &str) -> Outcome {
        let mut outcome = Outcome::default();
        let mut ended = false;
        for line in printed.lines() {
            if let Some(version) = line.strip_prefix("version=") {
                outcome.version = version.to_owned();
            } else if let Some(millis) = line.strip_prefix("late=") {
                outcome.late = Duration::from_millis(millis.parse().expect("late=MILLIS"));
            } else if let Some(error) = line.strip_prefix("error=") {
                let (count, text) = error.split_once(' ').unwrap_or((error, ""));
                let count = count.parse().expect("error=COUNT TEXT");
                outcome.errors.insert(text.to_owned(), count);
            } else if let Some((answered, lost)) = line
                .strip_prefix("answered=")
                .and_then(|rest| rest.split_once(" lost="))
            {
                outcome.answered = answered.parse().expect("answered=COUNT");
                outcome.lost = lost.parse().expect("lost=COUNT");
                ended = true;
            }
        }
        assert!(ended, "the client did not print its result: {printed}");
        outcome
    }

    /// Counts one answer, or one error.
    pub fn add(&mut self, answer: Result<(), String>) {
        match answer {
            Ok(()) => self.answered += 1,
            Err(text) => {
                self.lost += 1;
                *self.errors.entry(text).or_default() += 1;
            }
        }
    }
}

impl Report {
    /// The number of requests answered on a connection that had been used before.
    pub fn reused(&self) -> u64 {
        self.requests.saturating_sub(self.connections)
    }

    /// Checks that at least 1,000 requests were sent and all answered, not all of them on new connections.
    pub fn assert_nothing_lost(&self) {
        assert_eq!(self.outcome.lost, 0, "{self}");
        assert!(self.outcome.answered >= FEWEST_REQUESTS, "{self}");
        self.assert_reused();
    }

    /// Checks that some connections were reused.
    pub fn assert_reused(&self) {
        assert!(self.reused() > 0, "no connection was used again: {self}");
    }

    /// Checks that the client never sent a request on a connection that the server had closed, so it
    /// honours the hint.
    pub fn assert_no_race(&self) {
        assert_eq!(self.races, 0, "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome {
            version,
            answered,
            lost,
            late,
            errors,
        } = &self.outcome;
        write!(
            f,
            "{} ({version}): {} requests, {lost} lost, {} reused, {} races, {} idle closes, late by {} ms",
            self.client,
            answered + lost,
            self.reused(),
            self.races,
            self.idle_closes,
            late.as_millis(),
        )?;
        for (text, count) in errors {
            write!(f, "\n    {count} times: {text}")?;
        }
        Ok(())
    }
}

/// For a client that ignores the hint and repeats nothing. Within T it loses nothing. Its losses around
/// T + grace are only printed: they depend on what is on the wire when the server closes.
pub fn assert_within_t(client: &str, program: impl Fn() -> Command + Sync) {
    let beyond = Trial::of(client).gaps(&[
        3000, 5010, 4800, 5040, 5070, 5000, 5100, 5130, 4950, 5160, 5190, 5220,
    ]);
    let within = Trial::of(&format!("{client}, within T")).gaps(&[1000, 2000, 2500, 2800, 2900]);
    thread::scope(|scope| {
        scope.spawn(|| beyond.run(program()).assert_reused());
        let report = within.run(program());
        report.assert_nothing_lost();
        report.assert_no_race();
    });
}

/// A process and its output. It is killed on drop.
pub struct Program {
    name: String,
    child: Child,
    stdout: File,
    stderr: File,
}

impl Program {
    /// Starts `command`. Fails with a clear message if it is not installed.
    pub fn start(command: &mut Command) -> Program {
        let name = command.get_program().to_string_lossy().into_owned();
        // Files need no reader while the process runs.
        let stdout = tempfile::tempfile().expect("a temporary file");
        let stderr = tempfile::tempfile().expect("a temporary file");
        let child = command
            .stdin(Stdio::null())
            .stdout(stdout.try_clone().expect("a second descriptor"))
            .stderr(stderr.try_clone().expect("a second descriptor"))
            .spawn();
        match child {
            Ok(child) => Program {
                name,
                child,
                stdout,
                stderr,
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("{name} is not installed: see .ci/install")
            }
            Err(error) => panic!("{name} does not start: {error}"),
        }
    }

    /// Waits for a successful end within `limit`, and returns the output.
    pub fn output(self, limit: Duration) -> String {
        let (success, stdout, stderr) = self.ended(limit);
        assert!(success, "the client failed:\n{stdout}\n{stderr}");
        stdout
    }

    /// Waits for the end. Returns whether it was successful, standard output, and standard error.
    pub fn ended(mut self, limit: Duration) -> (bool, String, String) {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                break status;
            }
            let name = &self.name;
            assert!(start.elapsed() < limit, "{name} does not end: {limit:?}");
            thread::sleep(Duration::from_millis(20));
        };
        let stdout = read_from_start(&mut self.stdout);
        (status.success(), stdout, read_from_start(&mut self.stderr))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_from_start(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().expect("a file");
    file.read_to_end(&mut bytes).expect("a file");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The first line of the version that `program` prints.
pub fn version(program: &str, argument: &str) -> String {
    let printed = Program::start(Command::new(program).arg(argument)).output(SLACK);
    printed.lines().next().unwrap_or_default().to_owned()
}

/// The path of a library that `.ci/install` installs for another language. Fails if `name` is missing.
pub fn installed(name: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients");
    let path = place.join(name);
    assert!(path.exists(), "{name} is not installed: see .ci/install");
    path
}

/// The path of a program beside this file.
pub fn script(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/foreign/real_clients").join(name)
}
