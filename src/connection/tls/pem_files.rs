//! Reads the two files of a certificate: its chain and its private key, in PEM (RFC 7468).
//!
//! One file may hold both. Sections of other kinds are skipped, such as the parameters that openssl writes before
//! an EC key.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::certificate_error::{CertificateError, CertificateKey};

/// The most bytes of a file. The longest chains in use have some ten kilobytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// The paths of a certificate chain and of its private key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PairPaths {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// The contents of both files. A file that cannot be read has the reason instead.
pub(super) struct PairContents {
    certificate: Result<Vec<u8>, CertificateError>,
    key: Result<Vec<u8>, CertificateError>,
}

/// Identifies contents without holding a private key: the hash of each file, or why it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContentsId([Result<blake3::Hash, String>; 2]);

/// The identity of both files by stat(2), links followed. Each change of a file changes one of the numbers, unless the
/// change comes within a tick of the file system's clock. `None` for a file that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PairIdentity([Option<FileIdentity>; 2]);

/// Device, inode, size, and the times of the last change of the content and of the inode in seconds and
/// nanoseconds.
type FileIdentity = (u64, u64, u64, [(i64, i64); 2]);

impl PairPaths {
    /// Asks for the present identity of both files.
    pub fn identity(&self) -> PairIdentity {
        PairIdentity([&self.certificate, &self.key].map(|path| {
            let found = fs::metadata(path).ok()?;
            let times = [
                (found.mtime(), found.mtime_nsec()),
                (found.ctime(), found.ctime_nsec()),
            ];
            Some((found.dev(), found.ino(), found.size(), times))
        }))
    }

    /// Reads both files.
    pub fn read(&self) -> PairContents {
        PairContents {
            certificate: read(&self.certificate, CertificateKey::Certificate),
            key: read(&self.key, CertificateKey::PrivateKey),
        }
    }
}

impl PairContents {
    /// Identifies the contents.
    pub fn id(&self) -> ContentsId {
        ContentsId([&self.certificate, &self.key].map(|content| match content {
            Ok(content) => Ok(blake3::hash(content)),
            Err(error) => Err(error.to_string()),
        }))
    }

    /// The certificates in the order of the file; at least one.
    ///
    /// # Errors
    /// If the file of `paths` could not be read, or holds no certificate, or a damaged one.
    pub fn chain(
        &self,
        paths: &PairPaths,
    ) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
        let content = self.certificate.as_ref().map_err(Clone::clone)?;
        let refuse = |why| refusal(CertificateKey::Certificate, &paths.certificate, why);
        let chain = CertificateDer::pem_slice_iter(content).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| refuse(damage(&error)))?;
        match chain.is_empty() {
            true => Err(refuse(absence(content, "certificate", "CERTIFICATE"))),
            false => Ok(chain),
        }
    }

    /// The private keys in the order of the file; at least one.
    ///
    /// # Errors
    /// If the file of `paths` could not be read, or holds no private key, or an encrypted or damaged one.
    pub fn keys(&self, paths: &PairPaths) -> Result<Vec<PrivateKeyDer<'static>>, CertificateError> {
        let content = self.key.as_ref().map_err(Clone::clone)?;
        let refuse = |why| refusal(CertificateKey::PrivateKey, &paths.key, why);
        if is_encrypted(content) {
            let message = format!(
                "the private key in {} is encrypted, and the server cannot ask for the password: \
                 write it without one with openssl pkey -in {0} -out NEW",
                paths.key.display()
            );
            return Err(CertificateError::new(CertificateKey::PrivateKey, message));
        }
        let keys = PrivateKeyDer::pem_slice_iter(content).collect::<Result<Vec<_>, _>>();
        let keys = keys.map_err(|error| refuse(damage(&error)))?;
        match keys.is_empty() {
            true => Err(refuse(absence(content, "private key", "PRIVATE KEY"))),
            false => Ok(keys),
        }
    }
}

/// An error in the file at `path`, which the sentence begins with.
fn refusal(key: CertificateKey, path: &Path, why: String) -> CertificateError {
    CertificateError::new(key, format!("{} {why}", path.display()))
}

fn read(path: &Path, key: CertificateKey) -> Result<Vec<u8>, CertificateError> {
    let failed = |error: io::Error| {
        let denied = error.kind() == io::ErrorKind::PermissionDenied;
        let message = format!("cannot read {}: {error}", path.display());
        CertificateError::new(key, message).denied(denied)
    };
    let file = open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(refusal(key, path, "is no regular file".to_owned()));
    }
    let mut content = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut content)
        .map_err(failed)?;
    match content.len() as u64 > MAX_BYTES {
        true => Err(refusal(key, path, "is larger than 1 MiB".to_owned())),
        false => Ok(content),
    }
}

/// Opens a file without waiting for the writer of a FIFO, and without making a terminal the controlling one.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    options.custom_flags(flags.bits().cast_signed());
    options.read(true).open(path)
}

/// Why no section of the kind `wanted` is in `content`.
fn absence(content: &[u8], what: &str, wanted: &str) -> String {
    if content.is_empty() {
        return "is empty".to_owned();
    }
    let found: Vec<_> = labels(content).collect();
    if !found.is_empty() {
        return format!("holds no {what}, only {}", found.join(", "));
    }
    let hint = match content {
        // A SEQUENCE of more than 127 bytes, with which each certificate and key begins in DER.
        [0x30, 0x81..=0x84, ..] => "; it looks like DER, which openssl can convert",
        _ => "",
    };
    format!("holds no {what} in PEM: no line says -----BEGIN {wanted}-----{hint}")
}

/// The labels of the PEM sections, as far as they are text.
fn labels(content: &[u8]) -> impl Iterator<Item = &str> {
    content.split(|byte| *byte == b'\n').filter_map(|line| {
        let line = std::str::from_utf8(line).ok()?.trim_end();
        line.strip_prefix("-----BEGIN ")?.strip_suffix("-----")
    })
}

/// Whether a key is encrypted: as PKCS #8 says by its label (RFC 7468 section 11), or the older form by a header
/// (RFC 1421 section 4.6.1.1).
fn is_encrypted(content: &[u8]) -> bool {
    let by_label = labels(content).any(|label| label == "ENCRYPTED PRIVATE KEY");
    by_label || memchr::memmem::find(content, b"Proc-Type: 4,ENCRYPTED").is_some()
}

fn damage(error: &pem::Error) -> String {
    let what = match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            let label = String::from_utf8_lossy(end_marker);
            format!("the line -----END {label}----- is missing")
        }
        pem::Error::Base64Decode(_) => "a section is no base64".to_owned(),
        error => error.to_string(),
    };
    format!("is damaged: {what}")
}
