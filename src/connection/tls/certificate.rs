//! A certificate with its chain and its private key, checked, and what it says of itself.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use super::certificate_error::{CertificateError, CertificateKey};
use super::pem_files::{ContentsId, PairContents, PairPaths};
use crate::config::HostName;

/// A certificate that can be used, with its chain and its private key.
#[derive(Debug)]
pub(super) struct Certificate {
    /// The form that rustls takes.
    pub certified: Arc<CertifiedKey>,
    /// The names and addresses that the certificate covers.
    pub names: Vec<CoveredName>,
    /// The first and the last second for which the certificate is valid, since 1970-01-01 UTC. 0 for a date before.
    pub not_before: u64,
    pub not_after: u64,
    /// The contents of the files; `None` without files.
    pub contents: Option<ContentsId>,
}

/// A subjectAltName (RFC 5280 section 4.2.1.6). Clients ignore the subject (RFC 9525 section 2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CoveredName {
    /// In lower case. A wildcard keeps its star.
    Dns(String),
    Ip(IpAddr),
}

impl Certificate {
    /// Whether the certificate is valid at the time `unix_now`.
    pub fn is_valid_at(&self, unix_now: u64) -> bool {
        (self.not_before..=self.not_after).contains(&unix_now)
    }

    /// The certificate of these contents, which were read from `paths`. Its dates are not compared with a clock.
    ///
    /// # Errors
    /// If a file could not be read or has not what it must have, if the chain is in the wrong order, or if the key is
    /// not that of the first certificate.
    pub fn of_contents(
        contents: &PairContents,
        paths: &PairPaths,
    ) -> Result<Certificate, CertificateError> {
        let chain = contents.chain(paths)?;
        let keys = contents.keys(paths)?;
        let parsed = parse_chain(&chain, paths)?;
        let key = own_key(&keys, &parsed, paths)?;
        check_order(&parsed, paths)?;
        let (names, [not_before, not_after]) = (covered_names(&parsed[0]), validity(&parsed[0]));
        Ok(Certificate {
            certified: Arc::new(CertifiedKey::new(chain, key)),
            names,
            not_before,
            not_after,
            contents: Some(contents.id()),
        })
    }

    /// Whether the certificate is valid for a host of this name. It covers a wildcard if it has the same one, though
    /// that stands for one label only (RFC 9525 section 6.3).
    pub fn covers(&self, host: &HostName) -> bool {
        match address_of(host) {
            Some(address) => self.names.contains(&CoveredName::Ip(address)),
            None => {
                let name = host.to_string();
                let above = match host {
                    HostName::Wildcard(_) => None,
                    _ => name.split_once('.').map(|(_, above)| format!("*.{above}")),
                };
                self.names.iter().any(|covered| match covered {
                    CoveredName::Dns(covered) => {
                        *covered == name || Some(covered) == above.as_ref()
                    }
                    CoveredName::Ip(_) => false,
                })
            }
        }
    }
}

/// The address that a host name is, if it is one.
pub(super) fn address_of(host: &HostName) -> Option<IpAddr> {
    match host {
        HostName::Exact(name) => name.parse().ok(),
        HostName::Wildcard(_) => None,
        HostName::Ipv6(address) => Some(IpAddr::V6(*address)),
    }
}

fn parse_chain<'c>(
    chain: &'c [CertificateDer<'static>],
    paths: &PairPaths,
) -> Result<Vec<X509Certificate<'c>>, CertificateError> {
    let parse = |(index, der): (usize, &'c CertificateDer<'static>)| {
        let parsed = x509_parser::parse_x509_certificate(der);
        parsed.map(|(_, certificate)| certificate).map_err(|error| {
            let file = paths.certificate.display();
            let number = index + 1;
            let message = format!("the certificate number {number} in {file} is damaged: {error}");
            CertificateError::new(CertificateKey::Certificate, message)
        })
    };
    chain.iter().enumerate().map(parse).collect()
}

