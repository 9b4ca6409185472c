//! abide is an HTTP/1.1 origin server for static sites, and a reference implementation of
//! persistent connections. Its one promise: **a client that keeps to what the server advertises never
//! loses a request.** This page is the map of the code.
//!
//! # Layers
//!
//! A module may use its own layer and those below it; `tests/tidy` enforces that.
//!
//! ```text
//!   main.rs cli.rs        the program: command line -> Config -> Server
//!   admin                 metrics, health checks and the status page, on a thread of their own
//!   selftest              simulated clients over real sockets: --selftest
//!   server                threads, readiness and timers: event loops, workers, timer wheel
//!   connection            one connection: its state table, its socket, its owner
//!   site                  Request -> Response: names, files, the cache
//!   http                  messages and their rules: pure, no I/O, no clock
//!   config  clock         validated settings; the only module that reads a clock
//! ```
//!
//! # A request's journey
//!
//! An *event loop* is a thread that polls its sockets and answers requests that memory can answer. There
//! is one, or several that share the ports. Each has a pool of *workers*, which run the turns that may
//! block on a disk, and help when many connections are ready. No call connects the two sides: a connection
//! changes hands through a word in its slot and a number in a queue. The verbs come in pairs.
//!
//! ```text
//!   kernel: socket readable
//!     |
//!   event loop   EventLoop::run -> Dispatcher::notify
//!     |            SlotRef::notify              idle -> queued
//!     |            Handoff::dispatch            the queued slot into the ready queue
//!     v
//!   loop or      Dispatcher::round -> Handoff::take, or Worker::run -> Handoff::pick_up
//!   worker         TurnRunner::run
//!     |            Slots::begin                 queued -> running
//!     |            Session::turn                recv, parse, answer, send: until it would block
//!     |              http::request::parse_head
//!     |              site::Sites::respond       path -> memory or file -> preconditions -> Response
//!     |              http::response::encode_head
//!     |              connection::output::send
//!     |            Session::next_deadline       the deadline of the next turn
//!     |            OwnedSlot::wait_until        stores it; running -> idle, or another turn
//!     |
//!     |  if the event loop would block on a disk, or the turn was long:
//!     |            OwnedSlot::requeue           running -> queued
//!     |            Handoff::defer               the queued slot into the blocking queue, for workers only
//!     |  if another thread is already loading the file, or loading takes long:
//!     |            OwnedSlot::requeue           running -> queued
//!     |            Flight::wait                 in no queue until the flight is over
//!     |            Flight::work                 a job, which any worker continues, slice by slice
//!     v
//!   event loop   Deadlines::claim_due           reads the deadline when the wheel reaches its entry
//! ```
//!
//! In code: [`EventLoop::run`](server::event_loop::EventLoop::run),
//! [`Dispatcher::round`](server::dispatcher::Dispatcher::round),
//! [`SlotRef::notify`](server::slots::SlotRef::notify),
//! [`Handoff::dispatch`](server::handoff::Handoff::dispatch),
//! [`Handoff::take`](server::handoff::Handoff::take),
//! [`Handoff::pick_up`](server::handoff::Handoff::pick_up),
//! [`TurnRunner::run`](server::turn_runner::TurnRunner::run),
//! [`Session::turn`](connection::session::Session::turn), [`parse_head`](http::request::parse_head),
//! [`Sites::respond`](site::Sites::respond), [`encode_head`](http::response::encode_head),
//! [`send`](connection::output::send),
//! [`Session::next_deadline`](connection::session::Session::next_deadline),
//! [`OwnedSlot::wait_until`](server::slots::OwnedSlot::wait_until),
//! [`Handoff::defer`](server::handoff::Handoff::defer), [`Flight::wait`](site::waiting::Flight::wait),
//! [`Flight::work`](site::waiting::Flight::work).
//!
//! A connection with TLS has a handshake before its first request, which is a worker's work. Then its turns are those
//! of any connection: [`connection::client_socket`] is the transport, and [`connection::tls`] turns records into
//! content and content into records.
//!
//! A turn sees one configuration from its start to its end. A reload puts another one in force
//! ([`server::reload`]), which each thread takes over before its next turn.
//!
//! A file that the cache does not have is mostly in the kernel's memory. Any thread loads it from there
//! ([`site::disk::SearchRoot`]), the event loop too; only what needs the disk is left to the workers.
//!
//! The other threads: a *revalidator* ([`site::memory::Revalidator`]) compares cached files with the disk, so
//! that no request waits for that. One thread writes the access log and one standard error
//! ([`server::line_writer`]), so that no thread waits for their readers. One waits for SIGINT
//! ([`server::interrupt`]), so that a stuck thread cannot hold up the end. One reloads the configuration,
//! and one looks for renewed certificates. One answers the operator ([`admin`]) and only reads what the
//! others write. The *supervisor* ([`server::spares`]) starts spare workers while the disk holds up all
//! workers. Two threads of low priority compress large files and compare sidecars with their originals
//! ([`site::memory`]). One starts when a large file that was deleted must be closed, which takes long
//! (`site::disk`).
//!
//! Before the second thread starts, the program listens and then gives up its rights
//! ([`server::confinement`]): it changes to its user and enters a sandbox.
//!
//! # Three ideas
//!
//! **Ownership** ([`connection::ownership`]). Each connection has one atomic word. Only the event loop turns
//! idle into owned; only the owner reads, writes or closes. An event that arrives meanwhile changes the
//! word, so the owner sees the event before it can release the connection. `tests/model/ownership.rs` checks
//! all interleavings.
//!
//! **Lazy deadlines** ([`server::timer_wheel`]). A request only moves a number in its own slot. Every few
//! seconds the wheel names each slot, and the event loop reads the number and files the slot again
//! ([`server::deadlines`]).
//!
//! **Few wake-ups** ([`server::handoff`]). Waking a thread costs as much as answering from memory. The event
//! loop is awake already, so it answers. A worker is woken for each connection that may block, and for each
//! eight that are ready.
//!
//! # Glossary
//!
//! - *slot*: a place in the table of connections, reused with a new *generation*.
//! - *token*: generation and slot in one word, which the kernel returns with an event.
//! - *connection*: a socket and a session. *Session*: the protocol state, without the socket.
//! - *transport*: what a session sees of the socket; in tests, a script.
//! - *record*: the unit of TLS, with up to 16 KiB of *content* (RFC 8446 section 5.1).
//! - *turn*: one visit of a thread to a connection, bounded in requests and bytes.
//! - *round*: the work of an event loop between two polls.
//! - *hand-off*: the queues between an event loop and its workers.
//! - [`MayBlock`](site::MayBlock): whether a turn may wait for a disk, and for which file systems.
//! - *flight*: one load from the disk, for all requests that want its result (as in "single flight").
//! - *job*: a flight that takes long, such as hashing a large file or listing a large directory.
//! - *slice*: some milliseconds of a job, after which the worker does other work ([`site::waiting`]).
//! - *thread buffers*: the buffers that a thread lends to a session for a turn.
//! - *spare worker*: a worker that runs for a *lease* of some seconds while the disk holds up the others.
//! - *encoded variant*: a file in a content coding. *Sidecar*: a file beside it that holds one, as `a.js.gz`.
//! - *gauge*: the number of open connections under a limit. *Pressure*: 90 % of the limit are open.
//! - *proxied*: a connection whose proxy names the client in a header ([`http::proxy_protocol`]).
//! - *silent*: without a request so far. *Parked*: waiting in no queue: a worker without work, or a
//!   connection whose flight is not over.
//! - *T*: the seconds that `Keep-Alive: timeout` promises. *Grace*: how much longer the server waits.
//! - *linger*: to read and discard after the last response, so that the client can receive it.
//!
//! # Deliberately absent
//!
//! - An async runtime. A connection is a state table and a turn is a function call; that is enough.
//! - `unsafe`, except for three calls in `connection::c_calls`.
//! - Leniency. There is one strict dialect of HTTP/1.1 and no switch to soften it.
//! - Uses for request bodies, CGI, proxying: a server for files needs none of them.
//! - HTTP/2, for now.
//!
//! # The checklist
//!
//! [`conformance`] lists every requirement of RFC 9110 and RFC 9112 with the test that shows it.
//!
//! # Reading order
//!
//! 1. [`connection::session`]: the state table, which is the core. Its `idle` and `linger` keep the promise.
//! 2. [`connection::ownership`]: which thread may use a connection.
//! 3. [`server::turn_runner`] and [`server::handoff`]: how a connection gets its turns.
//! 4. [`server::event_loop`], [`server::dispatcher`] and [`server::deadlines`]: what wakes it.
//! 5. [`http::request`] and [`http::keep_alive`]: what the server accepts and promises.
//! 6. [`site`] and [`Site::respond`](site::Site::respond): how a response is chosen.

// A module of the test library is compiled in the unit tests too, where it names this crate.
#[cfg(test)]
extern crate self as abide;

pub mod admin;
pub mod clock;
pub mod config;
pub mod connection;

/// The requirements of RFC 9110 and RFC 9112, each with the test that shows it.
///
#[doc = include_str!("../tests/conformance/requirements.md")]
pub mod conformance {}

pub mod http;
pub mod selftest;
pub mod server;
pub mod site;
