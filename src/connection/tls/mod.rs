//! TLS, with rustls. This folder holds everything that knows rustls. A program that is built without the cargo feature
//! `tls` has `without_tls` in its place.
//!
//! A connection:
//!
//! - `stream`: [`TlsStream`], the state of one connection. It makes records of content and reads content from records.
//! - `records`: the calls of rustls that read and write records.
//! - `record_buffers`: [`RecordBuffers`], the thread's buffers for records, which are lent to a connection for its turn.
//! - `handshakes`: a bound on the handshakes that are under way.
//!
//! All connections:
//!
//! - `context`: [`TlsContext`], the certificates of a configuration and what is made of them.
//! - `pair`: a certificate with its key, which is replaced while the server runs; `renewal`: when.
//! - `pem_files`, `certificate`, `self_signed`: a certificate with its key from files, or from memory.
//! - `sni`: the choice of a client's certificate; `server_config`: how the server negotiates.
//! - `warnings`: certificates that expire soon, names that none covers, and keys that a site serves.
//!
//! - `client`: a client, for the self-test.

mod certificate;
mod certificate_error;
mod client;
mod context;
mod handshakes;
mod pair;
mod pem_files;
mod record_buffers;
mod records;
mod renewal;
mod self_signed;
mod server_config;
mod sni;
mod stream;
#[cfg(test)]
pub(crate) mod tests;
mod warnings;

pub use certificate_error::{CertificateError, CertificateKey};
pub use client::{AnyCertificate, TlsClient, TlsClientStream};
pub use context::{CertificateFacts, TlsContext};
pub use record_buffers::RecordBuffers;
pub use renewal::{Checked, RenewalEvent};
pub use stream::TlsStream;
