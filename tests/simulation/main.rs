//! The server without sockets and threads: scripted peers, and a clock that the test moves.
//!
//! [`ScriptedPeer`](support::scripted::ScriptedPeer) is the other end of a connection, and [`wire`]
//! the server's end. [`world`] runs the server's own machinery in one thread and plays the kernel.
//! [`responses`] reads the output without the server's code. An hour takes milliseconds, and every run is
//! the same.
//!
//! Start with [`story`]: it tells how a deadline is set, found and met.

mod crowd;
mod crowding;
mod deadlines;
mod endings;
mod reload;
mod responses;
mod retirement;
mod segmentation;
mod site;
mod slot_reuse;
mod story;
mod tls;
mod turns;
mod wire;
mod world;
