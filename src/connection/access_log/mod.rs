//! The access log, as far as a connection writes it: the format of a line ([`mod@line`]), and the lines that
//! one thread collects ([`log_buffer`]).

mod escape;
pub mod line;
pub mod log_buffer;
mod timestamp;
