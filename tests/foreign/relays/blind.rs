//! A proxy from the time before persistent connections.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::hop::{self, Head, Hop};

/// An HTTP/1.0 proxy that forwards every field, `Connection: keep-alive` included. For it an answer ends
/// only when the server closes. Until then it reads nothing more from its client.
pub struct BlindRelay {
    hop: Hop,
    relayed: Arc<AtomicUsize>,
}

impl BlindRelay {
    /// A relay to `next` that adds `mark`, a field line without its end, unless that is empty.
    pub fn to(next: SocketAddr, mark: &'static str) -> BlindRelay {
        let relayed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&relayed);
        let hop = Hop::accepting(move |client| {
            if relay(client, next, mark).is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        BlindRelay { hop, relayed }
    }

    pub fn address(&self) -> SocketAddr {
        self.hop.address
    }

    /// The number of answers that it has relayed completely.
    pub fn relayed(&self) -> usize {
        self.relayed.load(Ordering::SeqCst)
    }
}

/// Relays one request and one answer, on one connection on each side.
fn relay(mut client: TcpStream, next: SocketAddr, mark: &str) -> io::Result<()> {
    let Some(mut head) = Head::read(&mut client, &mut Vec::new())? else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    // The relay sends its own version (RFC 9110 section 2.5), and forwards the rest unchanged.
    if let Some(target) = head.start.strip_suffix(" HTTP/1.1") {
        head.start = format!("{target} HTTP/1.0");
    }
    if let Some((name, value)) = mark.split_once(": ") {
        head.push(name, value);
    }
    let mut server = hop::connect(next)?;
    server.write_all(head.encode().as_bytes())?;
    let mut some = Vec::new();
    while hop::receive(&mut server, &mut some)? > 0 {
        client.write_all(&some)?;
        some.clear();
    }
    client.shutdown(Shutdown::Both)
}
