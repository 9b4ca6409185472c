//! Which certificate a client gets, and what is negotiated.

use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Resumption};
use rustls::client::{Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, NamedGroup, ProtocolVersion};

use super::*;

/// A configuration with certificates of their own for the default site, a.example with 192.0.2.1, and *.b.example.
fn three_sites(files: &Files) -> (Config, [CertificateDer<'static>; 3]) {
    let pems = [
        leaf(&["default.example"]),
        leaf(&["a.example"]),
        leaf(&["*.b.example"]),
    ];
    for (name, pem) in ["default", "a", "b"].iter().zip(&pems) {
        files.write_pair(name, pem);
    }
    let mut config = files.config("default");
    files.add_host(&mut config, &["a.example", "192.0.2.1"], "a");
    files.add_host(&mut config, &["*.b.example"], "b");
    (config, pems.map(|pem| first(&pem.certificate)))
}

#[test]
fn the_server_name_selects_the_certificate_as_the_host_field_selects_the_site() {
    let files = Files::new();
    let (config, [default, a, b]) = three_sites(&files);
    let context = open(&config);
    for (name, expected) in [
        ("a.example", &a),
        ("A.Example", &a),
        ("x.b.example", &b),
        ("x.y.b.example", &b),
        ("b.example", &default),
        ("unknown.example", &default),
        // No name is sent for an address, not even for that of a host.
        ("192.0.2.1", &default),
        ("2001:db8::1", &default),
    ] {
        assert_eq!(shown(&context, name), *expected, "{name}");
    }
}

#[test]
fn an_unknown_name_gets_the_certificate_of_the_default_site_also_if_hosts_are_strict() {
    let files = Files::new();
    let (mut config, [default, ..]) = three_sites(&files);
    config.strict_hosts = true;
    assert_eq!(shown(&open(&config), "unknown.example"), default);
}

#[test]
fn hosts_with_the_same_files_share_a_pair() {
    let files = Files::new();
    files.write_pair("default", &leaf(&["a.example", "b.example"]));
    let mut config = files.config("default");
    files.add_host(&mut config, &["a.example"], "default");
    files.add_host(&mut config, &["b.example"], "default");
    let certificates = open(&config).certificates();
    assert_eq!(certificates.len(), 1);
    assert_eq!(certificates[0].hosts, [None, Some(0), Some(1)]);
    assert_eq!(certificates[0].names, ["a.example", "b.example"]);
    assert_eq!(certificates[0].not_before, UNIX_NOW - DAY);
    assert_eq!(certificates[0].not_after, UNIX_NOW + 89 * DAY);
}

#[test]
fn without_an_https_address_no_file_is_read() {
    let files = Files::new();
    let mut config = files.config("missing");
    config.listen = Config::default().listen;
    assert!(TlsContext::open(&config, at(0.0)).unwrap().is_none());
}

#[test]
fn a_certificate_is_made_for_sites_without_one() {
    let files = Files::new();
    files.write_pair("a", &leaf(&["a.example"]));
    let mut config = files.config("a");
    files.add_host(&mut config, &["a.example"], "a");
    (config.site.certificate, config.site.key) = (None, None);
    config.self_signed = true;
    let context = open(&config);
    let certificates = context.certificates();
    assert_eq!(certificates.len(), 2);
    assert_eq!(certificates[0].path, None);
    assert_eq!(certificates[0].names, ["localhost", "127.0.0.1", "::1"]);
    assert_eq!(certificates[0].not_before, UNIX_NOW - DAY);
    assert_eq!(certificates[0].not_after, UNIX_NOW + 364 * DAY);
    let made = shown(&context, "localhost");
    assert_ne!(made, shown(&context, "a.example"));
    let (_, parsed) = x509_parser::parse_x509_certificate(&made).unwrap();
    let names = parsed.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names.len(), 3);
    // A browser may have been told to accept it.
    let reloaded = context.reopen(&config, at(10.0)).unwrap().unwrap();
    assert_eq!(shown(&reloaded, "localhost"), made);
}

#[test]
fn only_http_1_1_is_negotiated_as_the_protocol_rfc7301_3_2() {
    let files = Files::new();
    files.write_pair("default", &leaf(&["a.example"]));
    let context = open(&files.config("default"));
    let with = |protocols: &[&str]| {
        let mut client = client();
        client.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        let connected = connect(context.server_config(), &Arc::new(client), "a.example");
        connected.map(|(client, _)| client.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(with(&[]), Ok(None));
    assert_eq!(with(&["h2", "http/1.1"]), Ok(Some(b"http/1.1".to_vec())));
    for others in [&["h2"][..], &["h2", "http/1.0"]] {
        assert_eq!(with(others), Err(Error::NoApplicationProtocol));
    }
}

#[test]
fn both_versions_and_four_key_exchanges_are_offered() {
    let files = Files::new();
    files.write_pair("default", &leaf(&["a.example"]));
    let context = open(&files.config("default"));
    for (group, expected) in [
        (kx_group::X25519MLKEM768, NamedGroup::X25519MLKEM768),
        (kx_group::X25519, NamedGroup::X25519),
        (kx_group::SECP256R1, NamedGroup::secp256r1),
        (kx_group::SECP384R1, NamedGroup::secp384r1),
    ] {
        let provider = Arc::new(CryptoProvider {
            kx_groups: vec![group],
            ..default_provider()
        });
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate::new(provider)))
            .with_no_client_auth();
        let (client, _) = connect(context.server_config(), &Arc::new(client), "a.example").unwrap();
        let group = client.negotiated_key_exchange_group().unwrap();
        assert_eq!(group.name(), expected);
    }
    for (version, expected) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let client = Arc::new(client_of(&[version]));
        let (client, _) = connect(context.server_config(), &client, "a.example").unwrap();
        assert_eq!(client.protocol_version(), Some(expected));
    }
}

