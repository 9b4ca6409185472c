//! Each transition on one thread; the interleavings are in `tests/ownership_model.rs`.

use super::*;

fn opened() -> (Ownership, u32) {
    let ownership = Ownership::new();
    let generation = ownership.open();
    (ownership, generation)
}

fn running() -> (Ownership, u32) {
    let (ownership, generation) = opened();
    assert_eq!(ownership.notify(generation, false), Notified::Dispatch);
    ownership.begin();
    (ownership, generation)
}

#[test]
fn a_request_goes_round_the_states() {
    let (ownership, generation) = opened();
    assert_eq!(ownership.state(), State::Idle);
    assert_eq!(ownership.notify(generation, false), Notified::Dispatch);
    assert_eq!(ownership.state(), State::Queued);
    assert_eq!(ownership.begin(), Begun { read_closed: false });
    assert_eq!(ownership.state(), State::Running);
    assert_eq!(ownership.release(), Released::Idle);
    assert_eq!(ownership.state(), State::Idle);
}

#[test]
fn an_event_for_a_queued_connection_is_left_to_the_owner_to_come() {
    let (ownership, generation) = opened();
    assert_eq!(ownership.notify(generation, false), Notified::Dispatch);
    assert_eq!(ownership.notify(generation, false), Notified::AlreadyOwned);
    assert_eq!(ownership.state(), State::Queued);
    ownership.begin();
    assert_eq!(ownership.release(), Released::Idle);
}

#[test]
fn events_for_a_running_connection_cost_one_more_turn() {
    let (ownership, generation) = running();
    assert_eq!(ownership.notify(generation, false), Notified::AlreadyOwned);
    assert_eq!(ownership.notify(generation, false), Notified::AlreadyOwned);
    assert_eq!(ownership.state(), State::RunningNotified);
    assert_eq!(ownership.release(), Released::Again { read_closed: false });
    assert_eq!(ownership.state(), State::Running);
    assert_eq!(ownership.release(), Released::Idle);
}

#[test]
fn read_closed_reaches_the_owner_from_every_state_and_sticks() {
    let (idle, generation) = opened();
    assert_eq!(idle.notify(generation, true), Notified::Dispatch);
    assert_eq!(idle.begin(), Begun { read_closed: true });
    assert_eq!(idle.release(), Released::Idle);
    assert_eq!(idle.notify(generation, false), Notified::Dispatch);
    assert_eq!(idle.begin(), Begun { read_closed: true });

    let (queued, generation) = opened();
    assert_eq!(queued.notify(generation, false), Notified::Dispatch);
    assert_eq!(queued.notify(generation, true), Notified::AlreadyOwned);
    assert_eq!(queued.begin(), Begun { read_closed: true });

    let (running, generation) = running();
    assert_eq!(running.notify(generation, true), Notified::AlreadyOwned);
    assert_eq!(running.release(), Released::Again { read_closed: true });
}

#[test]
fn a_bounded_turn_goes_back_to_the_queue_and_absorbs_the_event() {
    let (ownership, generation) = running();
    ownership.requeue();
    assert_eq!(ownership.state(), State::Queued);
    ownership.begin();
    assert_eq!(ownership.notify(generation, true), Notified::AlreadyOwned);
    ownership.requeue();
    assert_eq!(ownership.begin(), Begun { read_closed: true });
    assert_eq!(ownership.release(), Released::Idle);
}

#[test]
fn a_deadline_claims_only_an_idle_connection() {
    let ownership: Ownership = Ownership::new();
    assert_eq!(ownership.claim_idle(), Claim::Free);
    let generation = ownership.open();
    assert_eq!(ownership.claim_idle(), Claim::Claimed);
    assert_eq!(ownership.claim_idle(), Claim::Busy);
    assert_eq!(ownership.notify(generation, false), Notified::AlreadyOwned);
    ownership.begin();
    assert_eq!(ownership.claim_idle(), Claim::Busy);
    assert_eq!(ownership.notify(generation, false), Notified::AlreadyOwned);
    assert_eq!(ownership.claim_idle(), Claim::Busy);
    ownership.free();
    assert_eq!(ownership.claim_idle(), Claim::Free);
}

#[test]
fn within_one_batch_a_reused_slot_ignores_the_events_of_its_predecessor() {
    let (ownership, old) = running();
    assert_eq!(ownership.notify(old, true), Notified::AlreadyOwned);
    ownership.free();
    assert_eq!(ownership.notify(old, false), Notified::Stale);

    let new = ownership.open();
    assert_ne!(new, old);
    assert_eq!(ownership.notify(old, true), Notified::Stale);
    assert_eq!(ownership.state(), State::Idle);
    assert_eq!(ownership.notify(new, false), Notified::Dispatch);
    let flags_are_new = Begun { read_closed: false };
    assert_eq!(ownership.begin(), flags_are_new);
}

#[test]
fn an_event_for_a_free_slot_is_stale_even_with_its_next_generation() {
    let ownership: Ownership = Ownership::new();
    assert_eq!(ownership.notify(0, true), Notified::Stale);
    assert_eq!(ownership.state(), State::Free);
}

#[test]
fn the_generation_wraps_without_touching_the_state() {
    let last: Ownership = Ownership {
        word: AtomicU64::new(u64::from(u32::MAX) << GENERATION_SHIFT),
    };
    assert_eq!(last.open(), u32::MAX);
    assert_eq!(last.claim_idle(), Claim::Claimed);
    last.begin();
    last.free();
    assert_eq!(last.state(), State::Free);
    assert_eq!(last.open(), 0);
}

#[test]
#[should_panic(expected = "begin on a connection that is Idle")]
fn beginning_what_was_not_queued_panics() {
    opened().0.begin();
}

#[test]
#[should_panic(expected = "open on a connection that is Running")]
fn opening_a_slot_in_use_panics() {
    running().0.open();
}

#[test]
#[should_panic(expected = "free on a connection that is Queued")]
fn freeing_what_is_not_owned_panics() {
    let (ownership, _) = opened();
    assert_eq!(ownership.claim_idle(), Claim::Claimed);
    ownership.free();
}
