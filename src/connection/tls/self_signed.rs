//! A certificate made in memory, for trying https on the own machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::certificate::{Certificate, CoveredName};
use super::certificate_error::{CertificateError, CertificateKey};

const DAY_SECS: u64 = 24 * 60 * 60;

/// The validity in seconds. Some clients accept no certificate of more than 825 days.
pub(super) const VALIDITY_SECS: u64 = 365 * DAY_SECS;

/// Makes a certificate for localhost, 127.0.0.1 and ::1 with a new ECDSA key on P-256. It is valid from a day before
/// `unix_now`, for clients whose clock is behind, and for [`VALIDITY_SECS`] in all.
///
/// # Errors
/// If the random generator of the machine fails.
pub(super) fn make(unix_now: u64) -> Result<Certificate, CertificateError> {
    make_with_rcgen(unix_now).map_err(|error| {
        let message = format!("a certificate cannot be made: {error}");
        CertificateError::new(CertificateKey::Certificate, message)
    })
}

fn make_with_rcgen(unix_now: u64) -> Result<Certificate, Box<dyn std::error::Error>> {
    let names = vec![
        CoveredName::Dns("localhost".to_owned()),
        CoveredName::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        CoveredName::Ip(IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ];
    let not_before = unix_now.saturating_sub(DAY_SECS);
    let not_after = not_before + VALIDITY_SECS;
    let texts: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(texts)?;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(not_before);
    params.not_after = epoch + Duration::from_secs(not_after);
    params
        .distinguished_name
        .push(DnType::CommonName, "abide --self-signed");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let der = params.self_signed(&key)?.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = any_ecdsa_type(&key)?;
    Ok(Certificate::made(der, key, names, [not_before, not_after]))
}
