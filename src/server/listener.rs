//! Listening sockets: how they are made, and which options accepted sockets inherit.

use std::env;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use listenfd::ListenFd;
use rustix::net::{SocketAddrAny, SocketFlags};
use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};

use super::socket_file::{self, SocketFile};
use crate::config::{Config, Endpoint, ListenAddress, TcpKeepAlive};
use crate::connection::c_calls;
use crate::connection::peer::Peer;
use crate::connection::transport;

/// The length of the accept queue, which the kernel limits to net.core.somaxconn.
pub const BACKLOG: usize = 4096;

/// The number of the listeners of one address, the same in all event loops of a server. Never used again.
pub type ListenerId = u64;

/// The name of the admin listener in LISTEN_FDNAMES.
const ADMIN_NAME: &str = "admin";

/// The sockets that the process was started with.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Those for clients.
    pub for_clients: Vec<Listener>,
    /// The admin listener.
    pub admin: Option<Listener>,
}

/// A socket that accepts connections.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    /// The address in use, with port 0 replaced by the real port.
    pub address: ListenAddress,
    /// Whether other event loops accept from the same queue.
    pub is_shared: bool,
    /// Whether a filter may be attached to the socket ([`handshakes`](super::handshakes)): it is a TCP socket
    /// that no other process holds.
    pub takes_filter: bool,
    /// Whether accepted sockets inherit a minimum TTL ([`handshakes`](super::handshakes)).
    has_minimum_ttl: AtomicBool,
    /// Removes the file of a unix socket when it is dropped.
    file: Option<SocketFile>,
}

impl Listener {
    /// Binds and listens. `config` has the options of TCP sockets, and who may connect to unix sockets. Every
    /// accepted socket inherits the options set here (tcp(7)), so accepting needs no further calls.
    ///
    /// # Errors
    /// If the address is in use, not ours, or not permitted, or if a unix socket cannot get its group.
    pub fn bind(address: &ListenAddress, config: &Config) -> io::Result<Listener> {
        let listener = bound(address, config)?;
        listener.listen()?;
        Ok(listener)
    }

    /// Binds one listener for each event loop on one address. TCP sockets share the port (SO_REUSEPORT,
    /// socket(7)): each has its own accept queue, and the kernel assigns new connections by their addresses
    /// and ports. A unix socket has one queue, from which all loops accept.
    ///
    /// # Errors
    /// As for [`bind`](Listener::bind).
    pub fn bind_for(
        event_loops: usize,
        address: &ListenAddress,
        config: &Config,
    ) -> io::Result<Vec<Listener>> {
        let listeners = Listener::bound_for(event_loops, address, config)?;
        listeners.iter().try_for_each(Listener::listen)?;
        Ok(listeners)
    }

    /// As [`bind_for`](Listener::bind_for), but no client can connect before [`listen`](Listener::listen) is called.
    ///
    /// # Errors
    /// As for [`bind`](Listener::bind).
    pub fn bound_for(
        event_loops: usize,
        address: &ListenAddress,
        config: &Config,
    ) -> io::Result<Vec<Listener>> {
        let Some(wanted) = address.tcp_address() else {
            return bound(address, config)?.split(event_loops);
        };
        let probes = &config.tcp_keep_alive;
        let first = bind_tcp(wanted, probes, event_loops > 1)?;
        // The first socket has the real port.
        let bound = first.address.tcp_address().unwrap_or(wanted);
        let mut listeners = vec![first.speaking(address)];
        for _ in 1..event_loops {
            listeners.push(bind_tcp(bound, probes, true)?.speaking(address));
        }
        Ok(listeners)
    }

    /// Lets clients connect.
    ///
    /// # Errors
    /// As listen(2).
    pub fn listen(&self) -> io::Result<()> {
        self.socket.listen(BACKLOG as i32)
    }

