//! The thread of the admin listener: its poll and its clients.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::client::AdminClient;
use super::cpu_share::CpuShare;
use super::pages::Pages;
use crate::clock::{Millis, thread_cpu_micros};
use crate::connection::transport::Socket;
use crate::server::listener::Listener;

/// The token of the waker that ends the thread.
pub(super) const WAKER: Token = Token(usize::MAX);

const LISTENER: Token = Token(usize::MAX - 1);

/// Clients at a time. Further ones wait in the accept queue.
pub const MAX_CLIENTS: usize = 16;

/// When all places are taken and further clients wait, the oldest client whose connection
/// [can end without loss](AdminClient::is_expendable) loses its place at once. If there is none, the oldest client
/// does that has had its place for this time. So neither silent clients nor those that do not read keep a
/// health check waiting for long.
const EVICTABLE_AFTER_MILLIS: u64 = 1_000;

/// Milliseconds between two samples for the status page.
pub const SAMPLE_MILLIS: u64 = 1_000;

/// Milliseconds until the next attempt if there was no place or no descriptor for a client.
const RETRY_MILLIS: u64 = 100;

/// The state of the thread.
#[derive(Debug)]
pub struct AdminLoop {
    poll: Poll,
    listener: Listener,
    /// Each client's index is its token.
    places: [Option<Place>; MAX_CLIENTS],
    /// The place that gets the next turn.
    first: usize,
    /// Clients accepted since the start.
    accepted: u64,
    pages: Pages,
    is_ending: Arc<AtomicBool>,
    /// Whether the accept queue may have clients.
    may_accept: bool,
    /// Whether there was no place or no descriptor for the next client.
    is_full: bool,
    share: CpuShare,
    next_sample: Millis,
}

/// A client in its place.
#[derive(Debug)]
struct Place {
    client: AdminClient,
    /// Clients accepted before this one.
    number: u64,
    /// Whether the client waits for a turn.
    is_ready: bool,
}

