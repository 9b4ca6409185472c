//! Many misbehaving peers at once, and the resources that the server must release when they are gone.

use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use super::counters::closes;
use super::{Client, InProcess, PATIENCE, Server, until};

/// Bytes in a segment, as across a network, rather than the 64 KiB of the loopback. The kernel sizes the
/// server's send buffer by it, so a thousand stuck downloads stay small.
const SEGMENT_BYTES: u32 = 536;

/// How long a polite client may wait while a crowd misbehaves, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Returns `wanted`, or less where the hard limit of descriptors is low. Raises the soft limit to the hard
/// one. A peer and its server in the same process take two descriptors, and several tests run at a time.
pub fn crowd_size(wanted: usize) -> usize {
    let hard = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: hard,
        maximum: hard,
    };
    setrlimit(Resource::Nofile, raised).expect("the soft limit can be as high as the hard one");
    let possible = hard.map_or(wanted, |hard| usize::try_from(hard / 20).unwrap_or(wanted));
    assert!(
        possible >= 200,
        "a crowd needs more descriptors than {hard:?}"
    );
    wanted.min(possible)
}

/// A connection that never waits: each call acts at once, or does nothing.
pub struct CrowdPeer {
    socket: Socket,
}

impl CrowdPeer {
    pub fn connect(address: SocketAddr) -> CrowdPeer {
        CrowdPeer::new(address, |_| {})
    }

    /// Connects from an address of the loopback network: each address has ports of its own.
    pub fn connect_from(ip: Ipv4Addr, address: SocketAddr) -> CrowdPeer {
        CrowdPeer::new(address, |socket| {
            let any_port = SocketAddr::from((ip, 0));
            socket.bind(&any_port.into()).expect("a free port");
        })
    }

    /// A peer with a small receive buffer: its kernel takes little that the peer has not read.
    pub fn connect_narrow(address: SocketAddr) -> CrowdPeer {
        CrowdPeer::new(address, |socket| {
            socket.set_recv_buffer_size(4096).expect("SO_RCVBUF");
            socket.set_tcp_mss(SEGMENT_BYTES).expect("TCP_MAXSEG");
        })
    }

    fn new(address: SocketAddr, prepare: impl Fn(&Socket)) -> CrowdPeer {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        prepare(&socket);
        socket
            .connect_timeout(&address.into(), PATIENCE)
            .expect("the server accepts");
        // Bytes that are sent separately are to arrive separately.
        socket.set_tcp_nodelay(true).expect("TCP_NODELAY");
        socket.set_nonblocking(true).expect("non-blocking");
        CrowdPeer { socket }
    }

    /// Sends a few bytes. Errors are ignored: if the server has closed already, tests look at what it sent
    /// before.
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        let _ = (&self.socket).write(bytes.as_ref());
    }

    /// Closes the sending side.
    pub fn half_close(&self) {
        self.socket.shutdown(Shutdown::Write).expect("shutdown");
    }

    /// Reads at most `count` of the bytes that have arrived.
    pub fn sip(&self, count: usize) {
        let _ = (&self.socket).read(&mut vec![0; count]);
    }

    /// Whether bytes or an end have arrived. Takes nothing.
    pub fn is_told_something(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        match self.socket.peek(&mut byte) {
            Ok(_) => true,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }

    /// Whether the server has reset the connection: then the socket has no peer address.
    pub fn is_reset(&self) -> bool {
        self.socket.peer_addr().is_err()
    }

    /// Reads all that has arrived; `None` if the server's FIN has not.
    pub fn rest(&self) -> Option<String> {
        let mut got = Vec::new();
        let end = (&self.socket).read_to_end(&mut got);
        end.ok().map(|_| String::from_utf8_lossy(&got).into_owned())
    }
}

/// Expects that the polite client is served while the others misbehave. Connections get their turns in the
/// order in which they became ready, so the server has then also seen what the others sent before.
pub fn expect_served_at_once(polite: &mut Client) {
    let start = Instant::now();
    polite.expect_usable();
    let took = start.elapsed();
    assert!(took < AT_ONCE, "a polite client waits for {took:?}");
}

/// Lets `millis` pass for the server in steps of at most a second. Before each step the server has handled
/// what the crowd sent before.
pub fn pass_politely(server: &InProcess, polite: &mut Client, millis: u64) {
    let mut left = millis;
    while left > 0 {
        let step = left.min(1_000);
        expect_served_at_once(polite);
        server.pass(step);
        left -= step;
    }
    expect_served_at_once(polite);
}

/// Runs the same round of bad peers several times, and expects the server to have released everything after
/// each. An allocator keeps some memory for the next crowd, so memory is compared with that after the first
/// round: a leak per connection shows in the later rounds.
pub fn expect_all_given_back(server: &Server, rounds: u32, mut round: impl FnMut(u32)) {
    server.connect().expect_usable();
    until("only the server's own are open", || {
        closes(server, "client_closed") > 0
    });
    let descriptors = server.descriptors();
    let mut first_kib = 0;
    for number in 1..=rounds {
        round(number);
        until("all descriptors are given back", || {
            server.descriptors() <= descriptors
        });
        let kib = server.resident_kib();
        println!("round {number}: {kib} KiB resident, {descriptors} descriptors");
        if number == 1 {
            first_kib = kib;
        }
        assert!(
            kib <= first_kib + KEPT_KIB,
            "{kib} KiB after round {number}, {first_kib} KiB after the first"
        );
    }
}

/// How much more memory a round may leave than the first, because its events come in another order.
const KEPT_KIB: u64 = 1024;
