//! Compares abide with other servers: `cargo bench --bench compare`. It prints Markdown tables, and writes
//! them with SVG charts to `target/compare/`, after some twenty-five minutes; `-- --quick` takes four.
//!
//! The bench compares the servers found on the path. All serve the same files, with the configurations in
//! `kinds`, and run at the same time. They are measured one after the other, cell by cell and round by
//! round, so that other load on the machine affects all alike. A *cell* is one kind of load. wrk and h2load
//! make the load on the same machine, over loopback. CPU time is that of all processes of a server.
//!
//! Over TLS all servers present the same certificate (ECDSA P-256), and the clients speak TLS 1.3. The bench
//! itself is the client that makes handshakes, see `handshake_client`. It says which ciphers the servers choose.
//!
//! Debian's packages are nginx-light, lighttpd with lighttpd-mod-openssl, h2o, apache2 and caddy; wrk, and
//! nghttp2-client for h2load. lwan is built from its sources.
//!
//! The `floor` is one more server, which makes the system calls of each request and nothing else. No server
//! can cost less, so its figures are the kernel's part of those of the others.
//!
//! Any other server can be added:
//! `cargo bench --bench compare -- --server 'mine=mine --root $ROOT --port $PORT:9000'`.

mod cells;
mod charts;
mod floor;
mod handshake_client;
mod head_client;
mod kinds;
mod load;
mod options;
mod pinning;
mod report;
mod results;
mod servers;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Parser;
use tempfile::TempDir;

use cells::{CELLS, Cell, Load, SERIES, Setup};
use floor::FLOOR_NAME;
use handshake_client::Tickets;
use kinds::{ABIDE_NAME, KINDS};
use load::Clients;
use options::Options;
use results::{Outcome, Row, Sample};
use servers::{Server, SiteDirectory};
use support::process::raise_descriptor_limit;
use support::process_tree;
use support::tls::{self, KeyExchange};

/// Time for the server to close the client's connections, whose cost belongs to the load.
const AFTERMATH: Duration = Duration::from_millis(20);

/// The cell whose result sets the rates of paced cells.
const CALIBRATION: &str = "1k";

/// A server under comparison.
struct MeasuredServer {
    name: String,
    is_rival: bool,
    /// A process for each way to set it up that a cell needs.
    servers: Vec<(Setup, Server)>,
}

impl MeasuredServer {
    fn server(&self, cell: &Cell) -> Option<&Server> {
        if self.name == FLOOR_NAME && !floor::has(cell) {
            return None;
        }
        self.server_of(cell.setup)
    }

