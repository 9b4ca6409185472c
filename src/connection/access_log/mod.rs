//! The access log, as far as a connection writes it: what a line says ([`mod@line`]), and the lines that
//! one thread collects ([`log_buffer`]).

mod escape;
pub mod line;
pub mod log_buffer;
mod stamp;
