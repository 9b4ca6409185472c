//! The error of a server that cannot start.

use std::fmt;
use std::io;

use super::access_log::OpenLogError;
use crate::connection::tls::CertificateError;
use crate::site::OpenSiteError;

/// Why the server could not start: one sentence, without a full stop.
#[derive(Debug)]
pub struct StartError {
    pub(super) message: String,
    /// Whether a permission is missing. Another user may have it.
    pub is_denied: bool,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StartError {}

impl StartError {
    /// An error that has nothing to do with permissions.
    pub(super) fn new(message: String) -> StartError {
        StartError {
            message,
            is_denied: false,
        }
    }

    /// The error of a site that cannot be opened.
    pub(super) fn of_site(error: OpenSiteError) -> StartError {
        StartError {
            message: error.to_string(),
            is_denied: error.error.kind() == io::ErrorKind::PermissionDenied,
        }
    }

    /// The error of an access log that cannot be opened.
    pub(super) fn of_log(error: OpenLogError) -> StartError {
        StartError {
            message: error.to_string(),
            is_denied: error.is_denied(),
        }
    }

    /// The error of a certificate or key that cannot be used.
    #[cfg(feature = "tls")]
    pub(super) fn of_certificate(error: CertificateError) -> StartError {
        let host = if error.host.is_some() { "host." } else { "" };
        StartError {
            message: format!("{host}{}: {error}", error.key.name()),
            is_denied: error.is_denied,
        }
    }

    /// Never called.
    #[cfg(not(feature = "tls"))]
    pub(super) fn of_certificate(error: CertificateError) -> StartError {
        match error {}
    }

    /// An error in what `what` names, which a system call has reported.
    pub(super) fn because(what: impl fmt::Display) -> impl FnOnce(io::Error) -> StartError {
        move |error| StartError {
            message: format!("{what}: {error}"),
            is_denied: error.kind() == io::ErrorKind::PermissionDenied,
        }
    }
}
