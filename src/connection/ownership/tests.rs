//! Each transition on one thread. `tests/model/ownership.rs` tests the interleavings.

use super::*;

fn opened() -> (Ownership, u32) {
    let ownership = Ownership::new();
    let generation = ownership.open();
    (ownership, generation)
}

fn running() -> (Ownership, u32) {
    let (ownership, generation) = opened();
    assert_eq!(ownership.notify(generation, false), Notified::Dispatch);
    mem::forget(ownership.begin());
    (ownership, generation)
}

/// The guard of a connection that [`running`] made.
fn guard(ownership: &Ownership) -> TurnGuard<'_> {
    TurnGuard {
        ownership,
        read_closed: false,
    }
}

/// Begins a turn. Returns whether the peer has closed its side.
fn begins(ownership: &Ownership) -> bool {
    let running = ownership.begin();
    let read_closed = running.read_closed();
    mem::forget(running);
    read_closed
}

/// Ends a turn: `Ok` if the connection is idle now, else `Err` with whether the peer has closed its side.
fn release(ownership: &Ownership) -> Result<(), bool> {
    match guard(ownership).release() {
        Released::Idle => Ok(()),
        Released::Again(running) => {
            let read_closed = running.read_closed();
            mem::forget(running);
            Err(read_closed)
        }
    }
}

#[test]
fn a_request_goes_round_the_states() {
    let (ownership, generation) = opened();
    assert_eq!(ownership.state(), OwnershipState::Idle);
    assert_eq!(ownership.notify(generation, false), Notified::Dispatch);
    assert_eq!(ownership.state(), OwnershipState::Queued);
    assert!(!begins(&ownership));
    assert_eq!(ownership.state(), OwnershipState::Running);
    assert_eq!(release(&ownership), Ok(()));
    assert_eq!(ownership.state(), OwnershipState::Idle);
}

#[test]
fn an_event_for_a_queued_connection_is_left_to_the_next_owner() {
    let (ownership, generation) = opened();
    assert_eq!(ownership.notify(generation, false), Notified::Dispatch);
    assert_eq!(ownership.notify(generation, false), Notified::AlreadyOwned);
    assert_eq!(ownership.state(), OwnershipState::Queued);
    begins(&ownership);
    assert_eq!(release(&ownership), Ok(()));
}

#[test]
fn events_for_a_running_connection_cost_one_more_turn() {
    let (ownership, generation) = running();
    assert_eq!(ownership.notify(generation, false), Notified::AlreadyOwned);
    assert_eq!(ownership.notify(generation, false), Notified::AlreadyOwned);
    assert_eq!(ownership.state(), OwnershipState::RunningNotified);
    assert_eq!(release(&ownership), Err(false));
    assert_eq!(ownership.state(), OwnershipState::Running);
    assert_eq!(release(&ownership), Ok(()));
}

#[test]
fn read_closed_reaches_the_owner_from_every_state_and_stays() {
    let (idle, generation) = opened();
    assert_eq!(idle.notify(generation, true), Notified::Dispatch);
    assert!(begins(&idle));
    assert_eq!(release(&idle), Ok(()));
    assert_eq!(idle.notify(generation, false), Notified::Dispatch);
    assert!(begins(&idle));

    let (queued, generation) = opened();
    assert_eq!(queued.notify(generation, false), Notified::Dispatch);
    assert_eq!(queued.notify(generation, true), Notified::AlreadyOwned);
    assert!(begins(&queued));

    let (running, generation) = running();
    assert_eq!(running.notify(generation, true), Notified::AlreadyOwned);
    assert_eq!(release(&running), Err(true));
}

#[test]
fn a_bounded_turn_goes_back_to_the_queue_and_absorbs_the_event() {
    let (ownership, generation) = running();
    guard(&ownership).requeue();
    assert_eq!(ownership.state(), OwnershipState::Queued);
    begins(&ownership);
    assert_eq!(ownership.notify(generation, true), Notified::AlreadyOwned);
    guard(&ownership).requeue();
    assert!(begins(&ownership));
    assert_eq!(release(&ownership), Ok(()));
}

#[test]
fn a_deadline_claims_only_an_idle_connection() {
    let ownership: Ownership = Ownership::new();
    assert_eq!(ownership.claim_idle(), Err(NotIdle::Free));
    let generation = ownership.open();
    assert_eq!(ownership.claim_idle(), Ok(()));
    assert_eq!(ownership.claim_idle(), Err(NotIdle::Busy));
    assert_eq!(ownership.notify(generation, false), Notified::AlreadyOwned);
    begins(&ownership);
    assert_eq!(ownership.claim_idle(), Err(NotIdle::Busy));
    assert_eq!(ownership.notify(generation, false), Notified::AlreadyOwned);
    assert_eq!(ownership.claim_idle(), Err(NotIdle::Busy));
    guard(&ownership).free();
    assert_eq!(ownership.claim_idle(), Err(NotIdle::Free));
}

#[test]
fn within_one_batch_a_reused_slot_ignores_the_events_of_its_predecessor() {
    let (ownership, old) = running();
    assert_eq!(ownership.notify(old, true), Notified::AlreadyOwned);
    guard(&ownership).free();
    assert_eq!(ownership.notify(old, false), Notified::Stale);

    let new = ownership.open();
    assert_ne!(new, old);
    assert_eq!(ownership.notify(old, true), Notified::Stale);
    assert_eq!(ownership.state(), OwnershipState::Idle);
    assert_eq!(ownership.notify(new, false), Notified::Dispatch);
    assert!(!begins(&ownership), "flags are new");
}

#[test]
fn an_event_for_a_free_slot_is_stale_even_with_its_next_generation() {
    let ownership: Ownership = Ownership::new();
    assert_eq!(ownership.notify(0, true), Notified::Stale);
    assert_eq!(ownership.state(), OwnershipState::Free);
}

#[test]
fn the_generation_wraps_without_touching_the_state() {
    let last: Ownership = Ownership {
        word: AtomicU64::new(u64::from(u32::MAX) << GENERATION_SHIFT),
    };
    assert_eq!(last.open(), u32::MAX);
    assert_eq!(last.claim_idle(), Ok(()));
    begins(&last);
    guard(&last).free();
    assert_eq!(last.state(), OwnershipState::Free);
    assert_eq!(last.open(), 0);
}

#[test]
#[should_panic(expected = "queued twice")]
fn beginning_what_was_not_queued_panics() {
    begins(&opened().0);
}

#[test]
#[should_panic(expected = "open on a connection that is Running")]
fn opening_a_slot_in_use_panics() {
    running().0.open();
}

#[test]
#[should_panic(expected = "a connection is left without an owner")]
fn a_guard_that_is_dropped_panics() {
    drop(guard(&running().0));
}
