//! A program without TLS: stands in for the module `tls` if the cargo feature is off. No value of these types exists.

use std::fmt;
use std::sync::Arc;

use crate::clock::Now;
use crate::config::Config;

/// The certificates and the ticket keys for TLS handshakes.
#[derive(Debug)]
pub enum TlsContext {}

/// The buffers for records of one thread.
#[derive(Debug)]
pub enum RecordBuffers {}

/// Why a certificate cannot be used.
#[derive(Debug)]
pub enum CertificateError {}

impl TlsContext {
    /// No address of `config` has TLS: reading the configuration refuses such an address.
    ///
    /// # Errors
    /// None.
    pub fn open(_config: &Config, _now: Now) -> Result<Option<Arc<TlsContext>>, CertificateError> {
        Ok(None)
    }

    /// As [`open`](TlsContext::open).
    ///
    /// # Errors
    /// None.
    pub fn reopen(
        &self,
        _config: &Config,
        _now: Now,
    ) -> Result<Option<Arc<TlsContext>>, CertificateError> {
        match *self {}
    }

    /// No warnings.
    #[must_use]
    pub fn warnings(&self, _config: &Config, _unix_now: u64) -> Vec<String> {
        match *self {}
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}
