//! One batch of events can hold two events for the same slot, and the slot can hold another connection when
//! the second is handled.

use std::io::Write;
use std::os::unix::net::UnixStream;

use abide::clock::Millis;
use abide::connection::client_socket::ClientSocket;
use abide::connection::deadline::Deadline;
use abide::connection::ownership::{NotIdle, OwnershipState};
use abide::connection::peer::Peer as Address;
use abide::connection::session::Session;
use abide::connection::transport::{Socket, Transport};
use abide::server::slots::{Connection, QueuedSlot, Slots, WaitOutcome};

const NOW: Millis = Millis(0);

/// An event as mio reports it: slot and generation from the token, and whether the peer has closed.
struct Event {
    slot: u32,
    generation: u32,
    read_closed: bool,
}

/// The event loop's part in opening a connection whose first turn finds nothing. Returns the generation and
/// the client's end.
fn admit(slots: &Slots, deadline: Deadline) -> (u32, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let connection = Connection {
        socket: ClientSocket::plain(Socket::new(ours.into())),
        session: Session::accepted(Address::Unix, NOW),
    };
    let slot = slots.at(0);
    let queued = slot.open(Box::new(connection), deadline);
    let waiting = slots.begin(queued).wait_until(deadline);
    assert!(matches!(waiting, WaitOutcome::Idle));
    (slot.generation(), theirs)
}

/// The worker's part in closing a connection.
fn close(slots: &Slots, queued: QueuedSlot) {
    assert_eq!(slots.begin(queued).close(drop), 0);
}

#[test]
fn a_stale_event_in_the_same_batch_cannot_hit_a_reused_slot() {
    let slots = Slots::new(1);
    let first_byte_at = Deadline::First(Millis(20_000));
    let (old, old_client) = admit(&slots, first_byte_at);
    drop(old_client);
    // The kernel reports the same socket twice in a batch, or mio reports an error beside the FIN.
    let event = |generation| Event {
        slot: 0,
        generation,
        read_closed: true,
    };
    let batch = [event(old), event(old)];
    let notify = |event: &Event| {
        let slot = slots.at(event.slot);
        slot.notify(event.generation, event.read_closed)
    };

    // The first event is dispatched, and a worker frees the slot before the loop handles the second.
    let queued = notify(&batch[0]).expect("a dispatch");
    close(&slots, queued);

    // A new connection takes the slot, with a request already in its socket.
    let (new, mut new_client) = admit(&slots, first_byte_at);
    new_client.write_all(b"GET").unwrap();

    // The second event must not affect it: no dispatch, no READ_CLOSED, no turn.
    assert_eq!(notify(&batch[1]), None);
    assert_eq!(slots.at(0).state(), OwnershipState::Idle);

    // Its own event is dispatched, and the client's bytes are there.
    let queued = slots.at(0).notify(new, false).expect("a dispatch");
    let mut owned = slots.begin(queued);
    assert!(!owned.read_closed());
    let mut buffer = [0; 8];
    let received = owned
        .connection()
        .unwrap()
        .socket
        .recv(&mut buffer)
        .unwrap();
    assert_eq!(&buffer[..received], b"GET");
    assert!(matches!(owned.wait_until(first_byte_at), WaitOutcome::Idle));
}

#[test]
fn a_stale_event_for_a_slot_that_is_still_free_is_ignored_too() {
    let slots = Slots::new(1);
    let (old, _client) = admit(&slots, Deadline::First(Millis(20_000)));
    let queued = slots.at(0).notify(old, false).expect("a dispatch");
    close(&slots, queued);
    assert_eq!(slots.at(0).notify(old, true), None);
    assert_eq!(slots.at(0).claim_idle(), Err(NotIdle::Free));
}

#[test]
fn an_old_deadline_does_not_close_the_next_connection_in_the_slot() {
    let slots = Slots::new(1);
    let (old, _client) = admit(&slots, Deadline::Idle(Millis(1_000)));
    let queued = slots.at(0).notify(old, false).expect("a dispatch");
    close(&slots, queued);
    // The wheel's entry for 1 s is still there. When it fires, the loop reads the deadline of the new
    // connection, and goes by that.
    let (_, _client) = admit(&slots, Deadline::Idle(Millis(130_000)));
    assert_eq!(slots.at(0).deadline().at(), Millis(130_000));
}
