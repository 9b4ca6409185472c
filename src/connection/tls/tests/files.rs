//! Files that cannot be used: one sentence each.

use super::*;

/// Opens the pair `name` of `files`, and returns the error without the directory, and the key at fault.
fn refusal(files: &Files, name: &str) -> (CertificateKey, String) {
    let error = TlsContext::open(&files.config(name), at(0.0)).unwrap_err();
    assert_eq!(error.host, None);
    let directory = format!("{}/", files.0.path().display());
    (error.key, error.to_string().replace(&directory, ""))
}

/// As [`refusal`], for a certificate file and a key file with these contents.
fn refusal_of(certificate: &str, key: &str) -> (CertificateKey, String) {
    let files = Files::new();
    files.write("x.pem", certificate);
    files.write("x.key", key);
    refusal(&files, "x")
}

fn of_certificate(sentence: &str) -> (CertificateKey, String) {
    (CertificateKey::Certificate, sentence.to_owned())
}

fn of_key(sentence: &str) -> (CertificateKey, String) {
    (CertificateKey::PrivateKey, sentence.to_owned())
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let files = Files::new();
    let missing = |name| format!("cannot read {name}: No such file or directory (os error 2)");
    assert_eq!(refusal(&files, "x"), of_certificate(&missing("x.pem")));
    files.write("x.pem", &leaf(&["a.example"]).certificate);
    assert_eq!(refusal(&files, "x"), of_key(&missing("x.key")));
    std::fs::create_dir(files.path("x.key")).unwrap();
    assert_eq!(refusal(&files, "x"), of_key("x.key is no regular file"));
    let error = TlsContext::open(&files.config("missing"), at(0.0)).unwrap_err();
    assert!(!error.is_denied);
}

#[test]
fn a_fifo_and_a_huge_file_are_refused_at_once() {
    let files = Files::new();
    files.write_pair("x", &leaf(&["a.example"]));
    let fifo = files.path("fifo.pem");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    files.write("fifo.key", "");
    assert_eq!(
        refusal(&files, "fifo"),
        of_certificate("fifo.pem is no regular file")
    );
    let file = std::fs::File::create(files.path("x.key")).unwrap();
    file.set_len(1 << 40).unwrap();
    assert_eq!(refusal(&files, "x"), of_key("x.key is larger than 1 MiB"));
}

#[test]
fn a_file_without_what_it_must_have_says_what_it_has() {
    let Pem { certificate, key } = leaf(&["a.example"]);
    assert_eq!(refusal_of("", &key), of_certificate("x.pem is empty"));
    assert_eq!(
        refusal_of("hello\n", &key),
        of_certificate(
            "x.pem holds no certificate in PEM: no line says -----BEGIN CERTIFICATE-----"
        )
    );
    assert_eq!(
        refusal_of(&key, &certificate),
        of_certificate("x.pem holds no certificate, only PRIVATE KEY")
    );
    assert_eq!(
        refusal_of(&certificate, &(certificate.clone() + &certificate)),
        of_key("x.key holds no private key, only CERTIFICATE, CERTIFICATE")
    );
    let files = Files::new();
    std::fs::write(files.path("x.pem"), first(&certificate)).unwrap();
    let (_, message) = refusal(&files, "x");
    assert!(
        message.ends_with("; it looks like DER, which openssl can convert"),
        "{message}"
    );
}

#[test]
fn a_damaged_file_is_refused() {
    let Pem { certificate, key } = leaf(&["a.example"]);
    let cut = &certificate[..certificate.len() - 10];
    assert_eq!(
        refusal_of(cut, &key),
        of_certificate("x.pem is damaged: the line -----END CERTIFICATE----- is missing")
    );
    assert_eq!(
        refusal_of(&certificate, &key.replacen('M', "!", 1)),
        of_key("x.key is damaged: a section is no base64")
    );
    let (at_fault, message) = refusal_of(&pem("CERTIFICATE", b"0000"), &key);
    assert_eq!(at_fault, CertificateKey::Certificate);
    assert!(
        message.starts_with("the certificate number 1 in x.pem is damaged: "),
        "{message}"
    );
}

#[test]
fn an_encrypted_key_is_refused_with_the_way_to_decrypt_it() {
    let Pem { certificate, .. } = leaf(&["a.example"]);
    let pkcs8 = pem("ENCRYPTED PRIVATE KEY", b"secret");
    let header =
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n";
    let older = pem("RSA PRIVATE KEY", b"secret");
    let older = older.replace("-----BEGIN RSA PRIVATE KEY-----\n", &format!("{header}\n"));
    for key in [pkcs8, older] {
        assert_eq!(
            refusal_of(&certificate, &key),
            of_key(
                "the private key in x.key is encrypted, and the server cannot ask for the password: \
                 write it without one with openssl pkey -in x.key -out NEW"
            )
        );
    }
}

#[test]
fn a_key_of_another_certificate_or_of_an_unknown_kind_is_refused() {
    let Pem { certificate, .. } = leaf(&["a.example"]);
    assert_eq!(
        refusal_of(&certificate, &leaf(&["a.example"]).key),
        of_key("the private key in x.key does not belong to the certificate in x.pem")
    );
    let message = "the private key in x.key is damaged or of a kind that is not supported: use ECDSA on P-256, \
                   P-384 or P-521, RSA of 2048 to 8192 bits, or Ed25519";
    for key in [pem("PRIVATE KEY", b"secret"), RSA_1024.to_owned()] {
        assert_eq!(refusal_of(&certificate, &key), of_key(message));
    }
}

