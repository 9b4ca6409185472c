//! An origin that follows the request's Connection field unconditionally.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};

use super::hop::{Head, Hop};

pub const BODY: &str = "the answer of the model\n";

/// Honours `Connection: keep-alive` of HTTP/1.0 from any peer: answers with the same field, and waits
/// for the next request.
pub struct ModelOrigin {
    hop: Hop,
}

impl ModelOrigin {
    pub fn start() -> ModelOrigin {
        let hop = Hop::accepting(|stream| {
            // The peer may have closed already.
            let _ = serve(stream);
        });
        ModelOrigin { hop }
    }

    pub fn address(&self) -> SocketAddr {
        self.hop.address
    }
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut received = Vec::new();
    while let Some(request) = Head::read(&mut stream, &mut received)? {
        let persists = request.has_option("keep-alive");
        let connection = if persists {
            "Connection: keep-alive\r\nKeep-Alive: timeout=120, max=99\r\n"
        } else {
            "Connection: close\r\n"
        };
        let answer = format!(
            "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             Content-Length: {}\r\n{connection}\r\n{BODY}",
            BODY.len()
        );
        stream.write_all(answer.as_bytes())?;
        if !persists {
            break;
        }
    }
    Ok(())
}
