//! Slots, limits, and which connections are counted.

use super::super::listener::Listener;
use super::*;
use crate::config::{Config, ListenAddress};
use crate::connection::client_socket::ClientSocket;
use mio::Poll;
use std::net::TcpStream;

fn listener() -> (Listener, std::net::SocketAddr) {
    let any = ListenAddress::tcp("127.0.0.1:0".parse().expect("address"));
    let listener = Listener::bind(&any, &Config::default()).expect("bind");
    let address = listener.address.tcp_address();
    (listener, address.expect("TCP"))
}

fn limited(connections: usize) -> Arc<ConnectionGauge> {
    Arc::new(ConnectionGauge::new(connections))
}

fn unlimited() -> Arc<ConnectionsPerClient> {
    Arc::new(ConnectionsPerClient::new(0, 64))
}

/// Gives up the place, as `Shared::close` does.
fn leave(
    gauge: &ConnectionGauge,
    per_client: &ConnectionsPerClient,
    accepted: &Accepted<ClientSocket>,
) {
    gauge.leave();
    if let (Peer::Ip(address), Some(client_gauge)) =
        (accepted.origin.peer(), &accepted.client_gauge)
    {
        per_client.leave(address, client_gauge);
    }
}

fn accept(acceptor: &mut Acceptor, listener: &Listener) -> Accepted<ClientSocket> {
    let poll = Poll::new().expect("a poll");
    loop {
        match acceptor.accept(listener, false, poll.registry()) {
            AcceptOutcome::Accepted(accepted) => return accepted,
            AcceptOutcome::OverLimit(over_limit) => {
                return acceptor.refuse(over_limit).expect("room");
            }
            AcceptOutcome::Aborted | AcceptOutcome::QueueEmpty | AcceptOutcome::Exhausted => {}
        }
    }
}

#[test]
fn slots_are_reused_and_the_connection_over_the_limit_is_refused() {
    let (listener, address) = listener();
    let gauge = limited(2);
    let all = Arc::clone(&gauge);
    let mut acceptor = Acceptor::counting(
        &Slots::<ClientSocket>::new(16),
        all,
        unlimited(),
        Arc::default(),
    );
    let _clients: Vec<_> = (0..4)
        .map(|_| TcpStream::connect(address).expect("connect"))
        .collect();
    let first = accept(&mut acceptor, &listener);
    let second = accept(&mut acceptor, &listener);
    assert!(!first.is_refused && !second.is_refused);
    assert!(accept(&mut acceptor, &listener).is_refused);
    gauge.leave();
    acceptor.release(second.slot);
    acceptor.release(2);
    let fourth = accept(&mut acceptor, &listener);
    assert!(!fourth.is_refused);
    assert_eq!((fourth.slot, acceptor.used(), acceptor.open()), (2, 3, 2));
    let poll = Poll::new().expect("a poll");
    assert!(matches!(
        acceptor.accept(&listener, false, poll.registry()),
        AcceptOutcome::QueueEmpty
    ));
}

#[test]
fn memory_is_trimmed_once_for_each_half() {
    let mut acceptor = Acceptor::counting(
        &Slots::<ClientSocket>::new(16),
        limited(10),
        unlimited(),
        Arc::default(),
    );
    let mut should_trim = |open: usize| {
        acceptor.accept_state.open.store(open, Ordering::Relaxed);
        acceptor.should_trim_memory()
    };
    assert!(!should_trim(10_000) && !should_trim(5_001));
    assert!(should_trim(5_000) && !should_trim(5_000) && !should_trim(2_501));
    assert!(should_trim(2_500));
    assert!(!should_trim(1_251) && should_trim(1_250));
    assert!(!should_trim(227), "too few to be worth it");
    assert!(should_trim(226) && !should_trim(0) && !should_trim(1_000) && !should_trim(0));
}

#[test]
fn one_address_cannot_have_more_than_its_limit() {
    let (listener, address) = listener();
    let (gauge, per_client) = (limited(10), Arc::new(ConnectionsPerClient::new(1, 64)));
    let (all, each) = (Arc::clone(&gauge), Arc::clone(&per_client));
    let mut acceptor =
        Acceptor::counting(&Slots::<ClientSocket>::new(16), all, each, Arc::default());
    let _clients: Vec<_> = (0..3)
        .map(|_| TcpStream::connect(address).expect("connect"))
        .collect();
    let first = accept(&mut acceptor, &listener);
    let second = accept(&mut acceptor, &listener);
    assert!(!first.is_refused && second.is_refused);
    leave(&gauge, &per_client, &first);
    acceptor.release(first.slot);
    acceptor.release(second.slot);
    assert!(!accept(&mut acceptor, &listener).is_refused);
}

#[test]
fn nobody_is_refused_for_a_connection_whose_close_is_still_to_be_reported() {
    let (listener, address) = listener();
    let (gauge, per_client) = (limited(1), Arc::new(ConnectionsPerClient::new(1, 64)));
    let acceptor = || {
        let (all, each) = (Arc::clone(&gauge), Arc::clone(&per_client));
        Acceptor::counting(&Slots::<ClientSocket>::new(16), all, each, Arc::default())
    };
    let (mut one, mut two) = (acceptor(), acceptor());
    let _clients: Vec<_> = (0..3)
        .map(|_| TcpStream::connect(address).expect("connect"))
        .collect();
    let first = accept(&mut one, &listener);
    assert!(!first.is_refused);
    leave(&gauge, &per_client, &first);
    let second = accept(&mut two, &listener);
    assert!(!second.is_refused);
    leave(&gauge, &per_client, &second);
    let third = accept(&mut one, &listener);
    assert!(!third.is_refused);
    assert_ne!(
        third.slot, first.slot,
        "the loop does not know yet that the slot is free"
    );
}

#[test]
fn a_trusted_proxy_can_have_more() {
    let (listener, address) = listener();
    let per_client = Arc::new(ConnectionsPerClient::new(1, 64));
    let proxies = ["127.0.0.0/8".parse().expect("a network")];
    let gauge = limited(2);
    let all = Arc::clone(&gauge);
    let mut acceptor = Acceptor {
        proxies: proxies.to_vec(),
        ..Acceptor::counting(
            &Slots::<ClientSocket>::new(16),
            all,
            per_client,
            Arc::default(),
        )
    };
    let _clients: Vec<_> = (0..4)
        .map(|_| TcpStream::connect(address).expect("connect"))
        .collect();
    let first = accept(&mut acceptor, &listener);
    assert!(!first.is_refused && first.client_gauge.is_none());
    let second = accept(&mut acceptor, &listener);
    assert!(!second.is_refused);
    assert!(
        accept(&mut acceptor, &listener).is_refused,
        "over the limit of the server"
    );
    for closed in [first, second] {
        gauge.leave();
        acceptor.release(closed.slot);
    }
    assert!(!accept(&mut acceptor, &listener).is_refused);
}
