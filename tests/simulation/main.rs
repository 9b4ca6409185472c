//! Sessions without sockets: scripted peers, a clock that moves by hand, the real timer wheel.
//!
//! [`peer`] is the other end of a connection, [`world`] plays the server's part (the event loop, a
//! worker and the wheel in one thread), [`responses`] reads what was sent and trusts nothing. An hour
//! takes milliseconds, and every run is the same.
//!
//! Start with [`story`]: it tells how a deadline is set, found and met.

mod crowd;
mod deadlines;
mod endings;
mod peer;
mod responses;
mod retirement;
mod segmentation;
mod slot_reuse;
mod story;
mod turns;
mod world;