    /// The listener, whose connections begin as those of `address` do.
    #[must_use]
    fn speaking(mut self, address: &ListenAddress) -> Listener {
        self.address.proxy_protocol = address.proxy_protocol;
        self.address.tls = address.tls;
        self
    }

    /// Duplicates this listener for `event_loops` in all. The duplicates share one accept queue
    /// ([`accepting`](super::accepting)).
    ///
    /// # Errors
    /// As dup(2).
    pub fn split(mut self, event_loops: usize) -> io::Result<Vec<Listener>> {
        self.is_shared = event_loops > 1;
        let mut listeners = Vec::with_capacity(event_loops);
        for _ in 1..event_loops {
            listeners.push(Listener {
                socket: self.socket.try_clone()?,
                address: self.address.clone(),
                is_shared: true,
                takes_filter: self.takes_filter,
                has_minimum_ttl: AtomicBool::new(false),
                file: None,
            });
        }
        listeners.insert(0, self);
        Ok(listeners)
    }

    /// Takes over the sockets that the process was started with, as systemd passes them: LISTEN_FDS is
    /// their number, LISTEN_PID the process that they are for (sd_listen_fds(3)). Usually there are none.
    /// Connections to a socket whose address is listed in `config.listen` begin as is said there. The socket that
    /// LISTEN_FDNAMES calls `admin` is the admin listener.
    ///
    /// A process also inherits variables meant for another one. If LISTEN_PID is not this process, the
    /// descriptors may be anything, and are left alone.
    ///
    /// The parent process may hold the sockets open and pass them to our successor. Connections that wait
    /// in the accept queues are then not lost between the two.
    ///
    /// # Errors
    /// If a descriptor is not a listening TCP or unix stream socket, or if two are called `admin`.
    pub fn inherited(config: &Config) -> io::Result<Inherited> {
        let mut inherited = Inherited::default();
        if !are_passed_to_us() {
            return Ok(inherited);
        }
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names: Vec<&str> = names.split(':').collect();
        let mut passed = ListenFd::from_env();
        for index in 0..passed.len() {
            let socket: Option<Socket> = match passed.take_tcp_listener(index) {
                Ok(listener) => listener.map(Socket::from),
                Err(_) => {
                    let listener = passed.take_unix_listener(index).map_err(|_| {
                        let complaint = "a descriptor is neither a TCP nor a unix stream socket";
                        io::Error::new(io::ErrorKind::InvalidInput, complaint)
                    })?;
                    listener.map(Socket::from)
                }
            };
            if let Some(socket) = socket {
                let listener = adopt(socket, &config.tcp_keep_alive)?;
                let is_same =
                    |listed: &&ListenAddress| listed.endpoint == listener.address.endpoint;
                let listener = match config.listen.iter().find(is_same) {
                    Some(listed) => listener.speaking(listed),
                    None => listener,
                };
                if names.get(index) != Some(&ADMIN_NAME) {
                    inherited.for_clients.push(listener);
                } else if inherited.admin.replace(listener).is_some() {
                    let complaint = "LISTEN_FDNAMES names more than one socket admin";
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, complaint));
                }
            }
        }
        Ok(inherited)
    }

    /// Removes the file of a unix socket. Connections in the accept queue stay there.
    pub fn unlink(&mut self) {
        self.file = None;
    }

    /// Takes over `config` after a reload: the options of TCP sockets that are accepted from now on. The access to
    /// unix sockets has changed before (`open_addresses`).
    ///
    /// # Errors
    /// As setsockopt(2).
    pub fn configure(&self, config: &Config) -> io::Result<()> {
        match &self.address.endpoint {
            Endpoint::Tcp(_) => set_inherited_options(&self.socket, &config.tcp_keep_alive),
            Endpoint::Unix(_) => Ok(()),
        }
    }

    /// Accepts one connection. Its socket is non-blocking and is closed on exec.
    ///
    /// # Errors
    /// As accept4(2).
    pub fn accept(&self) -> io::Result<(transport::Socket, Peer)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (fd, address): (OwnedFd, _) = rustix::net::acceptfrom_with(&self.socket, flags)?;
        if self.has_minimum_ttl.load(Ordering::Relaxed) {
            c_calls::set_minimum_ttl(fd.as_fd(), self.is_ipv6(), 0)?;
        }
        Ok((transport::Socket::new(fd), peer(address)))
    }

    /// Makes the kernel drop packets of new handshakes by their TTL, for good. The highest one passes, but the
    /// usual ones are 64 and 128.
    ///
    /// # Errors
    /// If this is no TCP socket.
    pub fn refuse_low_ttl(&self) -> io::Result<()> {
        c_calls::set_minimum_ttl(self.as_fd(), self.is_ipv6(), u8::MAX)?;
        self.has_minimum_ttl.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn is_ipv6(&self) -> bool {
        matches!(self.address.endpoint, Endpoint::Tcp(SocketAddr::V6(_)))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// A listener at `address` to which no client can connect yet.
fn bound(address: &ListenAddress, config: &Config) -> io::Result<Listener> {
    let listener = match &address.endpoint {
        Endpoint::Tcp(address) => bind_tcp(*address, &config.tcp_keep_alive, false),
        Endpoint::Unix(path) => bind_unix(path, config),
    };
    listener.map(|listener| listener.speaking(address))
}

fn bind_tcp(address: SocketAddr, probes: &TcpKeepAlive, shares_port: bool) -> io::Result<Listener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        None,
    )?;
    if address.is_ipv6() {
        // `[::]` and `0.0.0.0` can then be bound side by side, whatever the system's default is.
        socket.set_only_v6(true)?;
    }
    // A restart need not wait for old connections in TIME_WAIT. Two listeners still cannot share a port.
    socket.set_reuse_address(true)?;
    if shares_port {
        socket.set_reuse_port(true)?;
    }
    set_inherited_options(&socket, probes)?;
    socket.bind(&address.into())?;
    let bound = socket.local_addr()?.as_socket().unwrap_or(address);
    Ok(Listener {
        socket,
        address: ListenAddress::tcp(bound),
        is_shared: false,
        takes_filter: true,
        has_minimum_ttl: AtomicBool::new(false),
        file: None,
    })
}

