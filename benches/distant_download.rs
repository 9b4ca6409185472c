//! The rate of one download of a large file over a round trip of 100 ms, from abide and from nginx:
//! `cargo bench --bench distant_download`, as root, with the commands of iproute2. It takes about a
//! minute and a half. Paths of further builds of abide may follow after `--`.
//!
//! abide limits the unsent bytes that the kernel holds for a client (TCP_NOTSENT_LOWAT). The bench shows
//! whether that slows down a client with late acknowledgements. A relay between two network devices delays
//! the packets, see `tests/support/machine.rs`. It drops some that come too fast, as any network does, so
//! the rounds differ. Each round measures all servers one after the other.

use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use support::machine::Machine;
use support::process::{Recipe, open_to_all};
use support::recipes;
use tempfile::TempDir;

const ROUND_TRIP: Duration = Duration::from_millis(100);
const FILE_BYTES: usize = 48 << 20;
const ROUNDS: usize = 7;
const TIMEOUT: Duration = Duration::from_secs(60);

const NGINX_HTTP: &str = "
    access_log off;
    sendfile on;
    server { listen {address}; root {root}; }
";

fn main() {
    let machine = Machine::distant(ROUND_TRIP);
    let place = TempDir::new().expect("a temporary directory");
    prepare(place.path()).expect("a file to download");
    let host = machine.server_address();
    let root = place.path().join("www");
    let main = "user www-data; worker_processes 2;";
    let nginx = recipes::nginx(main, "worker_connections 64;", NGINX_HTTP);
    let others = std::env::args().skip(1).filter(|word| word != "--bench");
    let others = others.map(|path| {
        let program = PathBuf::from(&path);
        let recipe = Recipe {
            program,
            ..recipes::abide("")
        };
        (path, recipe)
    });
    let mut recipes = vec![("abide".to_owned(), recipes::abide(""))];
    recipes.extend(others);
    recipes.push(("nginx".to_owned(), nginx));
    let mut servers = Vec::new();
    for (name, recipe) in recipes {
        match recipe.serving(&root).try_start(host) {
            Ok(process) => servers.push((name, process)),
            Err(why) => println!("{name} is left out: {why:?}"),
        }
    }
    let mut rates = vec![Vec::new(); servers.len()];
    for _ in 0..ROUNDS {
        for ((name, server), rates) in servers.iter().zip(&mut rates) {
            let taken = machine.run(|| download(server.address)).expect(name);
            rates.push(FILE_BYTES as f64 / 1e6 / taken.as_secs_f64());
        }
    }
    let (size, away) = (FILE_BYTES >> 20, ROUND_TRIP.as_millis());
    println!("\nMB/s of a download of {size} MiB, {away} ms away, in {ROUNDS} rounds\n");
    println!("| server | slowest | median | fastest |\n|---|---|---|---|");
    for ((name, _), rates) in servers.iter().zip(&mut rates) {
        rates.sort_by(f64::total_cmp);
        let [slowest, median, fastest] = [0, ROUNDS / 2, ROUNDS - 1].map(|at| rates[at]);
        println!("| {name} | {slowest:.1} | {median:.1} | {fastest:.1} |");
    }
}

fn prepare(place: &Path) -> io::Result<()> {
    // nginx serves as another user.
    open_to_all(place);
    fs::create_dir(place.join("www"))?;
    fs::write(place.join("www/large.bin"), vec![b'.'; FILE_BYTES])
}

/// How long it takes from the request to the last byte.
fn download(address: SocketAddr) -> io::Result<Duration> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let start = Instant::now();
    stream.write_all(b"GET /large.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    let received = io::copy(&mut stream, &mut io::sink())?;
    if received < FILE_BYTES as u64 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(start.elapsed())
}