    fn server_of(&self, setup: Setup) -> Option<&Server> {
        let mut servers = self.servers.iter();
        servers.find_map(|(own, server)| (*own == setup).then_some(server))
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.floor[..] {
        [address, upstream] => floor::serve(address, upstream).map(|never| match never {}),
        _ => run(&options),
    };
    if let Err(error) = result {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run(options: &Options) -> io::Result<()> {
    let (cells, series) = chosen(options)?;
    let cpus = num_cpus::get();
    if options.pin {
        pinning::separate()?;
    }
    raise_descriptor_limit();
    let is_large = |cell: &Cell| cell.load == Load::RandomPages;
    let place = SiteDirectory::new(cells.iter().any(is_large))?;
    let scratch = TempDir::new()?;
    let setups = [Setup::Plain, Setup::Logged, Setup::SmallCache, Setup::Tls];
    let is_needed =
        |setup: &Setup| *setup == Setup::Plain || cells.iter().any(|cell| cell.setup == *setup);
    let setups: Vec<Setup> = setups.into_iter().filter(is_needed).collect();
    let servers = start(options, &place, &setups);
    let mut clients = Clients {
        place: scratch.path(),
        certificate: &place.certificate,
        tickets: Arc::new(Tickets::new(place.certificate.client(KeyExchange::X25519))),
        secs: options.seconds(),
        core_rate: 0.0,
    };
    if cells.iter().any(|cell| matches!(cell.load, Load::Paced(_))) {
        clients.core_rate = core_rate(&clients, &servers);
    }
    let outcomes = measure_all(&cells, options.rounds(), &servers, &clients);
    let series = measure_all(&series, 1, &servers, &clients);
    let names: Vec<String> = servers.into_iter().map(|one| one.name).collect();
    let heading = format!(
        "# abide compared\n\n{}; {}; {} s for each measurement, median of {}.\n\n",
        report::machine(cpus),
        pinning::description(),
        options.seconds(),
        options.rounds()
    );
    let paced = if clients.core_rate > 0.0 {
        format!(
            "One core's load: {} requests/s, which the best rival answers with one second of CPU.\n\n",
            report::grouped(clients.core_rate as u64)
        )
    } else {
        String::new()
    };
    let mut text = heading + &paced;
    text.extend(outcomes.iter().map(report::cell));
    if !outcomes.is_empty() {
        text += &report::summary(&outcomes, &names);
        text += &report::targets(&outcomes);
    }
    if !series.is_empty() {
        text += &report::series(&series, &names);
    }
    print!("{text}");
    write_files(&text, &outcomes, &series)
}

fn write_files(text: &str, outcomes: &[Outcome], series: &[Outcome]) -> io::Result<()> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("compare");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("results.md"), text)?;
    let written = charts::draw_all(&folder, outcomes, series).map_err(io::Error::other)?;
    for path in written {
        eprintln!("{}", path.display());
    }
    Ok(())
}

/// The cells and the numbers of connections that the options ask for and the tools can do.
fn chosen(options: &Options) -> io::Result<(Vec<Cell>, Vec<Cell>)> {
    let known = |name: &str| name == SERIES || CELLS.iter().any(|cell| cell.name == name);
    if let Some(unknown) = options.cells.iter().find(|name| !known(name)) {
        let names: Vec<&str> = CELLS.iter().map(|cell| cell.name).collect();
        return Err(io::Error::other(format!(
            "there is no cell {unknown}; there are {}, {SERIES}",
            names.join(", ")
        )));
    }
    let is_asked = |name: &str| options.cells.is_empty() || options.cells.iter().any(|c| c == name);
    let mut cells: Vec<Cell> = CELLS.to_vec();
    cells.retain(|cell| is_asked(cell.name));
    let mut series = Vec::new();
    if is_asked(SERIES) {
        series.extend(
            cells::series(options.quick)
                .into_iter()
                .map(cells::of_series),
        );
    }
    let has = |program: &str| {
        let path = servers::search_path();
        path.split(':')
            .any(|folder| Path::new(folder).join(program).is_file())
    };
    if !has("wrk") {
        eprintln!("wrk is not on PATH (Debian: apt-get install wrk): few cells can be measured.");
        cells.retain(|cell| cell.load.is_made_by_bench());
        series.clear();
    }
    if !has("h2load") {
        eprintln!(
            "h2load is not on PATH (Debian: apt-get install nghttp2-client): no paced cells."
        );
        cells.retain(|cell| !matches!(cell.load, Load::Paced(_)));
    }
    Ok((cells, series))
}

/// Starts all installed servers, and reports those that are missing.
fn start(options: &Options, place: &SiteDirectory, setups: &[Setup]) -> Vec<MeasuredServer> {
    let mut all = Vec::new();
    for kind in &KINDS {
        if options.leaves_out(kind.name) {
            continue;
        }
        if !kind.is_installed() {
            eprintln!("{} is not on PATH", kind.program);
            continue;
        }
        let mut servers = Vec::new();
        for setup in setups.iter().filter(|setup| kind.can_be(**setup)) {
            match kind.start(place, *setup) {
                Ok(server) => servers.push((*setup, server)),
                Err(error) => eprintln!("{} ({setup:?}) does not start: {error}", kind.name),
            }
        }
        let over_tls = servers.iter().find(|(setup, _)| *setup == Setup::Tls);
        let cipher = over_tls.map(|(_, server)| cipher_of(server, place));
        let cipher = cipher.unwrap_or_default();
        eprintln!("{} {} {cipher}", kind.name, kind.version());
        all.push(MeasuredServer {
            name: kind.name.to_owned(),
            is_rival: kind.is_rival,
            servers,
        });
    }
    for extra in &options.servers {
        match extra.start(place) {
            Ok(server) => all.push(MeasuredServer {
                name: extra.name.clone(),
                is_rival: false,
                servers: vec![(Setup::Plain, server)],
            }),
            Err(error) => eprintln!("{} does not start: {error}", extra.name),
        }
    }
    if !options.leaves_out(FLOOR_NAME) {
        all.extend(start_floor(&all));
    }
    all
}

/// The cipher suite that the server chooses, or why there is none.
fn cipher_of(server: &Server, place: &SiteDirectory) -> String {
    let config = Arc::new(place.certificate.client(KeyExchange::X25519));
    match tls::connect(server.address, &config) {
        Ok(stream) => stream
            .conn
            .negotiated_cipher_suite()
            .map_or_else(String::new, |suite| format!("{:?}", suite.suite())),
        Err(error) => error.to_string(),
    }
}

/// Starts the floor, if abide runs, because it records abide's answers.
fn start_floor(servers: &[MeasuredServer]) -> Option<MeasuredServer> {
    let abide = servers.iter().find(|one| one.name == ABIDE_NAME)?;
    let started = Server::floor(abide.server_of(Setup::Plain)?);
    let complain = |error: &io::Error| eprintln!("the floor does not start: {error}");
    let server = started.inspect_err(complain).ok()?;
    Some(MeasuredServer {
        name: FLOOR_NAME.to_owned(),
        is_rival: false,
        servers: vec![(Setup::Plain, server)],
    })
}

/// Requests per second that the best rival, or else abide, answers with one second of CPU time.
fn core_rate(clients: &Clients, servers: &[MeasuredServer]) -> f64 {
    let cells: Vec<Cell> = CELLS
        .iter()
        .filter(|c| c.name == CALIBRATION)
        .copied()
        .collect();
    let outcomes = measure_all(&cells, 1, servers, clients);
    let rows = outcomes.iter().flat_map(|outcome| &outcome.rows);
    let has_rivals = servers
        .iter()
        .any(|measured_server| measured_server.is_rival);
    let counts = |row: &&Row| row.is_rival || !has_rivals && row.name == ABIDE_NAME;
    let micros = rows.filter(counts);
    1e6 / micros.map(|row| row.sample.cpu_micros).fold(1e6, f64::min)
}

/// Measures round by round, cell by cell and server by server. Each round begins with another server.
fn measure_all(
    cells: &[Cell],
    rounds: u32,
    servers: &[MeasuredServer],
    clients: &Clients,
) -> Vec<Outcome> {
    let mut samples = vec![vec![Vec::new(); servers.len()]; cells.len()];
    for round in 0..rounds as usize {
        for (cell, samples) in cells.iter().zip(&mut samples) {
            eprintln!(
                "round {} of {rounds}: {}, {} connections",
                round + 1,
                cell.title,
                cell.connections
            );
            for offset in 0..servers.len() {
                let index = (offset + round) % servers.len();
                let measured_server = &servers[index];
                let Some(server) = measured_server.server(cell) else {
                    continue;
                };
                match measure(cell, server, clients) {
                    Ok(sample) => samples[index].push(sample),
                    Err(error) => eprintln!("{} in {}: {error}", measured_server.name, cell.name),
                }
            }
        }
    }
    let row = |(measured_server, samples): (&MeasuredServer, Vec<Sample>)| {
        Some(Row {
            name: measured_server.name.clone(),
            is_rival: measured_server.is_rival,
            sample: Sample::median(&samples)?,
        })
    };
    let outcome = |(cell, samples): (&Cell, Vec<Vec<Sample>>)| Outcome {
        cell: *cell,
        asked: clients.asked(cell),
        rows: servers.iter().zip(samples).filter_map(row).collect(),
    };
    cells.iter().zip(samples).map(outcome).collect()
}

/// Measures one server in one cell: CPU time before and after the load, memory in the middle of it.
fn measure(cell: &Cell, server: &Server, clients: &Clients) -> io::Result<Sample> {
    clients.prepare(cell, server.address)?;
    let pids = server.tree();
    let before = process_tree::cpu_time(&pids);
    let (seen, memory_bytes) = thread::scope(|scope| {
        let memory_bytes = scope.spawn(|| {
            thread::sleep(Duration::from_secs(clients.secs.into()) / 2);
            process_tree::memory_bytes(&pids)
        });
        let seen = clients.run(cell, server.address);
        (seen, memory_bytes.join().unwrap_or(0))
    });
    let seen = seen?;
    thread::sleep(AFTERMATH);
    let used = process_tree::cpu_time(&server.tree()).saturating_sub(before);
    if seen.requests == 0 {
        return Err(io::Error::other("no answer"));
    }
    Ok(Sample::new(&seen, used.as_secs_f64() * 1e6, memory_bytes))
}