/// The private key of the first certificate of the chain. The file may hold other keys too, in any order.
fn own_key(
    keys: &[PrivateKeyDer<'static>],
    chain: &[X509Certificate<'_>],
    paths: &PairPaths,
) -> Result<Arc<dyn SigningKey>, CertificateError> {
    let file = paths.key.display();
    let usable = keys.iter().filter_map(|key| any_supported_type(key).ok());
    let usable: Vec<_> = usable.collect();
    if usable.is_empty() {
        let message = format!(
            "the private key in {file} is damaged or of a kind that is not supported: use ECDSA on P-256, \
             P-384 or P-521, RSA of 2048 to 8192 bits, or Ed25519"
        );
        return Err(CertificateError::new(CertificateKey::PrivateKey, message));
    }
    let is_of = |certificate: &X509Certificate<'_>, key: &Arc<dyn SigningKey>| {
        let own = key.public_key();
        own.is_some_and(|own| own.as_ref() == certificate.public_key().raw)
    };
    if let Some(key) = usable.iter().find(|key| is_of(&chain[0], key)) {
        return Ok(Arc::clone(key));
    }
    let of_later = chain
        .iter()
        .position(|certificate| usable.iter().any(|key| is_of(certificate, key)));
    Err(match of_later {
        Some(index) => {
            let message = format!(
                "the certificates in {} are in the wrong order: number {} belongs to the private key in {file} \
                 and must be the first",
                paths.certificate.display(),
                index + 1
            );
            CertificateError::new(CertificateKey::Certificate, message)
        }
        None => {
            let message = format!(
                "the private key in {file} does not belong to the certificate in {}",
                paths.certificate.display()
            );
            CertificateError::new(CertificateKey::PrivateKey, message)
        }
    })
}

/// Checks that each certificate was issued by the next one. Names are compared byte by byte, as clients do
/// (RFC 5280 section 4.1.2.4 wants issuers to write a name in one form only).
fn check_order(chain: &[X509Certificate<'_>], paths: &PairPaths) -> Result<(), CertificateError> {
    let mut pairs = chain.windows(2).enumerate();
    let wrong = pairs.find(|(_, pair)| pair[0].issuer().as_raw() != pair[1].subject().as_raw());
    let Some((index, pair)) = wrong else {
        return Ok(());
    };
    let (number, next) = (index + 1, index + 2);
    let message = format!(
        "the certificates in {} are in the wrong order: number {number} was issued by {:?}, but number {next} is \
         that of {:?}",
        paths.certificate.display(),
        pair[0].issuer().to_string(),
        pair[1].subject().to_string()
    );
    Err(CertificateError::new(CertificateKey::Certificate, message))
}

fn covered_names(certificate: &X509Certificate<'_>) -> Vec<CoveredName> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension
        .iter()
        .flat_map(|names| &names.value.general_names);
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(CoveredName::Dns(name.to_ascii_lowercase())),
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
                address.ok().map(CoveredName::Ip)
            }
            _ => None,
        })
        .collect()
}

fn validity(certificate: &X509Certificate<'_>) -> [u64; 2] {
    let validity = certificate.validity();
    let ends = [validity.not_before, validity.not_after];
    ends.map(|end| u64::try_from(end.timestamp()).unwrap_or(0))
}

impl Certificate {
    /// A certificate that was made in memory for `names`, with these seconds as its validity.
    pub fn made(
        der: CertificateDer<'static>,
        key: Arc<dyn SigningKey>,
        names: Vec<CoveredName>,
        [not_before, not_after]: [u64; 2],
    ) -> Certificate {
        Certificate {
            certified: Arc::new(CertifiedKey::new(vec![der], key)),
            names,
            not_before,
            not_after,
            contents: None,
        }
    }
}

impl std::fmt::Display for CoveredName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CoveredName::Dns(name) => f.write_str(name),
            CoveredName::Ip(address) => write!(f, "{address}"),
        }
    }
}
