//! The messages that a service manager such as systemd receives (sd_notify(3)).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process;

use rustix::process::Signal;
use support::{Launch, PATIENCE, Server, Site};

/// A service manager that listens at a path, or at an abstract name.
struct Manager {
    socket: UnixDatagram,
    name: String,
}

impl Manager {
    fn at(path: &Path) -> Manager {
        let socket = UnixDatagram::bind(path).expect("a socket");
        Manager::of(socket, path.to_str().expect("UTF-8").to_owned())
    }

    fn abstract_one() -> Manager {
        let name = format!("abide-service-manager-{}", process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a short name");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        Manager::of(socket, format!("@{name}"))
    }

    fn of(socket: UnixDatagram, name: String) -> Manager {
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Manager { socket, name }
    }

    fn start(&self, launch: Launch) -> Server {
        launch.env("NOTIFY_SOCKET", &self.name).start()
    }

    /// The next message.
    fn heard(&self) -> String {
        let mut buffer = [0; 4096];
        let count = self.socket.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }
}

#[test]
fn start_reload_and_end_are_told() {
    let site = Site::new();
    let manager = Manager::at(&site.beside("notify"));
    let server = manager.start(Launch::of(site.root()).config(""));
    assert_eq!(manager.heard(), "READY=1\nSTATUS=serving");
    let mut client = server.connect();
    client.expect_usable();

    server.reload("hidden = true");
    let reloading = manager.heard();
    let stamp = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
    let stamp = stamp.and_then(|micros| micros.parse::<u64>().ok());
    assert!(stamp.is_some_and(|micros| micros > 0), "{reloading}");
    assert_eq!(manager.heard(), "READY=1\nSTATUS=serving, reloaded");

    server.reload("hidden = 3");
    assert!(manager.heard().starts_with("RELOADING=1\n"));
    let refused = manager.heard();
    assert!(refused.starts_with("READY=1\nSTATUS=serving, reload refused: "));
    assert!(refused.contains("abide.toml:1: hidden: "), "{refused}");

    server.signal(Signal::TERM);
    assert_eq!(manager.heard(), "STOPPING=1");
    let draining = "STATUS=draining, waiting for 1 connection\nEXTEND_TIMEOUT_USEC=15000000";
    assert_eq!(manager.heard(), draining);
    assert_eq!(manager.heard(), draining, "again after a second");
    drop(client);
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn an_abstract_socket_and_a_watchdog_work() {
    let site = Site::new();
    let manager = Manager::abstract_one();
    let launch = Launch::of(site.root())
        .config("event_loops = 2")
        .env("WATCHDOG_USEC", "400000");
    let server = manager.start(launch);
    assert!(manager.heard().starts_with("READY=1\n"));
    for _ in 0..5 {
        assert_eq!(manager.heard(), "WATCHDOG=1", "an idle server answers too");
    }
    server.connect().expect_usable();
}

#[test]
fn a_watchdog_of_another_process_is_not_answered() {
    let site = Site::new();
    let manager = Manager::at(&site.beside("notify"));
    let launch = Launch::of(site.root())
        .env("WATCHDOG_USEC", "1000")
        .env("WATCHDOG_PID", "1");
    let server = manager.start(launch);
    assert!(manager.heard().starts_with("READY=1\n"));
    server.signal(Signal::TERM);
    assert_eq!(manager.heard(), "STOPPING=1");
}

#[test]
fn an_address_that_is_none_is_a_warning_and_a_manager_that_is_gone_no_harm() {
    let site = Site::new();
    let server = Launch::of(site.root())
        .env("NOTIFY_SOCKET", "vsock:2:1234")
        .start();
    server.wait_for("abide: warning: NOTIFY_SOCKET is not used: ");
    let nobody = site.beside("nobody");
    let server = Launch::of(site.root())
        .env("NOTIFY_SOCKET", nobody.to_str().expect("UTF-8"))
        .start();
    server.connect().expect_usable();
}
