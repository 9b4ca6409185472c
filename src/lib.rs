//! abide is an HTTP/1.1 origin server for static sites, and a reference implementation of
//! persistent connections. Its one promise: **a client that keeps to what the server advertises never
//! loses a request.** This page is the map of the code.
//!
//! # Layers
//!
//! A module may use its own layer and those below it; `tests/tidy` holds that.
//!
//! ```text
//!   main.rs cli.rs        the program: command line -> Config -> Server
//!   selftest              clients played against a server over real sockets: --selftest
//!   server                threads, readiness, time passing: event loop, workers, timer wheel
//!   connection            one connection: its state table, its socket, who owns it
//!   site                  Request -> Response: names, files, the cache
//!   http                  messages and their rules: pure, no I/O, no clock
//!   config  clock         validated settings; the only place that reads a clock
//! ```
//!
//! # A request's journey
//!
//! One thread, the *event loop*, polls all sockets and answers what memory can answer; a pool of
//! *workers* does what may wait for a disk, and helps when much is ready. The hop between them is the
//! hardest thing to follow, because no call connects the two sides: a connection changes hands through
//! a word in its slot and a number in a queue. The verbs come in pairs.
//!
//! ```text
//!   kernel: socket readable
//!     |
//!   event loop   EventLoop::run -> Dispatcher::notify
//!     |            SlotRef::notify              idle -> queued
//!     |            Handoff::dispatch            the queued slot into the ready queue
//!     v
//!   whoever is   Dispatcher::round -> Handoff::take, or Worker::run -> Handoff::pick_up
//!   first          TurnRunner::run
//!     |            Slots::begin                 queued -> running
//!     |            Session::turn                recv, parse, answer, send: until it would block
//!     |              http::request::parse_head
//!     |              site::Sites::respond       path -> memory or file -> preconditions -> Response
//!     |              http::response::encode_head
//!     |              connection::output::send
//!     |            Session::rest                when is the next turn due?
//!     |            OwnedSlot::wait_until        that deadline into the slot; running -> idle, or another turn
//!     |
//!     |  if the event loop would have to wait for a disk, or the turn was long:
//!     |            OwnedSlot::requeue           running -> queued
//!     |            Handoff::defer               the queued slot into the blocking queue, for workers only
//!     |  if another thread is getting the same from the disk, or it takes long:
//!     |            OwnedSlot::requeue           running -> queued
//!     |            Flight::wait                 in no queue; that thread puts it into one
//!     |            Flight::work                 a job, which any worker goes on with, slice by slice
//!     v
//!   event loop   Deadlines::turn                finds the deadline when it needs it
//! ```
//!
//! In code: [`EventLoop::run`](server::event_loop::EventLoop::run),
//! [`Dispatcher::round`](server::dispatcher::Dispatcher::round),
//! [`SlotRef::notify`](server::slots::SlotRef::notify),
//! [`Handoff::dispatch`](server::handoff::Handoff::dispatch),
//! [`Handoff::take`](server::handoff::Handoff::take),
//! [`Handoff::pick_up`](server::handoff::Handoff::pick_up),
//! [`TurnRunner::run`](server::turn_runner::TurnRunner::run),
//! [`Session::turn`](connection::session::Session::turn),
//! [`parse_head`](http::request::parse_head), [`Sites::respond`](site::Sites::respond),
//! [`encode_head`](http::response::encode_head), [`send`](connection::output::send),
//! [`Session::rest`](connection::session::Session::rest),
//! [`OwnedSlot::wait_until`](server::slots::OwnedSlot::wait_until),
//! [`Handoff::defer`](server::handoff::Handoff::defer),
//! [`Flight::wait`](site::waiting::Flight::wait),
//! [`Flight::work`](site::waiting::Flight::work).
//!
//! A third kind of thread, the *revalidator* ([`site::memory::Revalidator`]), compares what is in memory with the disk, so
//! that this waits for no reader. A fourth, the *writer* ([`server::line_writer`]), writes the access log,
//! and another one standard error, so that no thread waits for those who read them. One more
//! ([`server::interrupt`]) waits for SIGINT, so that no stuck thread holds up the end. The *supervisor*
//! ([`server::spares`]) starts spare workers while the disk holds up all workers. Threads of low priority
//! compress large files and compare precompressed ones with their originals ([`site::memory`]).
//!
//! # Three ideas
//!
//! **Ownership** ([`connection::ownership`]). One atomic word per connection. Only the event loop
//! turns idle into owned; only the owner reads, writes or closes. Readiness that arrives meanwhile
//! sets a bit that the owner must see before it can let go. `tests/model/ownership.rs` checks all
//! interleavings.
//!
//! **Lazy deadlines** ([`server::timer_wheel`]). A request moves nothing but a number in its own slot.
//! The wheel looks at each connection every few seconds, finds the number, and files it again.
//!
//! **Wake nobody in vain** ([`server::handoff`]). Waking a thread costs as much as answering from
//! memory. The event loop, awake already, answers; workers are woken for what may wait, and for one in
//! eight of what is ready.
//!
//! # Glossary
//!
//! - *slot*: a place in the table of connections, reused with a new *generation*.
//! - *token*: generation and slot in one word; what the kernel gives back with an event.
//! - *connection*: a socket and a session.
//! - *session*: the protocol state of a connection, without its socket.
//! - *transport*: what a session sees of the socket; in tests, a script.
//! - *turn*: one visit of a thread to a connection, bounded in requests and bytes.
//! - *may_block*: whether that thread may wait for a disk, and for which.
//! - *flight*: what one thread gets from the disk, for all who want it.
//! - *job*: an flight that takes long: hashing a large file, listing a large directory.
//! - *slice*: some milliseconds of a job, which no thread stays with for longer ([`site::waiting`]).
//! - *buffers*: the buffers a thread lends to a session for a turn.
//! - *T*, *grace*: what `Keep-Alive: timeout` promises, and how much longer we wait.
//!
//! # Deliberately absent
//!
//! - An async runtime. A connection is a state table and a turn is a function call; that is enough.
//! - `unsafe`, but for two calls of the C library in `connection::c_calls`.
//! - Leniency. There is one strict dialect of HTTP/1.1 and no switch to soften it.
//! - Bodies that mean something, CGI, proxying: an origin for files needs none of them.
//! - TLS and HTTP/2, for now: put a proxy in front, with an idle limit shorter than T.
//!
//! # The checklist
//!
//! [`conformance`] lists every requirement of RFC 9110 and RFC 9112 with the test that shows it.
//!
//! # Reading order
//!
//! 1. [`connection::session`]: the state table; the heart. Its `idle` and `linger` hold the promise.
//! 2. [`connection::ownership`]: who may touch it.
//! 3. [`server::turn_runner`] and [`server::handoff`]: how it gets its turns.
//! 4. [`server::event_loop`], [`server::dispatcher`] and [`server::deadlines`]: what wakes it.
//! 5. [`http::request`] and [`http::keep_alive`]: what it understands and promises.
//! 6. [`site`] and [`Site::respond`](site::Site::respond): what it says.

pub mod clock;
pub mod config;
pub mod connection;

/// The checklist: what RFC 9110 and RFC 9112 require, and what shows it.
///
#[doc = include_str!("../tests/conformance/requirements.md")]
pub mod conformance {}

pub mod http;
pub mod selftest;
pub mod server;
pub mod site;
