//! Certificates for the tests, also of other layers, and handshakes with a client of rustls.

mod files;
mod handshakes;
mod renewals;
mod warnings;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection};
use tempfile::TempDir;

use super::*;
use crate::clock::{Millis, Now};
use crate::config::{Config, HostConfig, SiteConfig};

/// The time of day at which the tests begin: in January 2027.
const UNIX_NOW: u64 = 1_800_000_000;
const DAY: u64 = 24 * 60 * 60;

/// `secs` seconds after the start of a test.
fn at(secs: f64) -> Now {
    Now {
        monotonic: Millis((secs * 1000.0) as u64),
        unix_secs: UNIX_NOW + secs as u64,
    }
}

/// A certificate authority with this name.
fn authority(name: &str) -> (CertificateDer<'static>, Issuer<'static, KeyPair>) {
    let (params, key) = (authority_params(name), KeyPair::generate().unwrap());
    let der = params.self_signed(&key).unwrap().der().clone();
    (der, Issuer::new(params, key))
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A certificate for `names`, valid from `valid[0]` to `valid[1]` in seconds since 1970, self-signed.
fn leaf_params(names: &[&str], valid: [u64; 2]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    let at = |secs| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(secs);
    (params.not_before, params.not_after) = (at(valid[0]), at(valid[1]));
    params
}

/// A chain and a key in PEM.
#[derive(Clone)]
pub(crate) struct Pem {
    certificate: String,
    key: String,
}

/// A self-signed certificate for `names`, valid for 90 days.
fn leaf(names: &[&str]) -> Pem {
    leaf_valid(names, [UNIX_NOW - DAY, UNIX_NOW + 89 * DAY])
}

pub(crate) fn leaf_valid(names: &[&str], valid: [u64; 2]) -> Pem {
    leaf_with(&KeyPair::generate().unwrap(), names, valid)
}

fn leaf_with(key: &KeyPair, names: &[&str], valid: [u64; 2]) -> Pem {
    let certificate = leaf_params(names, valid).self_signed(key).unwrap();
    Pem {
        certificate: pem("CERTIFICATE", certificate.der()),
        key: pem("PRIVATE KEY", key.serialized_der()),
    }
}

/// A section of a PEM file.
fn pem(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        for three in line.chunks(3) {
            let bits = three
                .iter()
                .fold(0, |bits, byte| (bits << 8) | u32::from(*byte));
            let bits = bits << (8 * (3 - three.len()));
            for place in 0..4 {
                let digit = ALPHABET[(bits >> (18 - 6 * place)) as usize & 63];
                text.push(if place > three.len() {
                    '='
                } else {
                    digit.into()
                });
            }
        }
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

/// A directory with certificate files.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// Writes `name.pem` and `name.key`.
    pub(crate) fn write_pair(&self, name: &str, pair: &Pem) {
        self.write(&format!("{name}.pem"), &pair.certificate);
        self.write(&format!("{name}.key"), &pair.key);
    }

    /// A configuration whose default site has `name.pem`.
    pub(crate) fn config(&self, name: &str) -> Config {
        let mut config = Config {
            listen: vec!["https://127.0.0.1:0".parse().unwrap()],
            ..Config::default()
        };
        self.set(&mut config.site, name);
        config
    }

    fn set(&self, site: &mut SiteConfig, name: &str) {
        site.certificate = Some(self.path(&format!("{name}.pem")));
        site.key = Some(self.path(&format!("{name}.key")));
    }

    /// Adds a host with these names, which has `name.pem`.
    fn add_host(&self, config: &mut Config, names: &[&str], name: &str) {
        let mut site = SiteConfig::default();
        self.set(&mut site, name);
        config.hosts.push(HostConfig {
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
            site,
        });
    }
}

fn open(config: &Config) -> Arc<TlsContext> {
    TlsContext::open(config, at(0.0)).unwrap().unwrap()
}

/// A client that accepts every certificate.
fn client() -> ClientConfig {
    client_of(rustls::ALL_VERSIONS)
}

fn client_of(versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
    let provider = Arc::new(default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(versions).unwrap();
    let builder = builder.dangerous();
    let verifier = Arc::new(AnyCertificate::new(provider));
    let builder = builder.with_custom_certificate_verifier(verifier);
    builder.with_no_client_auth()
}

/// Both sides of a connection after the handshake. The error is that of the server.
type Connected = Result<(ClientConnection, ServerConnection), Error>;

/// Connects. `name` is the server name, or an address if the client has to send none.
fn connect(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>, name: &str) -> Connected {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    while client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            server.read_tls(&mut wire).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            client.read_tls(&mut wire).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok((client, server))
}

/// The certificate that a client gets which asks for `name`.
fn shown(context: &TlsContext, name: &str) -> CertificateDer<'static> {
    let connected = connect(context.server_config(), &Arc::new(client()), name);
    let (client, _) = connected.unwrap();
    client.peer_certificates().unwrap()[0].clone()
}

/// The first certificate of a PEM file.
fn first(pem: &str) -> CertificateDer<'static> {
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}
