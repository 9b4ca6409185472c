//! What is said on a connection: requests that are good, bad or hostile, and the answers to them.

mod conditional;
mod encoded_ranges;
mod encodings;
mod hostile;
mod panic;
mod serving;
mod slices;
