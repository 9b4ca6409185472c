//! `/connections.json`: the open connections.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::clock::Millis;
use crate::connection::deadline::Deadline;
use crate::connection::ownership::OwnershipState;
use crate::connection::peer::Peer;
use crate::connection::server_context::{Mode, ServerContext};
use crate::connection::session::SessionFigures;
use crate::server::shared::Shared;

/// Connections in a list without `limit`.
const DEFAULT_LIMIT: usize = 100;

/// The largest `limit`. It bounds the size of a response: 200 kB.
const MAX_LIMIT: usize = 1_000;

/// The names of the states.
const STATES: [&str; 3] = ["active", "idle", "lingering"];

/// Which connections a list has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionsQuery {
    /// Only connections in this state; all if `None`.
    state: Option<&'static str>,
    limit: usize,
}

impl ConnectionsQuery {
    /// Parses a query such as `state=idle&limit=100`. Each part may be missing.
    ///
    /// # Errors
    /// A sentence that says which part is wrong.
    pub fn parse(query: &[u8]) -> Result<ConnectionsQuery, &'static str> {
        let mut parsed = ConnectionsQuery {
            state: None,
            limit: DEFAULT_LIMIT,
        };
        let query = std::str::from_utf8(query).map_err(|_| "The query is not text.")?;
        for part in query.split('&').filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some(("state", name)) => {
                    let known = STATES.into_iter().find(|state| *state == name);
                    let refusal = "There is no such state: active, idle or lingering.";
                    parsed.state = Some(known.ok_or(refusal)?);
                }
                Some(("limit", number)) => {
                    let limit = number.parse().ok();
                    let limit = limit.filter(|limit| (1..=MAX_LIMIT).contains(limit));
                    parsed.limit = limit.ok_or("The limit must be a number, 1 to 1000.")?;
                }
                _ => return Err("There is no such parameter: state or limit."),
            }
        }
        Ok(parsed)
    }
}

/// The connections of the server whose event loops are `all`, with the addresses of their clients if
/// `clients`.
///
/// A connection whose turn runs at this moment has only what its slot says; the rest is null. The other
/// connections are looked at under the lock of their slot, one at a time, for some nanoseconds. A thread waits
/// for that lock only if it begins a turn of the same connection within them.
#[must_use]
pub fn list(all: &[Arc<Shared>], query: &ConnectionsQuery, clients: bool) -> Value {
    let active = all[0].config.get();
    let view = View {
        clients,
        context: &active.context,
    };
    let mut connections = Vec::new();
    let mut has_more = false;
    'all: for shared in all {
        for index in 0..shared.accept_state.used.load(Ordering::Relaxed) {
            // Slots are numbered with 32 bits.
            let Some(connection) = connection(shared, index as u32, query.state, view) else {
                continue;
            };
            if connections.len() == query.limit {
                has_more = true;
                break 'all;
            }
            connections.push(connection);
        }
    }
    json!({ "connections": connections, "has_more": has_more })
}

/// The choices of one request for a list of connections, and the state of the server that the list is drawn
/// from.
#[derive(Debug, Clone, Copy)]
struct View<'c> {
    /// Whether the addresses of clients are shown.
    clients: bool,
    context: &'c ServerContext,
}

/// The connection in slot `index`; `None` if the slot is free or its state is another one than `wanted`.
fn connection(shared: &Shared, index: u32, wanted: Option<&str>, view: View<'_>) -> Option<Value> {
    let slot = shared.slots.at(index);
    let ownership = slot.state();
    if ownership == OwnershipState::Free {
        return None;
    }
    let deadline = slot.deadline();
    let state = match deadline {
        Deadline::Linger(_) => "lingering",
        _ if ownership == OwnershipState::Idle && deadline.is_between_requests() => "idle",
        _ => "active",
    };
    if wanted.is_some_and(|wanted| wanted != state) {
        return None;
    }
    let now = shared.clock.now().monotonic;
    let figures = slot.inspect(|open| open.session.figures(view.context));
    let since = |at: Option<Millis>| at.map(|at| now.since(at));
    let opened_at = figures.map(|figures| figures.opened_at);
    let idle_since = figures.and_then(|figures| figures.idle_since);
    let mut value = json!({
        "id": shared.connection_id(index).to_string(),
        "state": state,
        "requests": figures.map(|figures| figures.requests),
        "age_ms": since(opened_at),
        "idle_ms": since(idle_since),
        "timeout_s": figures.and_then(|figures| figures.timeout_secs),
        "closes_in_ms": closes_at(deadline, figures, view.context.mode()).map(|at| at.since(now)),
    });
    if view.clients {
        value["peer"] = figures.map_or(Value::Null, peer);
    }
    Some(value)
}

/// When the connection closes at the earliest unless something happens on it; `None` if that is not decided.
fn closes_at(deadline: Deadline, figures: Option<SessionFigures>, mode: Mode) -> Option<Millis> {
    match deadline {
        Deadline::First(at) | Deadline::Idle(at) | Deadline::Linger(at) => Some(at),
        Deadline::ProxyHeader(at) | Deadline::Handshake(at) => Some(at),
        Deadline::IdleUntilDrain(at) if mode != Mode::Serving => Some(at),
        // Without an acknowledgement T + grace may begin later, but the client was told T with the response.
        Deadline::AwaitingAck(_) => figures.and_then(|figures| figures.idle_close_at),
        Deadline::IdleUntilDrain(_) | Deadline::Exchange(_) => None,
    }
}

fn peer(figures: SessionFigures) -> Value {
    match figures.peer {
        Peer::Ip(address) => address.to_string().into(),
        Peer::Unix => "unix".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_a_state_and_a_limit() {
        let parsed = |query: &str| ConnectionsQuery::parse(query.as_bytes());
        let expected = |state, limit| Ok(ConnectionsQuery { state, limit });
        assert_eq!(parsed(""), expected(None, 100));
        assert_eq!(parsed("limit=7&state=idle"), expected(Some("idle"), 7));
        assert_eq!(parsed("limit=1000"), expected(None, 1_000));
        for wrong in [
            "limit=0",
            "limit=1001",
            "limit=",
            "limit",
            "state=x",
            "x=1",
            "\u{fffd}=1",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
