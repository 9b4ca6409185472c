//! LISTEN_FDS: listening sockets that the server inherits, as from systemd's socket units
//! (sd_listen_fds(3)). How a successor takes over from a server that drains is in `rolling_restart.rs`.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use support::admin::Admin;
use support::client::request;
use support::server::program;
use support::{Client, Launch, Site, until};

/// Starts the given command as the process that `$1` names (`self` for itself, `missing` for none) with its
/// standard input as descriptor 3, which `$2` names (LISTEN_FDNAMES).
const PASS_ON: &str = r#"
    unset LISTEN_PID
    case $1 in self) export LISTEN_PID=$$ ;; missing) ;; *) export LISTEN_PID="$1" ;; esac
    export LISTEN_FDS=1 LISTEN_FDNAMES="$2"
    shift 2
    exec 3<&0 0</dev/null "$@"
"#;

fn refusal(passed: OwnedFd) -> Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", PASS_ON, "sh", "self", "http"]);
    shell.arg(program());
    let site = Site::new();
    let arguments = ["-l", "127.0.0.1:0"];
    shell
        .args(arguments)
        .arg(site.root())
        .stdin(Stdio::from(passed));
    shell.output().expect("sh runs")
}

/// A server that was passed `socket`, for the process that `pid` names.
fn launch(root: &Path, socket: OwnedFd, pid: &str) -> Launch {
    Launch::of(root).through(&["sh", "-c", PASS_ON, "sh", pid, "http"], socket)
}

#[test]
fn an_inherited_socket_is_served_and_the_configured_address_is_not() {
    let site = Site::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    // An early client waits in the queue of the socket, which exists before the server.
    let mut early = Client::connect(address);
    early.send(request("GET", "/", ""));
    let server = launch(&site.root(), listener.into(), "self").start();
    assert_eq!(server.listening(), [format!("http://{address}")]);
    assert!(early.answer().persists());
    let mut client = server.connect();
    assert!(client.get("/").persists());
}

#[test]
fn a_unix_socket_is_inherited_and_its_file_stays() {
    let site = Site::new();
    let path = site.beside("abide.sock");
    let listener = UnixListener::bind(&path).expect("bind");
    let server = launch(&site.root(), listener.into(), "self").start();
    assert_eq!(server.listening(), [format!("unix:{}", path.display())]);
    assert!(Client::connect_unix(&path).get("/").persists());
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code, Some(0));
    assert!(path.exists(), "the process that made it owns it");
}

#[test]
fn an_inherited_socket_speaks_what_the_configuration_says_of_its_address() {
    let site = Site::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let server = launch(&site.root(), listener.into(), "self")
        .config("trusted_proxies = ['127.0.0.1']\n")
        .listen(&format!("proxy+http://{address}"))
        .start();
    assert_eq!(server.listening(), [format!("proxy+http://{address}")]);
    let mut proxy = server.connect();
    proxy.send("PROXY UNKNOWN\r\n");
    assert!(proxy.get("/").persists());
}

#[test]
fn an_inherited_socket_that_is_called_admin_is_the_admin_listener() {
    let site = Site::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let through = ["sh", "-c", PASS_ON, "sh", "self", "admin"];
    let launch = Launch::of(site.root()).through(&through, OwnedFd::from(listener));
    let server = launch.start();
    server.wait_for(&format!("admin on http://{address}\n"));
    assert_eq!(Admin::of(&server).get("/ready").status, 200);
    assert_ne!(server.address(), address, "clients have their own");
    assert!(server.connect().get("/").persists());
}

#[test]
fn an_inherited_admin_listener_that_others_can_reach_needs_public() {
    let site = Site::new();
    let through = ["sh", "-c", PASS_ON, "sh", "self", "admin"];
    let launch = |config: &str| {
        let listener = TcpListener::bind("0.0.0.0:0").expect("any address");
        let launch = Launch::of(site.root()).through(&through, OwnedFd::from(listener));
        launch.config(config)
    };
    let refused = launch("").run();
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("needs admin.public = true"),
        "{}",
        refused.stderr
    );
    let server = launch("admin.public = true").start();
    server.wait_for("admin on http://0.0.0.0:");
}

/// Slow requests are kept only if there is an admin listener, which shows them. It need not be in the configuration.
#[test]
fn slow_requests_are_kept_for_an_inherited_admin_listener_also_after_a_reload() {
    let site = Site::new();
    let length = 8 << 20;
    for name in ["before.bin", "after.bin"] {
        site.write(name, vec![b'x'; length]);
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let through = ["sh", "-c", PASS_ON, "sh", "self", "admin"];
    let launch = Launch::of(site.root()).through(&through, OwnedFd::from(listener));
    let server = launch.start();
    let admin = Admin::of(&server);
    let mut client = server.connect();
    for target in ["/before.bin", "/after.bin"] {
        client.send(request("GET", target, ""));
        assert_eq!(client.head().status, 200);
        thread::sleep(Duration::from_millis(100));
        client.read_body(length);
        until("the request is noted", || {
            let slowest = &admin.json("/status.json")["requests"]["slowest"];
            slowest.to_string().contains(target)
        });
        server.signal(Signal::HUP);
        server.wait_for("abide: reloaded");
    }
}

/// sd_listen_fds(3): without the right LISTEN_PID the variables are for another process.
#[test]
fn sockets_for_another_process_are_left_alone() {
    let site = Site::new();
    for (pid, named) in [
        ("1", "LISTEN_PID is 1, not "),
        ("missing", "LISTEN_PID is missing, not "),
        ("", "LISTEN_PID is , not "),
        ("one", "LISTEN_PID is one, not "),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let server = launch(&site.root(), listener.into(), pid).start();
        assert_ne!(server.address(), address);
        assert!(server.connect().get("/").persists());
        let said = server.stderr();
        assert!(said.contains(named) && said.contains("WARN"), "{said}");
    }
}

#[test]
fn what_does_not_listen_is_refused_with_a_sentence() {
    let file = File::open("/dev/null").expect("/dev/null");
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let connected = TcpStream::connect(address).expect("connect");
    for passed in [OwnedFd::from(file), OwnedFd::from(connected)] {
        let output = refusal(passed);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with("abide: LISTEN_FDS: "), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
