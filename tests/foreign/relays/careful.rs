//! A proxy that follows RFC 9110 section 7.6 and RFC 9112 section 9, for requests without bodies.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use super::hop::{self, Head, Hop};

/// The hint for the relay's clients, independent of the origin's hint for the relay.
pub const HINT: (u32, u32) = (7, 99);

/// Fields for one hop only, which are not forwarded even if `Connection` does not list them (RFC 9110
/// section 7.6.1).
const HOP_BY_HOP: [&str; 7] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// An HTTP/1.1 proxy with persistent connections on either side, independent of each other.
pub struct CarefulRelay {
    hop: Hop,
}

/// A connection to the next hop. It is in the pool while it carries no request.
struct Upstream {
    stream: TcpStream,
    received: Vec<u8>,
}

/// An answer to forward.
struct Answer {
    head: Head,
    body: Vec<u8>,
}

impl CarefulRelay {
    pub fn to(next: SocketAddr) -> CarefulRelay {
        let pool = Arc::new(Mutex::new(Vec::new()));
        let hop = Hop::accepting(move |client| {
            // A client that disconnects affects only its own connection.
            let _ = relay(client, next, &pool);
        });
        CarefulRelay { hop }
    }

    pub fn address(&self) -> SocketAddr {
        self.hop.address
    }
}

fn relay(mut client: TcpStream, next: SocketAddr, pool: &Mutex<Vec<Upstream>>) -> io::Result<()> {
    let mut received = Vec::new();
    while let Some(mut request) = Head::read(&mut client, &mut received)? {
        let (line, version) = request
            .start
            .rsplit_once(' ')
            .ok_or(io::ErrorKind::InvalidData)?;
        let is_head = line.starts_with("HEAD ");
        // RFC 9112 section 9.3: persistent by default in 1.1, on request in 1.0.
        let persists = !request.has_option("close")
            && (version == "HTTP/1.1" || request.has_option("keep-alive"));
        // RFC 9110 section 7.6.3: Via names the version of the received message.
        let via = version.replace("HTTP/", "") + " careful";
        request.start = format!("{line} HTTP/1.1");
        strip(&mut request);
        request.push("Via", via);

        let pooled = pool.lock().expect("no relay panics").pop();
        let mut upstream = pooled.map_or_else(|| Upstream::connect(next), Ok)?;
        let (mut answer, reusable) = upstream.exchange(&request, is_head)?;
        if reusable {
            pool.lock().expect("no relay panics").push(upstream);
        }

        strip(&mut answer.head);
        answer.head.push("Via", "1.1 careful");
        if persists {
            answer.head.push("Connection", "keep-alive");
            let hint = format!("timeout={}, max={}", HINT.0, HINT.1);
            answer.head.push("Keep-Alive", hint);
        } else {
            answer.head.push("Connection", "close");
        }
        client.write_all(answer.head.encode().as_bytes())?;
        client.write_all(&answer.body)?;
        if !persists {
            break;
        }
    }
    Ok(())
}

/// Removes the fields for this hop only: those above, and those that `Connection` lists.
fn strip(head: &mut Head) {
    let listed = head.list("connection");
    head.fields.retain(|(name, _)| {
        let name = name.to_ascii_lowercase();
        !HOP_BY_HOP.contains(&name.as_str()) && !listed.contains(&name)
    });
}

impl Upstream {
    fn connect(next: SocketAddr) -> io::Result<Upstream> {
        Ok(Upstream {
            stream: hop::connect(next)?,
            received: Vec::new(),
        })
    }

    /// Sends a request and reads its answer. Returns also whether the connection can be used again.
    fn exchange(&mut self, request: &Head, is_head: bool) -> io::Result<(Answer, bool)> {
        self.stream.write_all(request.encode().as_bytes())?;
        let head = Head::read(&mut self.stream, &mut self.received)?
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.start.split(' ').nth(1).unwrap_or_default();
        // RFC 9112 section 6.3: these may have a length, but have no body.
        let is_empty = is_head || ["204", "304"].contains(&status);
        let length = if is_empty {
            0
        } else {
            let length = head.list("content-length");
            let length = length.first().ok_or(io::ErrorKind::InvalidData)?;
            length.parse().map_err(|_| io::ErrorKind::InvalidData)?
        };
        while self.received.len() < length {
            if hop::receive(&mut self.stream, &mut self.received)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let body = self.received.drain(..length).collect();
        let reusable = !head.has_option("close") && self.received.is_empty();
        Ok((Answer { head, body }, reusable))
    }
}
