//! The part of a service manager: it holds the listening socket, and each server that it starts gets the
//! socket as descriptor 3 (sd_listen_fds(3)).

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use support::server::program;
use support::until;

/// LISTEN_PID is the server's process ID, known only after its start: the shell that sets the variable
/// becomes the server. The shell gets the socket as standard input.
const PASS: &str = "export LISTEN_PID=$$ LISTEN_FDS=1; exec 3<&0 </dev/null || exit 9; exec \"$@\"";

/// A socket that listens even while no server runs.
pub struct PassedListener {
    socket: TcpListener,
}

/// A server that got the socket. If it has not ended, it is killed on drop.
pub struct PassedServer {
    child: Child,
    place: TempDir,
}

impl PassedListener {
    pub fn bind() -> PassedListener {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any_port.into()).expect("a free port");
        socket.listen(1024).expect("listen");
        PassedListener {
            socket: socket.into(),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("an address")
    }

    /// Starts a server with this configuration and waits until it reports that it listens.
    pub fn start(&self, root: &Path, config: &str) -> PassedServer {
        let place = TempDir::new().expect("a temporary directory");
        let file = place.path().join("abide.toml");
        fs::write(&file, config).expect("the configuration file");
        let said = File::create(place.path().join("stderr")).expect("a file for stderr");
        let socket = self.socket.try_clone().expect("another descriptor");
        let child = Command::new("sh")
            .args(["-c", PASS, "sh"])
            .arg(program())
            .arg("-c")
            .arg(file)
            .arg(root)
            .env_remove("RUST_LOG")
            .stdin(OwnedFd::from(socket))
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .expect("sh runs");
        let mut server = PassedServer { child, place };
        let listening = format!("listening on http://{}\n", self.address());
        until("the server listens", || {
            let ended = server.child.try_wait().expect("wait");
            assert!(ended.is_none(), "no start: {}", server.said());
            server.said().contains(&listening)
        });
        server
    }
}

impl PassedServer {
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the server can be signalled");
    }

    /// The server's output on standard error.
    pub fn said(&self) -> String {
        fs::read_to_string(self.place.path().join("stderr")).unwrap_or_default()
    }

    /// Waits for the end. Returns the exit status and all output on standard error.
    pub fn ended(mut self) -> (Option<i32>, String) {
        let mut status = None;
        until("the server ends", || {
            status = self.child.try_wait().expect("wait");
            status.is_some()
        });
        (status.and_then(|status| status.code()), self.said())
    }
}

impl Drop for PassedServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
