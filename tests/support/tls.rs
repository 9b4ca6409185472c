//! A certificate for any server, and TLS clients over sockets that trust it.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::kx_group::{X25519, X25519MLKEM768};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::PATIENCE;
use super::authority::{Authority, CertificateFiles};

/// A TLS connection of a client over a blocking socket.
pub type SecureStream = StreamOwned<ClientConnection, TcpStream>;

/// How the client and the server agree on a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyExchange {
    /// X25519, which every server has.
    X25519,
    /// X25519 combined with ML-KEM-768 if the server has it, or else X25519. The current browsers offer this.
    PostQuantum,
}

/// A certificate for this machine with an ECDSA key on P-256, and the authority that has issued it. Drop removes
/// their files.
pub struct Certificate {
    authority: Authority,
    files: CertificateFiles,
}

impl Certificate {
    pub fn new() -> Certificate {
        let authority = Authority::new();
        let files = authority.issue_local();
        Certificate { authority, files }
    }

    /// Replaces `{certificate}` and `{key}` in a configuration by the paths of the files.
    pub fn fill(&self, config: &str) -> String {
        config
            .replace("{certificate}", &self.files.certificate.to_string_lossy())
            .replace("{key}", &self.files.key.to_string_lossy())
    }

    /// A client that speaks TLS 1.3 alone, trusts the authority alone, and resumes no session.
    pub fn client(&self, key_exchange: KeyExchange) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_file(self.authority.root()).expect("a certificate");
        roots.add(root).expect("a certificate of an authority");
        let kx_groups = match key_exchange {
            KeyExchange::X25519 => vec![X25519],
            KeyExchange::PostQuantum => vec![X25519MLKEM768, X25519],
        };
        let provider = CryptoProvider {
            kx_groups,
            ..aws_lc_rs::default_provider()
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(provider));
        let builder = builder.with_protocol_versions(&[&TLS13]);
        let mut config = builder
            .expect("TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        config
    }
}

/// Connects to the server, and makes the handshake.
///
/// # Errors
/// The server does not accept the connection, or the handshake fails.
pub fn connect(server: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<SecureStream> {
    let socket = TcpStream::connect(server)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    handshake(socket, config)
}

/// Makes the handshake on a connection.
///
/// # Errors
/// The handshake fails.
pub fn handshake(socket: TcpStream, config: &Arc<ClientConfig>) -> io::Result<SecureStream> {
    let mut stream = SecureStream::new(session(config), socket);
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(stream)
}

/// The client's side of a new connection to localhost.
pub fn session(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(Arc::clone(config), name).expect("a usable configuration")
}

/// Reads one answer that has a Content-Length, from a server that sends nothing after it.
///
/// # Errors
/// The connection ends or breaks before the end of the answer.
pub fn read_answer(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while !is_whole(&answer) {
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => answer.extend_from_slice(&piece[..count]),
        }
    }
    Ok(answer)
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = memchr::memmem::find(answer, b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let mut lines = head.lines();
    let length = lines.find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    answer.len() >= end + 4 + length.unwrap_or(0)
}
