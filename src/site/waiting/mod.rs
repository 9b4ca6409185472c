//! Waiting for a disk without a thread: how far an answer may go ([`reach`]), what one thread gets for all
//! who want it ([`errand`]), and work that takes long, done in slices ([`job`]).

pub mod errand;
pub mod job;
pub mod outstanding;
pub mod reach;