#[test]
fn keys_of_all_kinds_are_used() {
    for algorithm in [
        &rcgen::PKCS_RSA_SHA256,
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_ED25519,
    ] {
        let files = Files::new();
        let key = KeyPair::generate_for(algorithm).unwrap();
        let pair = leaf_with(&key, &["a.example"], [UNIX_NOW, UNIX_NOW + DAY]);
        files.write_pair("default", &pair);
        let context = open(&files.config("default"));
        assert_eq!(shown(&context, "a.example"), first(&pair.certificate));
    }
}

/// Keeps sessions under one name, whatever name they are for, as a client would that mixes up hosts.
#[derive(Debug)]
struct OneName(ClientSessionMemoryCache);

fn one() -> ServerName<'static> {
    ServerName::try_from("one.example").unwrap()
}

impl ClientSessionStore for OneName {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(one(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&one())
    }

    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.0.set_tls12_session(one(), session);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&one())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&one());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(one(), ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&one())
    }
}

/// Connects twice, and returns whether the second connection resumed the session of the first.
fn resumes(
    servers: [&TlsContext; 2],
    version: &'static rustls::SupportedProtocolVersion,
    names: [&str; 2],
) -> bool {
    let mut client = client_of(&[version]);
    client.resumption = Resumption::store(Arc::new(OneName(ClientSessionMemoryCache::new(8))));
    let client = Arc::new(client);
    let kinds = [0, 1].map(|index| {
        let connected = connect(servers[index].server_config(), &client, names[index]);
        let (client, server) = connected.unwrap();
        assert_eq!(client.handshake_kind(), server.handshake_kind());
        client.handshake_kind().unwrap()
    });
    assert_eq!(kinds[0], HandshakeKind::Full);
    kinds[1] == HandshakeKind::Resumed
}

#[test]
fn a_ticket_serves_only_the_name_that_it_was_issued_for_rfc6066_3() {
    let files = Files::new();
    let (config, _) = three_sites(&files);
    let context = open(&config);
    for version in [&TLS12, &TLS13] {
        for (first, second, expected) in [
            ("a.example", "a.example", true),
            ("a.example", "x.b.example", false),
            ("x.b.example", "y.b.example", false),
            ("unknown.example", "a.example", false),
            // Without a name.
            ("192.0.2.1", "192.0.2.2", true),
            ("192.0.2.1", "a.example", false),
            ("a.example", "192.0.2.1", false),
        ] {
            let resumed = resumes([&context, &context], version, [first, second]);
            assert_eq!(resumed, expected, "{version:?} {first} {second}");
        }
    }
}

#[test]
fn a_session_is_resumed_after_a_reload() {
    let files = Files::new();
    let (config, _) = three_sites(&files);
    let context = open(&config);
    let reloaded = context.reopen(&config, at(10.0)).unwrap().unwrap();
    let restarted = open(&config);
    for version in [&TLS12, &TLS13] {
        assert!(resumes([&context, &reloaded], version, ["a.example"; 2]));
        assert!(resumes([&reloaded, &context], version, ["a.example"; 2]));
        assert!(!resumes([&context, &restarted], version, ["a.example"; 2]));
    }
}

#[test]
fn tickets_last_for_12_hours_and_allow_no_early_data() {
    let files = Files::new();
    files.write_pair("default", &leaf(&["a.example"]));
    let context = open(&files.config("default"));
    let config = context.server_config();
    assert!(config.ticketer.enabled());
    assert_eq!(config.ticketer.lifetime(), 12 * 60 * 60);
    assert!(!config.session_storage.can_cache());
    let mut client = client_of(&[&TLS13]);
    client.enable_early_data = true;
    let client = Arc::new(client);
    let (first, _) = connect(config, &client, "a.example").unwrap();
    assert_eq!(first.tls13_tickets_received(), 2);
    let (second, _) = connect(config, &client, "a.example").unwrap();
    assert_eq!(second.handshake_kind(), Some(HandshakeKind::Resumed));
    assert!(!second.is_early_data_accepted());
}
