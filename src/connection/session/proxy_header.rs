//! The header of the PROXY protocol, with which each connection of some listeners begins
//! ([`proxy_protocol`]). It says who the client is. Only trusted proxies get here: the acceptor has closed
//! the connections of all others.
//!
//! A proxy that checks our health connects and sends nothing, or a header that names no client. It then
//! closes, which is no error.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use super::state::{AckState, Phase, Session, Turn, header_late_at};
use crate::connection::counters::CloseReason;
use crate::connection::output::Pause;
use crate::connection::peer::Peer;
use crate::connection::server_context::{Mode, ServerContext};
use crate::connection::transport::Transport;
use crate::http::forwarded::is_trusted;
use crate::http::proxy_protocol::{self, InvalidProxyHeader, ProxyHeader};

impl Session {
    /// Receives the header, then the first requests. The header has at most 536 bytes, and each receive brings
    /// one of them, so the loop ends.
    #[cold]
    pub(super) fn receive_proxy_header<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<Pause, CloseReason> {
        let mut is_socket_empty = false;
        loop {
            match proxy_protocol::parse(turn.buffers.input.unread()) {
                Ok(Some(header)) => return self.accept_client(header, is_socket_empty, turn),
                Ok(None) if is_socket_empty => return self.check_proxy_header(turn),
                Ok(None) => {}
                Err(InvalidProxyHeader(reason)) => return Err(self.invalid_header(reason)),
            }
            let space = turn.buffers.input.space();
            let room = space.len();
            match turn.io.recv(space) {
                Ok(0) => {
                    self.facts.note_closed();
                    return Err(match turn.buffers.input.unread() {
                        [] => CloseReason::ClientClosed,
                        _ => self.invalid_header("the connection ends within the header"),
                    });
                }
                Ok(count) => {
                    turn.buffers.input.received(count);
                    is_socket_empty = count < room && !turn.read_closed;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => is_socket_empty = true,
                Err(_) => return Err(CloseReason::Reset),
            }
        }
    }

    /// Acts on a complete header, and answers what has arrived behind it.
    fn accept_client<T: Transport>(
        &mut self,
        header: ProxyHeader,
        is_socket_empty: bool,
        turn: &mut Turn<'_, T>,
    ) -> Result<Pause, CloseReason> {
        turn.buffers.input.consume(header.len);
        // The server has sent nothing, so nothing is unacknowledged.
        self.phase = Phase::Idle {
            since: self.opened_at,
            ack: AckState::Acknowledged,
        };
        if header.client.is_none() {
            self.facts.note_no_client();
        }
        if let Some(client) = header.client {
            log::debug!("a connection from {:?} is for {client}", self.peer);
            self.peer = Peer::Ip(client);
            if !self.is_within_limit(client, turn.context) {
                self.phase = Phase::Refused;
                return self.refuse_connection(turn);
            }
        }
        self.receive_and_answer(is_socket_empty, turn)
    }

    /// Counts the connection for its client, as the acceptor does for a direct one. Returns false if the
    /// client has as many connections as one may have.
    fn is_within_limit(&mut self, client: IpAddr, context: &ServerContext) -> bool {
        let per_client = &context.connections_per_client;
        if !per_client.is_limited() {
            return true;
        }
        // A further proxy, between the client and the one that has connected.
        if is_trusted(client, &context.config.trusted_proxies) {
            return true;
        }
        let counted = per_client.enter(per_client.client(client));
        self.client_gauge = counted.map(|counted| Arc::clone(&counted.client_gauge));
        self.client_gauge.is_some()
    }

    /// Ends the connection if its header is late or its place is needed. The socket was read just now and is
    /// empty.
    fn check_proxy_header<T: Transport>(&self, turn: &Turn<'_, T>) -> Result<Pause, CloseReason> {
        let now = turn.now.monotonic;
        if turn.context.mode() == Mode::Stopping {
            return Err(CloseReason::Stop);
        }
        if now >= header_late_at(self.opened_at) {
            return Err(self.invalid_header("the header is late"));
        }
        self.check_silence(now.since(self.opened_at), turn.context)?;
        Ok(Pause::Wait)
    }

    fn invalid_header(&self, reason: &str) -> CloseReason {
        log::debug!("a connection from {:?} is closed: {reason}", self.peer);
        CloseReason::ProxyHeader
    }
}
