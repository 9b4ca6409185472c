//! One connection: its state table, its socket, and who owns it.

pub mod access_log;
pub mod c_calls;
pub mod client_socket;
pub mod connection_id;
pub mod counters;
pub mod deadline;
pub mod duration_histogram;
mod earlier_settings;
pub mod limits;
pub mod output;
pub mod ownership;
pub mod peer;
pub mod request_kind;
pub mod response_timer;
pub mod server_context;
pub mod session;
pub mod slow_requests;
pub mod stall_detector;
pub mod thread_buffers;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(not(feature = "tls"))]
#[path = "without_tls.rs"]
pub mod tls;
pub mod transport;

/// The transport without a socket, from the library of the tests.
#[cfg(test)]
#[path = "../../tests/support/scripted.rs"]
pub mod scripted;