impl AdminLoop {
    /// Registers `listener` with `poll`.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub(super) fn new(
        poll: Poll,
        listener: Listener,
        pages: Pages,
        is_ending: Arc<AtomicBool>,
    ) -> io::Result<AdminLoop> {
        let mut source = SourceFd(&listener.as_raw_fd());
        poll.registry()
            .register(&mut source, LISTENER, Interest::READABLE)?;
        Ok(AdminLoop {
            poll,
            listener,
            places: Default::default(),
            first: 0,
            accepted: 0,
            pages,
            is_ending,
            may_accept: true,
            is_full: false,
            share: CpuShare::default(),
            next_sample: Millis(0),
        })
    }

    /// Answers until the end of the server.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(MAX_CLIENTS + 2);
        while !self.is_ending.load(Ordering::SeqCst) {
            let rest = self.share.rest(self.pages.micros());
            if !rest.is_zero() {
                // Nothing but the end of the server ends a rest early.
                thread::park_timeout(rest);
                continue;
            }
            match self.poll.poll(&mut events, Some(self.timeout())) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return log::error!("the admin listener cannot poll: {error}"),
                Ok(()) => {}
            }
            let begun_at = self.pages.micros();
            for event in &events {
                match event.token() {
                    LISTENER => self.may_accept = true,
                    WAKER => {}
                    Token(index) => self.note_ready(index),
                }
            }
            self.sample();
            self.serve();
            self.close_late();
            self.accept();
            let ended_at = self.pages.micros();
            self.share
                .end_round(begun_at, ended_at, thread_cpu_micros());
        }
    }

    /// How long the thread waits for an event.
    fn timeout(&self) -> Duration {
        let now = self.pages.now().monotonic;
        let places = self.places.iter().flatten();
        let may_accept = self.may_accept && !self.is_full;
        if may_accept || places.clone().any(|place| place.is_ready) {
            return Duration::ZERO;
        }
        let next = places.map(|place| place.client.deadline()).min();
        let next = next.map_or(self.next_sample, |next| next.min(self.next_sample));
        let wait = next.since(now);
        Duration::from_millis(match self.may_accept {
            true => wait.min(RETRY_MILLIS),
            false => wait,
        })
    }

    fn sample(&mut self) {
        let now = self.pages.now().monotonic;
        if now >= self.next_sample {
            self.pages.sample();
            self.next_sample = Millis(now.0 + SAMPLE_MILLIS);
        }
    }

    fn note_ready(&mut self, index: usize) {
        if let Some(Some(place)) = self.places.get_mut(index) {
            place.is_ready = true;
        }
    }

    /// Gives turns to the clients that wait for one, until the round is over.
    fn serve(&mut self) {
        for index in (self.first..MAX_CLIENTS).chain(0..self.first) {
            if self.places[index]
                .as_ref()
                .is_none_or(|place| !place.is_ready)
            {
                continue;
            }
            self.advance(index);
            if self.share.is_round_over(thread_cpu_micros()) {
                self.first = (index + 1) % MAX_CLIENTS;
                return;
            }
        }
    }

    /// Accepts as many clients as there are places, at least one, until the round is over.
    fn accept(&mut self) {
        self.is_full = false;
        for _ in 0..MAX_CLIENTS {
            if !self.may_accept {
                return;
            }
            let Some(index) = self.place() else {
                self.is_full = true;
                return;
            };
            match self.listener.accept() {
                Ok((socket, _)) => self.admit(index, socket),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.may_accept = false,
                Err(error) => {
                    log::debug!("no admin client can be accepted: {error}");
                    self.is_full = true;
                    return;
                }
            }
            if self.share.is_round_over(thread_cpu_micros()) {
                return;
            }
        }
    }

    /// Gives the place to a new client, and its first turn. The client that has had the place before ends.
    fn admit(&mut self, index: usize, socket: Socket) {
        let interests = Interest::READABLE | Interest::WRITABLE;
        let mut source = SourceFd(&socket.as_fd().as_raw_fd());
        let registry = self.poll.registry();
        if let Err(error) = registry.register(&mut source, Token(index), interests) {
            return log::warn!("an admin client cannot be watched: {error}");
        }
        self.places[index] = Some(Place {
            client: AdminClient::accepted(socket, self.pages.now().monotonic),
            number: self.accepted,
            is_ready: false,
        });
        self.accepted += 1;
        // The request has usually arrived. It is then answered before another client can take the place.
        self.advance(index);
    }

    /// The place for one more client; `None` if all clients keep theirs.
    fn place(&mut self) -> Option<usize> {
        loop {
            if let Some(free) = self.places.iter().position(Option::is_none) {
                return Some(free);
            }
            let Some(index) = self.oldest(AdminClient::is_expendable) else {
                let now = self.pages.now().monotonic;
                return self.oldest(|client| now.since(client.since()) >= EVICTABLE_AFTER_MILLIS);
            };
            // The request may have arrived meanwhile.
            self.advance(index);
            let place = self.places[index].as_ref();
            if place.is_none_or(|place| place.client.is_expendable()) {
                return Some(index);
            }
        }
    }

    /// The place of the client that was accepted first of those that are `wanted`.
    fn oldest(&self, wanted: impl Fn(&AdminClient) -> bool) -> Option<usize> {
        let places = self.places.iter().enumerate();
        let places = places.filter_map(|(index, place)| Some((index, place.as_ref()?)));
        let wanted = places.filter(|(_, place)| wanted(&place.client));
        let oldest = wanted.min_by_key(|(_, place)| place.number);
        oldest.map(|(index, _)| index)
    }

    /// Gives a client its turn.
    fn advance(&mut self, index: usize) {
        let Some(place) = &mut self.places[index] else {
            return;
        };
        place.is_ready = false;
        let answer = |received: &[u8]| self.pages.answer(received);
        if place.client.advance(answer).is_err() {
            self.places[index] = None;
        }
    }

    fn close_late(&mut self) {
        let now = self.pages.now().monotonic;
        for place in &mut self.places {
            let is_late = |place: &Place| now >= place.client.deadline();
            if place.as_ref().is_some_and(is_late) {
                *place = None;
            }
        }
    }
}
