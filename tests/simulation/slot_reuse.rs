//! One batch of events can hold two for the same slot, with another connection in it by the time of
//! the second.

use std::io::Write;
use std::os::unix::net::UnixStream;

use abide::clock::Millis;
use abide::connection::deadline::Deadline;
use abide::connection::ownership::{Begun, Claim, Notified, Released, State};
use abide::connection::peer::Peer as Address;
use abide::connection::session::Session;
use abide::connection::transport::{Socket, Transport};
use abide::server::slots::{Connection, Slot, Slots};

const NOW: Millis = Millis(0);

/// What mio would report: the slot and generation from the token, and whether the peer has closed.
struct Event {
    slot: u32,
    generation: u32,
    read_closed: bool,
}

/// The event loop's half of a new connection; returns the generation and the client's end.
fn admit(slot: &Slot) -> (u32, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let connection = Connection {
        socket: Socket::new(ours.into()),
        session: Session::accepted(Address::Unix, NOW),
        is_counted: true,
    };
    *slot.lock() = Some(Box::new(connection));
    (slot.ownership.open(), theirs)
}

/// A worker's half of an end.
fn close(slot: &Slot) {
    slot.ownership.begin();
    drop(slot.lock().take());
    slot.ownership.free();
}

#[test]
fn a_stale_event_in_the_same_batch_cannot_hit_a_reused_slot() {
    let slots = Slots::new(1);
    let slot = slots.at(0);
    let (old, old_client) = admit(slot);
    drop(old_client);
    // The kernel reports the same socket twice in a batch, or mio reports an error beside the FIN.
    let event = |generation| Event {
        slot: 0,
        generation,
        read_closed: true,
    };
    let batch = [event(old), event(old)];

    // The first event: dispatched, and a worker is so quick that the slot is free before the loop
    // comes to the second.
    let first = &batch[0];
    let notified = slots
        .at(first.slot)
        .ownership
        .notify(first.generation, first.read_closed);
    assert_eq!(notified, Notified::Dispatch);
    close(slot);

    // A new connection takes the slot, with a request already in its socket.
    let (new, mut new_client) = admit(slot);
    new_client.write_all(b"GET").unwrap();

    // The second event is not for it: no dispatch, no READ_CLOSED, no turn.
    let second = &batch[1];
    let notified = slots
        .at(second.slot)
        .ownership
        .notify(second.generation, second.read_closed);
    assert_eq!(notified, Notified::Stale);
    assert_eq!(slot.ownership.state(), State::Idle);

    // Its own event is, and what the client sent is there.
    assert_eq!(slot.ownership.notify(new, false), Notified::Dispatch);
    assert_eq!(slot.ownership.begin(), Begun { read_closed: false });
    let mut buffer = [0; 8];
    let received = slot
        .lock()
        .as_mut()
        .unwrap()
        .socket
        .recv(&mut buffer)
        .unwrap();
    assert_eq!(&buffer[..received], b"GET");
    assert_eq!(slot.ownership.release(), Released::Idle);
}

#[test]
fn a_stale_event_for_a_slot_that_is_still_free_is_ignored_too() {
    let slots = Slots::new(1);
    let slot = slots.at(0);
    let (old, _client) = admit(slot);
    assert_eq!(slot.ownership.notify(old, false), Notified::Dispatch);
    close(slot);
    assert_eq!(slot.ownership.notify(old, true), Notified::Stale);
    assert_eq!(slot.ownership.claim_idle(), Claim::Free);
}

#[test]
fn an_old_deadline_does_not_close_the_next_connection_in_the_slot() {
    let slots = Slots::new(1);
    let slot = slots.at(0);
    let (old, _client) = admit(slot);
    slot.postpone(Deadline::Idle(Millis(1_000)));
    assert_eq!(slot.ownership.notify(old, false), Notified::Dispatch);
    close(slot);
    // The wheel's entry for 1 s is still there. When it fires, it finds the deadline of the new
    // connection, and the deadline is what is believed.
    let (_, _client) = admit(slot);
    slot.postpone(Deadline::Idle(Millis(130_000)));
    assert_eq!(slot.deadline().at(), Millis(130_000));
}
