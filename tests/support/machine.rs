//! A stand-in for another machine: a network namespace at the other end of a virtual cable.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace with a cable to this one. Drop removes it.
pub struct Machine {
    namespace: String,
    /// The names of the cable's ends, ours and the machine's.
    ends: [String; 2],
    /// The addresses of the cable's ends, from the range that RFC 2544 reserves for benchmarks.
    addresses: [Ipv4Addr; 2],
    /// Threads that delay the packets of a distant machine.
    _relays: Vec<Relay>,
}

impl Machine {
    /// A machine next to this one.
    pub fn new() -> Machine {
        let mut machine = Machine::without_cable();
        let [ours, theirs] = &machine.ends;
        let namespace = &machine.namespace;
        ip(&format!(
            "link add {ours} type veth peer name {theirs} netns {namespace}"
        ));
        machine.connect();
        machine
    }

    /// A machine from which an answer takes `round_trip`. Two cables end at a relay that passes packets on
    /// unchanged: the two kernels make the handshakes, whose packets are delayed like all others.
    ///
    /// `tc qdisc add ... netem delay` would do the same, if the kernel has it.
    pub fn distant(round_trip: Duration) -> Machine {
        let mut machine = Machine::without_cable();
        let [ours, theirs] = machine.ends.clone();
        let namespace = machine.namespace.clone();
        let taps = [
            (&ours, String::new()),
            (&theirs, format!(" netns {namespace}")),
        ];
        let taps = taps.map(|(end, place)| {
            let (far, tap) = (format!("{end}f"), format!("{end}t"));
            ip(&format!(
                "link add name {far} type veth peer name {end}{place}"
            ));
            // This end only passes frames on: it must not answer ARP for the addresses of this machine.
            ip(&format!("link set {far} up arp off"));
            ip(&format!(
                "link add link {far} name {tap} type macvtap mode passthru"
            ));
            ip(&format!("link set {tap} up arp off"));
            open_tap(&tap)
        });
        let [near, far] = &taps;
        machine._relays = [(near, far), (far, near)]
            .map(|(from, to)| Relay::start(from, to, round_trip / 2))
            .into();
        machine.connect();
        machine
    }

    fn without_cable() -> Machine {
        static MACHINES: AtomicU32 = AtomicU32::new(0);
        let number = MACHINES.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        // Four addresses for each network in 198.18.0.0/15.
        let network = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + (pid * 8 + number) % (1 << 15) * 4;
        let machine = Machine {
            namespace: format!("abide-{pid}-{number}"),
            ends: ["s", "c"].map(|end| format!("ab{pid}{end}{number}")),
            addresses: [network + 1, network + 2].map(Ipv4Addr::from),
            _relays: Vec::new(),
        };
        ip(&format!("netns add {}", machine.namespace));
        machine
    }

    /// Gives the ends of the cable their addresses.
    fn connect(&mut self) {
        let [ours, theirs] = &self.ends;
        ip(&format!("address add {}/30 dev {ours}", self.addresses[0]));
        ip(&format!("link set {ours} up"));
        ip(&format!("-n {} link set {theirs} up", self.namespace));
        self.appear();
    }

    /// The address at which the machine reaches a server on this one.
    pub fn server_address(&self) -> Ipv4Addr {
        self.addresses[0]
    }

    /// Gives the machine its address.
    pub fn appear(&self) {
        let (address, end) = (self.addresses[1], &self.ends[1]);
        ip(&format!(
            "-n {} address add {address}/30 dev {end}",
            self.namespace
        ));
    }

    /// Takes the address away: packets to it are dropped, and nothing can be sent from it. The machine's
    /// sockets are not told.
    pub fn vanish(&self) {
        ip(&format!(
            "-n {} address flush dev {}",
            self.namespace, self.ends[1]
        ));
    }

    /// Runs `start` on the machine: the sockets that it opens stay there.
    pub fn run<R: Send>(&self, start: impl FnOnce() -> R + Send) -> R {
        let namespace = File::open(format!("/run/netns/{}", self.namespace)).expect("a namespace");
        let enter_and_start = || {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), network).expect("setns, as root");
            start()
        };
        // A thread of its own, so that nothing else moves into the namespace.
        let result = thread::scope(|scope| scope.spawn(enter_and_start).join());
        result.expect("the machine's thread does not panic")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Deleting one end removes a cable, even if a socket keeps the namespace alive.
        let [ours, theirs] = &self.ends;
        for arguments in [
            format!("link delete {ours}"),
            // The link of a distant machine; otherwise there is none.
            format!("link delete {theirs}f"),
            format!("netns delete {}", self.namespace),
        ] {
            let _ = Command::new("ip").args(arguments.split(' ')).output();
        }
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.expect("the command ip, of the package iproute2");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments} (as root): {said}");
}

/// The device of a macvtap link. A frame written to it leaves by the lower link. A frame that arrives there
/// is read from it, after a header of the kernel's (virtio_net_hdr).
fn open_tap(link: &str) -> Arc<File> {
    let index = std::fs::read_to_string(format!("/sys/class/net/{link}/ifindex"));
    let device = format!("/dev/tap{}", index.expect("a link").trim());
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options.custom_flags(OFlags::NONBLOCK.bits() as i32);
    Arc::new(
        options
            .open(&device)
            .expect("a device for the link, as root"),
    )
}

/// Two threads that take the frames from one device and write them to another after a delay. Drop ends
/// them.
struct Relay {
    stopping: Arc<AtomicBool>,
}

impl Relay {
    fn start(from: &Arc<File>, to: &Arc<File>, delay: Duration) -> Relay {
        let stopping = Arc::new(AtomicBool::new(false));
        let (told, from, to) = (Arc::clone(&stopping), Arc::clone(from), Arc::clone(to));
        let (frames, due) = mpsc::channel();
        thread::spawn(move || take_frames(&told, &from, delay, &frames));
        thread::spawn(move || put_frames(&to, &due));
        Relay { stopping }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

fn take_frames(
    stopping: &AtomicBool,
    mut from: &File,
    delay: Duration,
    frames: &Sender<(Instant, Vec<u8>)>,
) {
    let patience = Timespec {
        tv_sec: 0,
        tv_nsec: 100_000_000,
    };
    let mut buffer = vec![0; 128 * 1024];
    while !stopping.load(Ordering::Relaxed) {
        let mut readable = [PollFd::new(from, PollFlags::IN)];
        let _ = poll(&mut readable, Some(&patience));
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let _ = frames.send((Instant::now() + delay, buffer[..count].to_vec()));
        }
    }
}

fn put_frames(mut to: &File, due: &Receiver<(Instant, Vec<u8>)>) {
    for (at, frame) in due {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        // A frame for which the other side has no room is lost, as on any network.
        let _ = to.write(&frame);
    }
}
