//! The simulated clients over TLS.

use std::io::{self, Write};
use std::net::TcpStream;

use super::wire::{ClientStream, Protocol};
use crate::connection::tls::{TlsClient, TlsClientStream};

impl Protocol for TlsClient {
    fn begin(&self, socket: TcpStream) -> io::Result<Box<dyn ClientStream>> {
        Ok(Box::new(self.connect(socket)?))
    }
}

impl ClientStream for TlsClientStream {
    fn socket(&self) -> &TcpStream {
        TlsClientStream::socket(self)
    }

    fn sender(&self) -> io::Result<Box<dyn Write + Send>> {
        Ok(Box::new(self.try_clone()?))
    }
}
