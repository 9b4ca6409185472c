//! A session with TLS, and a client of rustls at the other end. There are no sockets, and the test sets the time.

use std::io::{Read, Write};
use std::sync::Arc;

use abide::clock::Millis;
use abide::config::{Config, SiteConfig};
use abide::connection::client_socket::ClientSocket;
use abide::connection::counters::Counters;
use abide::connection::peer::Peer;
use abide::connection::server_context::ServerContext;
use abide::connection::session::{Outcome, Session, Turn};
use abide::connection::thread_buffers::ThreadBuffers;
use abide::connection::tls::{AnyCertificate, TlsContext};
use abide::site::{MayBlock, Sites};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tempfile::TempDir;

use crate::scripted::ScriptedPeer;
use crate::turns::at;

pub use rustls::SupportedProtocolVersion as Version;
pub use rustls::version::{TLS12, TLS13};

/// A client that trusts every server. It offers `version` alone.
#[must_use]
pub fn client(version: &'static rustls::SupportedProtocolVersion) -> Arc<ClientConfig> {
    let provider = Arc::new(default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let mut config = builder
        .with_protocol_versions(&[version])
        .expect("a version that rustls has")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate::new(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// A site with a certificate that is made in memory, and the buffers of one thread.
pub struct TlsServer {
    pub context: ServerContext,
    pub buffers: ThreadBuffers,
    pub counters: Arc<Counters>,
    site: TempDir,
}

impl TlsServer {
    /// A server with files of these names and contents, and with a `change` of the configuration.
    #[must_use]
    pub fn new(files: &[(&str, Vec<u8>)], change: impl FnOnce(&mut Config)) -> TlsServer {
        let site = TempDir::new().expect("a temporary directory");
        for (name, content) in files {
            std::fs::write(site.path().join(name), content).expect("a file");
        }
        let mut config = Config {
            site: SiteConfig::at(site.path()),
            listen: vec!["https://127.0.0.1:0".parse().expect("an address")],
            self_signed: true,
            ..Config::default()
        };
        change(&mut config);
        let sites = Sites::open(&config).expect("the site");
        let tls = TlsContext::open(&config, at(Millis(0))).expect("a certificate");
        let counters = Arc::new(Counters::default());
        TlsServer {
            buffers: ThreadBuffers::new(&config, Arc::clone(&counters)),
            context: ServerContext::new(config, sites).with_tls(tls),
            counters,
            site,
        }
    }

    /// Puts a `change` of the configuration in force.
    pub fn reload(&mut self, now: Millis, change: impl FnOnce(&mut Config)) {
        let mut config = self.context.config.clone();
        change(&mut config);
        let sites = Sites::open(&config).expect("the site");
        let tls = match self.context.tls_for_handshakes() {
            Some(tls) => tls.reopen(&config, at(now)),
            None => TlsContext::open(&config, at(now)),
        };
        let reloaded = self.context.after_reload(config, sites, now);
        self.context = reloaded.with_tls(tls.expect("a certificate"));
    }

    /// Connects a client.
    #[must_use]
    pub fn connect(&self, client: &Arc<ClientConfig>, now: Millis) -> TlsLine {
        let name = ServerName::try_from("localhost").expect("a name");
        TlsLine {
            socket: ClientSocket::tls(ScriptedPeer::new()),
            session: Session::over_tls(Peer::Unix, now),
            client: ClientConnection::new(Arc::clone(client), name).expect("a client"),
            outcome: Outcome::Wait,
            received: Vec::new(),
            wire_bytes: 0,
        }
    }

    /// The directory of the site.
    #[must_use]
    pub fn site(&self) -> &std::path::Path {
        self.site.path()
    }

    /// Gives `line` a turn of a worker at `now`.
    pub fn turn(&mut self, line: &mut TlsLine, now: Millis) -> Outcome {
        self.turn_of(line, now, MayBlock::Anywhere)
    }

    /// Gives `line` a turn of a thread that may or may not block.
    pub fn turn_of(&mut self, line: &mut TlsLine, now: Millis, may_block: MayBlock) -> Outcome {
        let read_closed = line.peer().has_closed;
        let outcome = line.session.turn(&mut Turn {
            io: &mut line.socket,
            buffers: &mut self.buffers,
            context: &self.context,
            now: at(now),
            may_block,
            read_closed,
            gives_up: false,
            is_over: &|| false,
        });
        line.outcome = outcome;
        // As the thread does after each turn.
        if outcome == Outcome::Wait {
            self.deadline(line, now);
        }
        outcome
    }

    /// When `line` wants its next turn, after a turn at `now`.
    pub fn deadline(&self, line: &mut TlsLine, now: Millis) -> Millis {
        line.session.next_deadline(&self.context, now).at()
    }

    /// Moves bytes between client and server until both have nothing to do.
    pub fn settle(&mut self, line: &mut TlsLine, now: Millis) {
        for _ in 0..10_000 {
            let moved = line.carry(usize::MAX);
            let again = matches!(line.outcome, Outcome::Again);
            if !moved && !again {
                return;
            }
            if !matches!(line.outcome, Outcome::Close(_)) {
                self.turn(line, now);
            }
        }
        panic!("client and server do not come to rest");
    }
}

/// A connection: the server's session, and the client.
pub struct TlsLine {
    pub socket: ClientSocket<ScriptedPeer>,
    pub session: Session,
    pub client: ClientConnection,
    /// The outcome of the last turn.
    pub outcome: Outcome,
    /// The content that the client has received.
    pub received: Vec<u8>,
    /// The bytes that the server has sent, of all records.
    pub wire_bytes: usize,
}

impl TlsLine {
    /// The socket at the server's end.
    pub fn peer(&mut self) -> &mut ScriptedPeer {
        self.socket.socket_mut()
    }

    /// The client writes a request, or part of one.
    pub fn write(&mut self, content: &[u8]) {
        self.client.writer().write_all(content).expect("room");
    }

    /// Moves what both sides have written, at most `most` bytes of the client's. Returns whether there was
    /// something.
    pub fn carry(&mut self, most: usize) -> bool {
        let received = self.receive();
        let mut sent = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut sent).expect("to memory");
        }
        let is_sent = !sent.is_empty() && !self.peer().has_closed;
        for piece in sent.chunks(most.min(sent.len()).max(1)) {
            if !self.peer().has_closed {
                self.peer().arrive(piece);
            }
        }
        received || is_sent
    }

    /// The client reads what the server has sent. Returns whether there was something.
    pub fn receive(&mut self) -> bool {
        let sent = std::mem::take(&mut self.peer().sent);
        self.wire_bytes += sent.len();
        let mut unread = &sent[..];
        while !unread.is_empty() {
            self.client.read_tls(&mut unread).expect("from memory");
            self.client.process_new_packets().expect("valid records");
            let mut content = [0; 32 * 1024];
            while let Ok(count @ 1..) = self.client.reader().read(&mut content) {
                self.received.extend_from_slice(&content[..count]);
            }
        }
        !sent.is_empty()
    }

    /// Whether the client has received close_notify.
    #[must_use]
    pub fn has_close_notify(&mut self) -> bool {
        matches!(self.client.reader().read(&mut [0]), Ok(0))
    }
}