/// Sets the options that every accepted TCP socket inherits.
fn set_inherited_options(socket: &Socket, probes: &TcpKeepAlive) -> io::Result<()> {
    // A head and its body are sent in one call, so waiting for more data gains nothing (RFC 9293 section
    // 3.7.4), and a reused connection would stall for a delayed ACK.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(transport::UNSENT_BYTES)?;
    let probes = TcpKeepalive::new()
        .with_time(Duration::from_secs(u64::from(probes.idle_secs)))
        .with_interval(Duration::from_secs(u64::from(probes.interval_secs)))
        .with_retries(probes.count);
    socket.set_tcp_keepalive(&probes)
}

/// Whether LISTEN_FDS is set and LISTEN_PID names this process.
fn are_passed_to_us() -> bool {
    if env::var_os("LISTEN_FDS").is_none() {
        return false;
    }
    let named = env::var("LISTEN_PID").ok();
    let own = process::id();
    let is_own = named.as_deref().and_then(|pid| pid.parse().ok()) == Some(own);
    if !is_own {
        log::warn!(
            "LISTEN_FDS is set, but LISTEN_PID is {}, not {own}: no socket is taken over",
            named.as_deref().unwrap_or("missing")
        );
    }
    is_own
}

/// Makes a listener of a socket that another process has bound.
fn adopt(socket: Socket, probes: &TcpKeepAlive) -> io::Result<Listener> {
    if !socket.is_listener()? {
        let complaint = format!("descriptor {} does not listen", socket.as_raw_fd());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, complaint));
    }
    // Other processes that hold the socket may share this flag. They have to expect that
    // (sd_listen_fds(3)).
    socket.set_nonblocking(true)?;
    let bound = socket.local_addr()?;
    let address = match bound.as_socket() {
        Some(address) => {
            set_inherited_options(&socket, probes)?;
            ListenAddress::tcp(address)
        }
        // A name in the abstract namespace has no path.
        None => ListenAddress::unix(bound.as_pathname().unwrap_or(Path::new("@"))),
    };
    Ok(Listener {
        socket,
        address,
        is_shared: false,
        takes_filter: false,
        has_minimum_ttl: AtomicBool::new(false),
        // The file belongs to the process that made the socket.
        file: None,
    })
}

