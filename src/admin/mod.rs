//! The admin listener (`[admin]`): metrics, health checks and the status page, for the operator.
//!
//! One thread answers all of its clients from its own poll ([`admin_loop`]). It reads what the serving threads
//! write anyway: atomic counters, the words of the slots, the lengths of queues. It waits for no lock that
//! another thread holds for long, so it answers while every worker and even an event loop is stuck. At most
//! 16 clients are served at a time, each for five seconds at most, and every response ends its connection.
//!
//! ```text
//!   admin_loop    the thread: accepts, gives clients their turns, takes a sample each second
//!   cpu_share     how long it rests between two rounds
//!   client        one connection: head, response, FIN
//!   pages         request -> response: routes, the check of Host, fields
//!   metrics       /metrics, written with `exposition`
//!   status_page   / and status_json: /status.json
//!   connections   /connections.json
//!   figures       all numbers at one moment; process: those of the operating system
//!   history       samples of the last minutes, and the slowest requests
//! ```
//!
//! # Conservation
//!
//! Counters move while they are read. So a number that follows from others is derived from them: the open
//! connections are those accepted minus those closed, the active ones are the rest of the open ones, and the
//! count of a histogram is the number of requests. Closes are read before accepts, so no difference is
//! negative, and an Acquire fence between the two keeps that order on every machine.

pub mod admin_loop;
pub mod client;
pub mod connections;
pub mod cpu_share;
pub mod exposition;
pub mod figures;
pub mod history;
pub mod metrics;
pub mod pages;
pub mod process;
pub mod status_json;
pub mod status_page;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use mio::{Poll, Waker};

use crate::config::ListenAddress;
use crate::server::Server;
use crate::server::listener::Listener;
use admin_loop::AdminLoop;
use pages::Pages;
use process::ProcessFiles;

/// A bound admin listener that nobody serves yet. The program makes it before it gives up its rights
/// ([`confinement`](crate::server::confinement)).
#[derive(Debug)]
pub struct AdminListener {
    listener: Listener,
    /// Opened here, because the sandbox forbids it later.
    process: ProcessFiles,
}

impl AdminListener {
    /// The address in use, with port 0 replaced by the real port.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.listener.address
    }

    /// Starts the thread that answers about `server`, until the result is dropped.
    ///
    /// # Errors
    /// As epoll_create(2) and pthread_create(3).
    pub fn serve(self, server: &Server) -> io::Result<AdminThread> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), admin_loop::WAKER)?;
        let is_ending = Arc::new(AtomicBool::new(false));
        let all = Arc::clone(server.handle().event_loops());
        let pages = Pages::new(all, &self.listener.address, self.process);
        let admin_loop = AdminLoop::new(poll, self.listener, pages, Arc::clone(&is_ending))?;
        let thread = thread::Builder::new().name("admin".to_owned());
        Ok(AdminThread {
            thread: Some(thread.spawn(move || admin_loop.run())?),
            waker,
            is_ending,
        })
    }
}

impl From<Listener> for AdminListener {
    fn from(listener: Listener) -> AdminListener {
        AdminListener {
            listener,
            process: ProcessFiles::open(),
        }
    }
}

/// The running admin thread. Dropping it ends the thread and closes the listener.
#[derive(Debug)]
pub struct AdminThread {
    thread: Option<JoinHandle<()>>,
    waker: Waker,
    is_ending: Arc<AtomicBool>,
}

impl Drop for AdminThread {
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::SeqCst);
        if let Err(error) = self.waker.wake() {
            // The thread ends with the process.
            return log::warn!("the admin thread cannot be woken: {error}");
        }
        // It may rest.
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
        // The thread never blocks, so this takes some microseconds. A panic has been printed.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
