//! How fast one client downloads a large file from 100 ms away, from abide and from nginx:
//! `cargo bench --bench distant_download`, as root, with the commands of iproute2. It takes about a
//! minute and a half. Paths of further builds of abide may follow behind `--`.
//!
//! abide bounds what the kernel holds for a reader (TCP_NOTSENT_LOWAT). This shows whether that slows a
//! reader down whose acknowledgements take long. The packets take their time in a relay between two
//! network devices, see `tests/support/machine.rs`; some are lost there when they come too fast, as on
//! any network, so the rounds differ. The servers take turns.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::machine::Machine;
use tempfile::TempDir;

const ROUND_TRIP: Duration = Duration::from_millis(100);
const FILE_BYTES: usize = 48 << 20;
const ROUNDS: usize = 7;
const PATIENCE: Duration = Duration::from_secs(60);

const NGINX: &str = "
user www-data;
worker_processes 2;
daemon off;
pid {place}/nginx.pid;
error_log {place}/error.log;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path {place}/client_body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    sendfile on;
    server { listen {address}; root {place}/www; }
}
";

/// A server that is downloaded from. It ends on drop.
struct Server {
    name: String,
    address: SocketAddr,
    process: Child,
}

fn main() {
    let machine = Machine::distant(ROUND_TRIP);
    let place = TempDir::new().expect("a temporary directory");
    prepare(place.path()).expect("a file to download");
    let host = machine.server_address();
    let own = PathBuf::from(env!("CARGO_BIN_EXE_abide"));
    let others = std::env::args().skip(1).filter(|word| word != "--bench");
    let mut servers = vec![start_abide("abide".to_owned(), &own, host, place.path())];
    servers.extend(others.map(|path| {
        let binary = PathBuf::from(&path);
        start_abide(path, &binary, host, place.path())
    }));
    match start_nginx(host, place.path()) {
        Ok(nginx) => servers.push(nginx),
        Err(error) => println!("nginx is left out: {error}"),
    }
    let mut rates = vec![Vec::new(); servers.len()];
    for _ in 0..ROUNDS {
        for (server, rates) in servers.iter().zip(&mut rates) {
            let taken = machine
                .run(|| download(server.address))
                .expect(&server.name);
            rates.push(FILE_BYTES as f64 / 1e6 / taken.as_secs_f64());
        }
    }
    let (size, away) = (FILE_BYTES >> 20, ROUND_TRIP.as_millis());
    println!("\nMB/s of a download of {size} MiB, {away} ms away, in {ROUNDS} rounds\n");
    println!("| server | slowest | median | fastest |\n|---|---|---|---|");
    for (server, rates) in servers.iter().zip(&mut rates) {
        rates.sort_by(f64::total_cmp);
        let [slowest, median, fastest] = [0, ROUNDS / 2, ROUNDS - 1].map(|at| rates[at]);
        let name = &server.name;
        println!("| {name} | {slowest:.1} | {median:.1} | {fastest:.1} |");
    }
}

fn prepare(place: &Path) -> io::Result<()> {
    // nginx serves as another user.
    fs::set_permissions(place, Permissions::from_mode(0o755))?;
    fs::create_dir(place.join("www"))?;
    fs::write(place.join("www/large.bin"), vec![b'.'; FILE_BYTES])
}

fn start_abide(name: String, binary: &Path, host: Ipv4Addr, place: &Path) -> Server {
    let address = free_address(host).expect("a port");
    let mut command = Command::new(binary);
    command.args(["--listen", &address.to_string()]);
    command.arg(place.join("www"));
    start(name, address, &mut command, place).expect("abide starts")
}

fn start_nginx(host: Ipv4Addr, place: &Path) -> io::Result<Server> {
    let address = free_address(host)?;
    let config = NGINX.replace("{place}", &place.to_string_lossy());
    let path = place.join("nginx.conf");
    fs::write(&path, config.replace("{address}", &address.to_string()))?;
    let mut command = Command::new("nginx");
    // Administrators' programs are not on every user's path.
    command.env("PATH", "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin");
    command.arg("-e").arg(place.join("error.log"));
    command.arg("-c").arg(path);
    start("nginx".to_owned(), address, &mut command, place)
}

fn free_address(host: Ipv4Addr) -> io::Result<SocketAddr> {
    TcpListener::bind((host, 0))?.local_addr()
}

fn start(
    name: String,
    address: SocketAddr,
    command: &mut Command,
    place: &Path,
) -> io::Result<Server> {
    let stderr = File::create(place.join("stderr"))?;
    let process = command.stdout(Stdio::null()).stderr(stderr).spawn()?;
    let server = Server {
        name,
        address,
        process,
    };
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        if start.elapsed() > PATIENCE {
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(server)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.process), Signal::INT);
        let _ = self.process.wait();
    }
}

/// How long it takes from the request to the last byte.
fn download(address: SocketAddr) -> io::Result<Duration> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let start = Instant::now();
    stream.write_all(b"GET /large.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    let received = io::copy(&mut stream, &mut io::sink())?;
    if received < FILE_BYTES as u64 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(start.elapsed())
}
