//! A client with TLS, for the self-test of a server.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

/// A client that does not check certificates: the self-test is about the server in its own process. Each connection
/// has a full handshake.
#[derive(Debug, Clone)]
pub struct TlsClient(Arc<ClientConfig>);

impl TlsClient {
    /// A client.
    ///
    /// # Errors
    /// None that a peer or a configuration can cause.
    pub fn new() -> io::Result<TlsClient> {
        let provider = Arc::new(default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let verifier = Arc::new(AnyCertificate::new(provider));
        let mut config = builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsClient(Arc::new(config)))
    }

    /// Shakes hands over `socket`, which must block.
    ///
    /// # Errors
    /// If the server does not speak TLS, or the connection is broken.
    pub fn connect(&self, socket: TcpStream) -> io::Result<TlsClientStream> {
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let mut session =
            ClientConnection::new(Arc::clone(&self.0), name).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut &socket)?;
        }
        Ok(TlsClientStream {
            socket,
            session: Arc::new(Mutex::new(session)),
        })
    }
}

/// The client's end of a connection. It may have several handles, so that one thread can write while another one
/// reads.
#[derive(Debug)]
pub struct TlsClientStream {
    socket: TcpStream,
    session: Arc<Mutex<ClientConnection>>,
}

impl TlsClientStream {
    /// The socket, which carries records.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Another handle.
    ///
    /// # Errors
    /// If the process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<TlsClientStream> {
        Ok(TlsClientStream {
            socket: self.socket.try_clone()?,
            session: Arc::clone(&self.session),
        })
    }

    fn session(&self) -> MutexGuard<'_, ClientConnection> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_records(&self, session: &mut ClientConnection) -> io::Result<()> {
        while session.wants_write() {
            session.write_tls(&mut &self.socket)?;
        }
        Ok(())
    }
}

impl Read for TlsClientStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session().reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            // Another thread must be able to write during the wait, so nothing is locked here.
            self.socket.peek(&mut [0])?;
            let mut session = self.session();
            session.read_tls(&mut &self.socket)?;
            session.process_new_packets().map_err(io::Error::other)?;
            self.write_records(&mut session)?;
        }
    }
}

impl Write for TlsClientStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut session = self.session();
        let count = session.writer().write(bytes)?;
        self.write_records(&mut session)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_records(&mut self.session())
    }
}

/// Accepts every certificate, and checks the signatures of the handshake. Only for clients that test a server.
#[derive(Debug)]
pub struct AnyCertificate(Arc<CryptoProvider>);

impl AnyCertificate {
    /// A verifier with the signature algorithms of `provider`.
    #[must_use]
    pub fn new(provider: Arc<CryptoProvider>) -> AnyCertificate {
        AnyCertificate(provider)
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
