//! TCP handshakes that have begun when a listener closes: a filter lets them complete.
//!
//! A client is connected once it has our SYN-ACK. Its ACK, and mostly its request with it, take another
//! half round trip to arrive. If the listener closes meanwhile, the kernel answers them with a reset, and
//! the client loses a request on an established connection. With a round trip of 100 ms this affects every
//! connection whose SYN came in the last 100 ms.
//!
//! So before a listener closes, a filter (socket(7), SO_ATTACH_FILTER) drops each SYN. For
//! `shutdown.handshakes` seconds, handshakes that have begun complete and are accepted. A client whose SYN
//! was dropped sends it again after a second (RFC 6298 section 2), and then reaches the successor or a
//! closed port.
//!
//! Recent kernels (6.18 with later corrections) let only a process with CAP_NET_ADMIN attach a filter to a TCP
//! socket, so a server with few rights may not. It then sets the highest minimum TTL (ip(7), IP_MINTTL), which
//! needs no right. The kernel compares it with each packet to the listener itself: a SYN, but not the ACK of a
//! handshake that has begun. Accepted sockets inherit the minimum, and it is taken away again when they are
//! accepted. A request that arrives before that is dropped, and the client's kernel sends it again.
//!
//! The filter belongs to the socket, not to the descriptor. Other processes may hold a socket that was
//! passed to this process (LISTEN_FDS), and with a filter they would get no connections any more. Such a
//! socket needs no filter: its next holder accepts the connections that complete later. A unix socket has
//! no handshake.

use std::io;

use socket2::{SockFilter, SockRef};

use super::listener::Listener;

/// The offset of the flags in a TCP header (RFC 9293 section 3.1). A filter of a TCP socket sees the packet
/// from that header on.
const FLAGS_AT: u32 = 13;
const SYN: u32 = 0x02;
const ACK: u32 = 0x10;

// Instructions of the classic packet filter (linux/bpf_common.h).
const LOAD_BYTE: u16 = 0x30;
const AND: u16 = 0x54;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

const DROP: u32 = 0;
const KEEP_ALL: u32 = u32::MAX;

/// Drops packets that begin a handshake: SYN without ACK.
const NO_NEW_HANDSHAKES: [SockFilter; 5] = [
    SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_AT),
    SockFilter::new(AND, 0, 0, SYN | ACK),
    SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
    SockFilter::new(RETURN, 0, 0, DROP),
    SockFilter::new(RETURN, 0, 0, KEEP_ALL),
];

/// Drops all further SYN packets of `listener`, for good.
///
/// Connections that the listener accepts from now on inherit the filter. It changes nothing for them, as an
/// established connection needs no SYN.
///
/// # Errors
/// If the kernel does not take the filter (ENOMEM: net.core.optmem_max).
pub fn refuse_new(listener: &Listener) -> io::Result<()> {
    match SockRef::from(listener).attach_filter(&NO_NEW_HANDSHAKES) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => listener.refuse_low_ttl(),
        attached => attached,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{SocketAddr, TcpStream};
    use std::time::Duration;

    use crate::config::{Config, ListenAddress};

    fn listener(address: &str, event_loops: usize) -> (Vec<Listener>, SocketAddr) {
        let any = ListenAddress::tcp(address.parse().expect("address"));
        let config = Config::default();
        let listeners = Listener::bind_for(event_loops, &any, &config).expect("bind");
        let address = listeners[0].address.tcp_address();
        (listeners, address.expect("TCP"))
    }

    /// Refuses new handshakes by `refuse`, while 30 connections wait to be accepted.
    fn expect_no_others(address: &str, refuse: fn(&Listener) -> io::Result<()>) {
        let (listeners, address) = listener(address, 3);
        let connected: Vec<_> = (0..30)
            .map(|_| TcpStream::connect(address).expect("connect"))
            .collect();
        for listener in &listeners {
            assert!(listener.takes_filter);
            refuse(listener).expect("refused from now on");
        }
        let timeout = Duration::from_millis(100);
        let error = TcpStream::connect_timeout(&address, timeout).expect_err("dropped");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "no answer at all");
        let accepted = listeners.iter().flat_map(|listener| {
            let one_of_all = |_: usize| listener.accept().ok();
            (0..).map_while(one_of_all)
        });
        let accepted: Vec<_> = accepted.collect();
        assert_eq!(accepted.len(), connected.len());
        drop(accepted);
        for mut client in connected {
            let patience = Some(Duration::from_secs(20));
            client.set_read_timeout(patience).expect("a timeout");
            let mut end = [0];
            assert_eq!(client.read(&mut end).expect("an orderly end"), 0);
        }
        drop(listeners);
        let error = TcpStream::connect_timeout(&address, timeout).expect_err("closed");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_filtered_listener_keeps_established_connections_and_takes_no_others() {
        expect_no_others("127.0.0.1:0", refuse_new);
        expect_no_others("[::1]:0", refuse_new);
    }

    #[test]
    fn so_does_a_listener_with_a_minimum_ttl() {
        expect_no_others("127.0.0.1:0", Listener::refuse_low_ttl);
        expect_no_others("[::1]:0", Listener::refuse_low_ttl);
    }
}
