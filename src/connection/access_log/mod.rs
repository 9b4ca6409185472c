//! The access log, as far as a connection writes it: what a line says ([`mod@line`]), and the lines that
//! one thread collects ([`journal`]).

mod escape;
pub mod journal;
pub mod line;
mod stamp;
