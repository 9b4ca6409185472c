//! The error of a certificate or key that cannot be used.

use std::fmt;

/// The key of the configuration that names the file at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateKey {
    /// `certificate`.
    Certificate,
    /// `key`.
    PrivateKey,
}

impl CertificateKey {
    /// The name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            CertificateKey::Certificate => "certificate",
            CertificateKey::PrivateKey => "key",
        }
    }
}

/// Why the certificate or the key of a site cannot be used: one sentence, without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateError {
    /// The key that names the file at fault.
    pub key: CertificateKey,
    /// The host of [`Config::hosts`](crate::config::Config::hosts) with this index; `None` for the default site.
    /// If several sites use the file, the first of them.
    pub host: Option<usize>,
    /// Whether a permission is missing. Another user may have it.
    pub is_denied: bool,
    message: String,
}

impl CertificateError {
    /// An error in the file that `key` names, at the default site.
    pub(super) fn new(key: CertificateKey, message: String) -> CertificateError {
        CertificateError {
            key,
            host: None,
            is_denied: false,
            message,
        }
    }

    /// This error at the host with the index `host`.
    pub(super) fn at(self, host: Option<usize>) -> CertificateError {
        CertificateError { host, ..self }
    }

    /// This error, as one of permissions or not.
    pub(super) fn denied(self, is_denied: bool) -> CertificateError {
        CertificateError { is_denied, ..self }
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CertificateError {}
