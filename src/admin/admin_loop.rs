//! The thread of the admin listener: its poll and its clients.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::client::Client;
use super::pages::Pages;
use crate::clock::Millis;
use crate::server::listener::Listener;

/// The token of the waker that ends the thread.
pub(super) const WAKER: Token = Token(usize::MAX);

const LISTENER: Token = Token(usize::MAX - 1);

/// Clients at a time. Further ones wait in the accept queue.
pub const MAX_CLIENTS: usize = 16;

/// When all places are taken, the client that has had its place for longest loses it after this time, so
/// that silent clients cannot keep a health check waiting.
const EVICTABLE_AFTER_MILLIS: u64 = 1_000;

/// Milliseconds between two samples for the status page.
pub const SAMPLE_MILLIS: u64 = 1_000;

/// Milliseconds until the next attempt if there was no place or no descriptor for a client.
const RETRY_MILLIS: u64 = 100;

/// The thread accepts nobody for this many times as long as its last work took. So however many clients
/// there are, it takes at most a fifth of a CPU from the threads that serve the site.
const REST_FACTOR: u64 = 4;

/// The state of the thread.
#[derive(Debug)]
pub struct AdminLoop {
    poll: Poll,
    listener: Listener,
    /// Each client's index is its token.
    clients: [Option<Client>; MAX_CLIENTS],
    pages: Pages,
    is_ending: Arc<AtomicBool>,
    /// Whether the accept queue may have clients.
    may_accept: bool,
    /// When the next client may be accepted, in microseconds of the monotonic clock.
    rests_until_micros: u64,
    next_sample: Millis,
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
            clients: Default::default(),
            pages,
            is_ending,
            may_accept: true,
            rests_until_micros: 0,
            next_sample: Millis(0),
        })
    }

    /// Answers until the end of the server.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(MAX_CLIENTS + 2);
        while !self.is_ending.load(Ordering::SeqCst) {
            let now = self.pages.now().monotonic;
            if now >= self.next_sample {
                self.pages.sample();
                self.next_sample = Millis(now.0 + SAMPLE_MILLIS);
            }
            let timeout = self.timeout(now);
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return log::error!("the admin listener cannot poll: {error}"),
                Ok(()) => {}
            }
            let begun_at = self.pages.micros();
            for event in &events {
                match event.token() {
                    LISTENER => self.may_accept = true,
                    WAKER => {}
                    Token(index) => self.advance(index),
                }
            }
            self.close_late();
            self.accept(begun_at);
            let ended_at = self.pages.micros();
            let rest = REST_FACTOR * ended_at.saturating_sub(begun_at);
            self.rests_until_micros = self.rests_until_micros.max(ended_at + rest);
        }
    }

    fn timeout(&self, now: Millis) -> Duration {
        let deadlines = self.clients.iter().flatten().map(Client::deadline);
        let next = deadlines.chain([self.next_sample]).min();
        let mut millis = next.map_or(SAMPLE_MILLIS, |next| next.since(now));
        if self.may_accept {
            // Clients wait for the end of the rest, or for a place or a descriptor.
            let rest = self.rests_until_micros.saturating_sub(self.pages.micros());
            let wait = if rest == 0 {
                RETRY_MILLIS
            } else {
                rest.div_ceil(1_000)
            };
            millis = millis.min(wait);
        }
        Duration::from_millis(millis)
    }

    fn accept(&mut self, now_micros: u64) {
        while self.may_accept && now_micros >= self.rests_until_micros {
            let now = self.pages.now().monotonic;
            let Some(index) = self.place(now) else {
                return;
            };
            match self.listener.accept() {
                Ok((socket, _)) => {
                    let interests = Interest::READABLE | Interest::WRITABLE;
                    let mut source = SourceFd(&socket.as_fd().as_raw_fd());
                    let registry = self.poll.registry();
                    match registry.register(&mut source, Token(index), interests) {
                        Ok(()) => self.clients[index] = Some(Client::accepted(socket, now)),
                        Err(error) => log::warn!("an admin client cannot be watched: {error}"),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.may_accept = false,
                Err(error) => {
                    log::debug!("no admin client can be accepted: {error}");
                    self.rests_until_micros = now_micros + RETRY_MILLIS * 1_000;
                    return;
                }
            }
        }
    }

    /// A place for one more client; `None` if all are taken by clients that are new.
    fn place(&self, now: Millis) -> Option<usize> {
        let free = self.clients.iter().position(Option::is_none);
        free.or_else(|| {
            let since = |index: &usize| self.clients[*index].as_ref().map(Client::since);
            let oldest = (0..MAX_CLIENTS).min_by_key(since)?;
            let has_had_time = now.since(since(&oldest)?) >= EVICTABLE_AFTER_MILLIS;
            has_had_time.then_some(oldest)
        })
    }

    /// Gives a client its turn.
    fn advance(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        if client
            .advance(|received| self.pages.answer(received))
            .is_err()
        {
            self.clients[index] = None;
        }
    }

    fn close_late(&mut self) {
        let now = self.pages.now().monotonic;
        for place in &mut self.clients {
            if place
                .as_ref()
                .is_some_and(|client| now >= client.deadline())
            {
                *place = None;
            }
        }
    }
}