fn bind_unix(path: &Path, config: &Config) -> io::Result<Listener> {
    socket_file::remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::of(path)?;
    // Nobody can connect before the call of listen, so the permissions that the umask gave harm nobody.
    socket_file::set_up(path, config)?;
    Ok(Listener {
        socket,
        address: ListenAddress::unix(path),
        is_shared: false,
        takes_filter: false,
        has_minimum_ttl: AtomicBool::new(false),
        file: Some(file),
    })
}

fn peer(address: Option<SocketAddrAny>) -> Peer {
    match address.map(SocketAddr::try_from) {
        Some(Ok(address)) => Peer::Ip(match address.ip() {
            IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4),
            ip @ IpAddr::V4(_) => ip,
        }),
        Some(Err(_)) | None => Peer::Unix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    fn config() -> Config {
        Config {
            tcp_keep_alive: TcpKeepAlive {
                idle_secs: 61,
                interval_secs: 7,
                count: 3,
            },
            ..Config::default()
        }
    }

    fn accepted(listener: &Listener) -> (transport::Socket, Peer) {
        loop {
            match listener.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                result => return result.expect("accept"),
            }
        }
    }

    #[test]
    fn accepted_sockets_inherit_the_probes_and_nodelay() {
        let any = "127.0.0.1:0".parse().expect("address");
        let listener = Listener::bind(&any, &config()).expect("bind");
        let address = listener.address.tcp_address().expect("TCP");
        assert_ne!(address.port(), 0);
        let _client = TcpStream::connect(address).expect("connect");
        let (socket, peer) = accepted(&listener);
        assert_eq!(peer, Peer::Ip(address.ip()));
        let socket = socket2::SockRef::from(&socket);
        assert!(socket.keepalive().expect("SO_KEEPALIVE"));
        assert!(socket.tcp_nodelay().expect("TCP_NODELAY"));
        assert_eq!(
            socket.tcp_keepalive_time().expect("TCP_KEEPIDLE"),
            Duration::from_secs(61)
        );
        assert_eq!(
            socket.tcp_keepalive_interval().expect("TCP_KEEPINTVL"),
            Duration::from_secs(7)
        );
        assert_eq!(socket.tcp_keepalive_retries().expect("TCP_KEEPCNT"), 3);
    }

    #[test]
    fn a_port_that_is_listened_on_is_in_use() {
        let any = "127.0.0.1:0".parse().expect("address");
        let listener = Listener::bind(&any, &config()).expect("bind");
        let error = Listener::bind(&listener.address, &config()).expect_err("in use");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn every_listener_of_an_address_speaks_what_it_says() {
        let place = tempfile::tempdir().expect("temporary directory");
        let path = place.path().join("abide.sock");
        for text in [
            "127.0.0.1:0".to_owned(),
            "proxy+http://127.0.0.1:0".to_owned(),
            format!("proxy+unix:{}", path.display()),
        ] {
            let address: ListenAddress = text.parse().expect("address");
            let listeners = Listener::bind_for(3, &address, &config()).expect("bind");
            assert_eq!(listeners.len(), 3);
            for listener in &listeners {
                assert_eq!(listener.address, listeners[0].address);
                assert_eq!(listener.address.proxy_protocol, address.proxy_protocol);
            }
        }
    }
}