#[test]
fn a_chain_is_refused_unless_each_certificate_is_issued_by_the_next() {
    let (root, root_issuer) = authority("Root");
    let key = KeyPair::generate().unwrap();
    let params = authority_params("Middle");
    let middle = params.signed_by(&key, &root_issuer).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = leaf_params(&["a.example"], [UNIX_NOW, UNIX_NOW + DAY]);
    let leaf = params.signed_by(&key, &issuer).unwrap();
    let [leaf, middle, root] = [leaf.der(), middle.der(), &root].map(|der| pem("CERTIFICATE", der));
    let key = pem("PRIVATE KEY", key.serialized_der());
    let files = Files::new();
    files.write("x.key", &key);
    for right in [
        vec![&leaf],
        vec![&leaf, &middle],
        vec![&leaf, &middle, &root],
    ] {
        let chain: String = right.iter().map(|part| part.as_str()).collect();
        files.write("x.pem", &chain);
        let (client, _) = connect(
            open(&files.config("x")).server_config(),
            &Arc::new(client()),
            "a.example",
        )
        .unwrap();
        assert_eq!(client.peer_certificates().unwrap().len(), right.len());
    }
    assert_eq!(
        refusal_of(&format!("{middle}{leaf}"), &key),
        of_certificate(
            "the certificates in x.pem are in the wrong order: number 2 belongs to the private key in x.key \
             and must be the first"
        )
    );
    assert_eq!(
        refusal_of(&format!("{leaf}{root}{middle}"), &key),
        of_certificate(
            "the certificates in x.pem are in the wrong order: number 1 was issued by \"CN=Middle\", but number 2 \
             is that of \"CN=Root\""
        )
    );
}

#[test]
fn one_file_may_hold_both_and_several_keys() {
    let files = Files::new();
    let (own, other) = (leaf(&["a.example"]), leaf(&["b.example"]));
    let parameters = pem("EC PARAMETERS", b"0000");
    let both = format!("{}{parameters}{}{}", other.key, own.certificate, own.key);
    files.write("x.pem", &both);
    let mut config = files.config("x");
    config.site.key = config.site.certificate.clone();
    assert_eq!(shown(&open(&config), "a.example"), first(&own.certificate));
}

#[test]
fn an_error_names_the_first_host_that_has_the_file() {
    let files = Files::new();
    files.write_pair("x", &leaf(&["a.example"]));
    let mut config = files.config("x");
    files.add_host(&mut config, &["a.example"], "x");
    files.add_host(&mut config, &["b.example"], "missing");
    let error = TlsContext::open(&config, at(0.0)).unwrap_err();
    assert_eq!((error.host, error.key.name()), (Some(1), "certificate"));
}

#[test]
fn an_https_address_needs_a_certificate() {
    let files = Files::new();
    let mut config = files.config("x");
    (config.site.certificate, config.site.key) = (None, None);
    let error = TlsContext::open(&config, at(0.0)).unwrap_err();
    let sentence = "an https:// address needs a certificate and a key, or --self-signed";
    assert_eq!(error.to_string(), sentence);
}

/// From `openssl genrsa -traditional 1024`.
const RSA_1024: &str = "\
-----BEGIN RSA PRIVATE KEY-----\n\
MIICXAIBAAKBgQCiZ9iHe4bvlvMgvLFtlkSqkly7kqU/eaV7/0Rfjf5KdOVB8clG\n\
uhAk8keyIDFABZQ/LlVHjRIHFXKM8dqJUKRlmqClfk+SBb4unOPnA2EC+tU3vQXn\n\
H7OnHUyTWvhRIst5ZIvCpIaWvF2ofJJwdhr+eS+uON1pJMPNQZe/DlcIbwIDAQAB\n\
AoGAFsu6wfGd1B19DPhPc1FnXAXlTFLeLRW3G7uN7lew/OSBlYsJtIrDX1w+ogsQ\n\
vqrJz0CCqeNsR2BETvJXuXR/TqZyHYkv8JStTR32tA0/Bug25iGwlFVzOiqfV4kN\n\
71ouSCmZimj1YPQLqUdO9vsbtQUMQICLyNMZ9LoRIxUPjPkCQQDN8NLtCy8RdZhG\n\
VaKpZBnmTWp9mTnPMgIkyWDYlfp/MSd8l9Fz9mLRCVmjMeOgZa+p1WxAsW5+UFmv\n\
lfB06L6FAkEAyeHxeifeP3QIw5heWGZEaJuNAHSNT2fNRYBh1en+eSVRGjFVOLH9\n\
Y+VRBUjjKJ6t4YuVWd8wMlOCJvPG6bpfYwJABkAJ1sHhItGD1pagwi1Uj+XHlppA\n\
4+XrpLwr4Ubj/Fo8jY55/9/5bciv3MEV3HdZlnjwuSHpbZH4ttiBHLs3lQJBAK5c\n\
qe5CXs7ZDfS5NcsN0Mm0h2y8PYw2b/E2N8nExpelZk3EDAHioKJV3cs9r4xWuIFT\n\
yFON05ezznaMF+GoqVcCQFYOBSE/AVn9qyigt2p5y69MbflmARJuWdqNvAbr0Jl0\n\
BOpMZYqe+sJ9tf3bGbe8b4cXzsfYCjYhLRNIaPwM9Kg=\n\
-----END RSA PRIVATE KEY-----\n\
";
