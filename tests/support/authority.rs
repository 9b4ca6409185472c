//! A private certificate authority, for tests over TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;

use super::site::public_directory;

/// How long certificates are valid: scanners complain about more than 366 days, and about less than 60 days that
/// remain.
const VALID_DAYS: u32 = 200;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate authority in a directory of its own, which also holds the certificates that it issues. Drop
/// removes the directory.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    place: TempDir,
}

/// The files of a certificate and its key, as the settings `certificate` and `key` name them.
pub struct CertificateFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = named("abide test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a root certificate");
        let place = public_directory();
        fs::write(place.path().join("authority.pem"), issuer.pem()).expect("its certificate");
        Authority { issuer, place }
    }

    /// The PEM file of the authority's own certificate, for clients that are to trust it.
    pub fn root(&self) -> PathBuf {
        self.place.path().join("authority.pem")
    }

    /// Issues a certificate for these host names and addresses. The first of them names its files: a second
    /// certificate for it replaces the first one.
    pub fn issue(&self, names: &[&str]) -> CertificateFiles {
        let mut params = named(names[0]);
        let names_and_addresses: Vec<String> =
            names.iter().map(|name| (*name).to_owned()).collect();
        params.subject_alt_names = CertificateParams::new(names_and_addresses)
            .expect("host names and addresses")
            .subject_alt_names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let files = CertificateFiles {
            certificate: self.place.path().join(format!("{}.pem", names[0])),
            key: self.place.path().join(format!("{}.key", names[0])),
        };
        fs::write(&files.certificate, certificate.pem()).expect("the certificate");
        fs::write(&files.key, key.serialize_pem()).expect("the key");
        files
    }

    /// A certificate for the names of this machine.
    pub fn issue_local(&self) -> CertificateFiles {
        self.issue(&["localhost", "127.0.0.1", "::1"])
    }
}

impl CertificateFiles {
    /// The two settings, as lines of a configuration.
    pub fn settings(&self) -> String {
        let quoted = |path: &Path| format!("{:?}", path.display().to_string());
        format!(
            "certificate = {}\nkey = {}\n",
            quoted(&self.certificate),
            quoted(&self.key)
        )
    }
}

/// A certificate for a subject, valid since yesterday.
fn named(subject: &str) -> CertificateParams {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = epoch + now.expect("a time after 1970");
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    params.not_before = now - DAY;
    params.not_after = params.not_before + DAY * VALID_DAYS;
    params
}
