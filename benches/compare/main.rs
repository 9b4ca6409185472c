//! abide and other servers side by side: `cargo bench --bench compare`. It prints Markdown tables, and
//! writes them with SVG charts to `target/compare/`, after some twenty minutes; `-- --quick` takes
//! three.
//!
//! Compared are the servers found on the path, each over the same files with the configuration in
//! `kinds`, all running at the same time and measured one after the other, cell by cell and round by
//! round, so that a slow minute of the machine hits all alike. The load comes from wrk and h2load on
//! the same machine, over loopback. CPU time is that of all the server's processes, before and after.
//!
//! One more runs beside them: the `floor`, which makes the calls that each request takes and nothing
//! else. No server can cost less than it does, so it tells how much of each figure is the kernel's.
//!
//! Any other server can be added:
//! `cargo bench --bench compare -- --server 'mine=mine --root $ROOT --port $PORT:9000'`.

mod cells;
mod charts;
mod floor;
mod head_client;
mod kinds;
mod load;
mod options;
mod process;
mod report;
mod results;
mod servers;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Parser;
use tempfile::TempDir;

use cells::{CELLS, Cell, Load, SERIES};
use floor::FLOOR_NAME;
use kinds::{ABIDE_NAME, KINDS};
use load::Clients;
use options::Options;
use results::{Outcome, Row, Sample};
use servers::{Place, Server};

/// For the server to see the ends of the client's connections, whose cost belongs to the load.
const AFTERMATH: Duration = Duration::from_millis(20);

/// Where the rates of paced cells come from.
const CALIBRATION: &str = "1k";

/// A server in the race.
struct Contestant {
    name: String,
    is_rival: bool,
    server: Server,
    /// The same with an access log, if a cell wants it.
    logged: Option<Server>,
}

