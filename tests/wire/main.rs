//! Messages on a connection: valid, broken and hostile requests, and the answers to them.

mod conditional;
mod encoded_ranges;
mod encodings;
mod hostile;
mod panic;
mod serving;
mod slices;