impl Contestant {
    fn server(&self, cell: &Cell) -> Option<&Server> {
        if self.name == FLOOR_NAME && !floor::has(cell) {
            None
        } else if cell.logged {
            self.logged.as_ref()
        } else {
            Some(&self.server)
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.floor[..] {
        [address, teacher] => floor::serve(address, teacher).map(|never| match never {}),
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
    raise_descriptor_limit();
    let place = Place::new()?;
    let scratch = TempDir::new()?;
    let is_logged = cells.iter().any(|cell| cell.logged);
    let contestants = start(options, &place, is_logged);
    let mut clients = Clients {
        place: scratch.path(),
        secs: options.seconds(),
        core_rate: 0.0,
    };
    if cells.iter().any(|cell| matches!(cell.load, Load::Paced(_))) {
        clients.core_rate = core_rate(&clients, &contestants);
    }
    let outcomes = measure_all(&cells, options.rounds(), &contestants, &clients);
    let series = measure_all(&series, 1, &contestants, &clients);
    let names: Vec<String> = contestants.into_iter().map(|one| one.name).collect();
    let heading = format!(
        "# abide compared\n\n{}; {} s for each measurement, median of {}.\n\n",
        report::machine(),
        options.seconds(),
        options.rounds()
    );
    let paced = if clients.core_rate > 0.0 {
        format!(
            "One core's load: {} requests/s, what the best rival answers with one second of CPU.\n\n",
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
        eprintln!("wrk is not on PATH (Debian: apt-get install wrk): only HEAD can be measured.");
        cells.retain(|cell| cell.load == Load::Head);
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

/// Starts all servers that are here, and says which are not.
fn start(options: &Options, place: &Place, is_logged: bool) -> Vec<Contestant> {
    let mut contestants = Vec::new();
    for kind in &KINDS {
        if options.leaves_out(kind.name) {
            continue;
        }
        if !kind.is_installed() {
            eprintln!("{} is not on PATH", kind.program);
            continue;
        }
        let start = |is_logged| {
            let started = kind.start(place, is_logged);
            let complain = |error: &io::Error| eprintln!("{} does not start: {error}", kind.name);
            started.inspect_err(complain).ok()
        };
        let Some(server) = start(false) else {
            continue;
        };
        eprintln!("{} {}", kind.name, kind.version());
        let wants_log = is_logged && kind.logging.is_some();
        contestants.push(Contestant {
            name: kind.name.to_owned(),
            is_rival: kind.is_rival,
            server,
            logged: wants_log.then(|| start(true)).flatten(),
        });
    }
    for extra in &options.servers {
        match extra.start(place) {
            Ok(server) => contestants.push(Contestant {
                name: extra.name.clone(),
                is_rival: false,
                server,
                logged: None,
            }),
            Err(error) => eprintln!("{} does not start: {error}", extra.name),
        }
    }
    if !options.leaves_out(FLOOR_NAME) {
        contestants.extend(start_floor(&contestants));
    }
    contestants
}

/// Starts the floor, if abide is there to learn from.
fn start_floor(contestants: &[Contestant]) -> Option<Contestant> {
    let abide = contestants.iter().find(|one| one.name == ABIDE_NAME)?;
    let started = Server::floor(&abide.server);
    let complain = |error: &io::Error| eprintln!("the floor does not start: {error}");
    Some(Contestant {
        name: FLOOR_NAME.to_owned(),
        is_rival: false,
        server: started.inspect_err(complain).ok()?,
        logged: None,
    })
}

/// Requests per second that the best rival, or else abide, answers with one second of CPU time.
fn core_rate(clients: &Clients, contestants: &[Contestant]) -> f64 {
    let cells: Vec<Cell> = CELLS
        .iter()
        .filter(|c| c.name == CALIBRATION)
        .copied()
        .collect();
    let outcomes = measure_all(&cells, 1, contestants, clients);
    let rows = outcomes.iter().flat_map(|outcome| &outcome.rows);
    let has_rivals = contestants.iter().any(|contestant| contestant.is_rival);
    let counts = |row: &&Row| row.is_rival || !has_rivals && row.name == ABIDE_NAME;
    let micros = rows.filter(counts);
    1e6 / micros.map(|row| row.sample.cpu_micros).fold(1e6, f64::min)
}

/// Measures round by round, cell by cell, server by server. Each round begins with another server.
fn measure_all(
    cells: &[Cell],
    rounds: u32,
    contestants: &[Contestant],
    clients: &Clients,
) -> Vec<Outcome> {
    let mut samples = vec![vec![Vec::new(); contestants.len()]; cells.len()];
    for round in 0..rounds as usize {
        for (cell, samples) in cells.iter().zip(&mut samples) {
            eprintln!(
                "round {} of {rounds}: {}, {} connections",
                round + 1,
                cell.title,
                cell.connections
            );
            for turn in 0..contestants.len() {
                let index = (turn + round) % contestants.len();
                let contestant = &contestants[index];
                let Some(server) = contestant.server(cell) else {
                    continue;
                };
                match measure(cell, server, clients) {
                    Ok(sample) => samples[index].push(sample),
                    Err(error) => eprintln!("{} in {}: {error}", contestant.name, cell.name),
                }
            }
        }
    }
    let row = |(contestant, samples): (&Contestant, Vec<Sample>)| {
        Some(Row {
            name: contestant.name.clone(),
            is_rival: contestant.is_rival,
            sample: Sample::median(&samples)?,
        })
    };
    let outcome = |(cell, samples): (&Cell, Vec<Vec<Sample>>)| Outcome {
        cell: *cell,
        asked: clients.asked(cell),
        rows: contestants.iter().zip(samples).filter_map(row).collect(),
    };
    cells.iter().zip(samples).map(outcome).collect()
}

/// CPU time is taken before and after the load, memory in the middle of it.
fn measure(cell: &Cell, server: &Server, clients: &Clients) -> io::Result<Sample> {
    load::check(cell, server.address)?;
    let pids = server.tree();
    let before = process::cpu_time(&pids);
    let (seen, memory_bytes) = thread::scope(|scope| {
        let memory_bytes = scope.spawn(|| {
            thread::sleep(Duration::from_secs(clients.secs.into()) / 2);
            process::memory_bytes(&pids)
        });
        let seen = clients.run(cell, server.address);
        (seen, memory_bytes.join().unwrap_or(0))
    });
    let seen = seen?;
    thread::sleep(AFTERMATH);
    let used = process::cpu_time(&server.tree()).saturating_sub(before);
    if seen.requests == 0 {
        return Err(io::Error::other("no answer"));
    }
    Ok(Sample::new(&seen, used.as_secs_f64() * 1e6, memory_bytes))
}

/// Clients and servers have a descriptor for each connection.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        eprintln!("the limit on descriptors stays as it is: {error}");
    }
}
