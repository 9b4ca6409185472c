//! The settings of TLS: certificates and keys, `https_redirect`, `hsts`, and `--self-signed`.

use std::fs;
use std::path::{Path, PathBuf};

use abide::config::{Config, Flags, SiteConfig};

use super::wrong_sites::assert_refusals;
use super::{ConfigFile, error, load, refusal};

/// A server that listens on https and has a certificate.
const WITH_TLS: &str = "listen = ['https://127.0.0.1:443']\ncertificate = 'c.pem'\nkey = 'k.pem'\n";

/// The configuration of `file` and `flags`, whose relative paths are those of the directory of the file.
fn resolve(file: &ConfigFile, flags: &Flags) -> Result<Config, String> {
    let flags = Flags {
        root: Some(file.directory.path().to_owned()),
        ..flags.clone()
    };
    Config::resolve(Some(&file.path()), &flags).map_err(|error| error.to_string())
}

/// Files of these names in the directory of `file`.
fn make(file: &ConfigFile, names: &[&str]) {
    for name in names {
        fs::write(file.directory.path().join(name), "").unwrap();
    }
}

#[test]
fn a_certificate_and_its_key_are_set_together() {
    let host = "[[host]]\nname = 'a'\nroot = 'a'\n";
    let with_tls = |rest: &str| format!("{WITH_TLS}{host}{rest}");
    assert_refusals(&[
        (
            "certificate = 'c'",
            "1: certificate",
            "of no use without key",
        ),
        ("\nkey = 'k'", "2: key", "of no use without certificate"),
        (
            "certificate = 'c'\nkey = ''",
            "1: certificate",
            "without key",
        ),
        ("key = 1", "1: key", "the path of a PEM file in quotes"),
        (
            "certificate = 'c'\nkey = 1",
            "2: key",
            "the path of a PEM file",
        ),
        (
            &with_tls("certificate = 'h'"),
            "7: host.certificate",
            "without key, set both or neither",
        ),
        (&with_tls("key = 'h'"), "7: host.key", "without certificate"),
        (
            &with_tls("certificate = 'h'\nkey = ''"),
            "7: host.certificate",
            "without key",
        ),
    ]);
}

#[test]
fn a_host_inherits_both_files_or_has_its_own() {
    let host = |rest: &str| {
        let config = load(&format!(
            "{WITH_TLS}[[host]]\nname = 'a'\nroot = 'a'\n{rest}"
        ));
        assert_eq!(load(&config.to_toml()), config);
        let site = &config.hosts[0].site;
        let text = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        [text(&site.certificate), text(&site.key)].map(Option::unwrap_or_default)
    };
    assert_eq!(host(""), ["c.pem", "k.pem"]);
    assert_eq!(
        host("certificate = 'h.pem'\nkey = 'hk.pem'"),
        ["h.pem", "hk.pem"]
    );
    assert_eq!(host("certificate = ''\nkey = ''"), ["c.pem", "k.pem"]);
}

/// A half of the default site's pair is one error, not one more for each host.
#[test]
fn half_a_pair_of_the_default_site_is_told_once() {
    let said =
        error("listen = ['https://127.0.0.1:443']\nkey = 'k'\n[[host]]\nname = 'a'\nroot = 'a'\n");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("abide.toml:2: key: "), "{said}");
}

#[test]
fn an_https_address_needs_a_certificate_of_the_default_site() {
    let listen = "listen = ['127.0.0.1:80', 'https://127.0.0.1:443']\n";
    let of_host = "[[host]]\nname = 'a'\nroot = 'a'\ncertificate = 'c'\nkey = 'k'\n";
    for rest in ["", of_host] {
        assert_eq!(
            refusal(&format!("{listen}{rest}")),
            "abide.toml:1: listen: https://127.0.0.1:443 needs a certificate: set certificate and key outside \
             of every [[host]], or try TLS with --self-signed"
        );
    }
    load(&format!("{listen}certificate = 'c'\nkey = 'k'"));
    load(
        "listen = ['127.0.0.1:0', 'https://127.0.0.1:0', 'https://127.0.0.1:0']\ncertificate = 'c'\nkey = 'k'",
    );
    // A wrong value has no consequences.
    assert_refusals(&[(
        &format!("{listen}certificate = 1"),
        "2: certificate",
        "a PEM file",
    )]);
}

#[test]
fn what_has_no_effect_without_an_https_address_is_refused_or_warned_about() {
    let without_tls = "https_redirect = true needs an address in listen that begins with https://";
    let host = "[[host]]\nname = 'a'\nroot = 'a'\n";
    assert_refusals(&[
        ("https_redirect = true", "1: https_redirect", without_tls),
        (
            "https_redirect = true\nlisten = ['[::1]:80']",
            "2: listen",
            without_tls,
        ),
        (
            &format!("https_redirect = true\n{host}"),
            "1: https_redirect",
            without_tls,
        ),
        (
            &format!("{host}https_redirect = true"),
            "4: host.https_redirect",
            without_tls,
        ),
        (
            "[admin]\nlisten = 'https://127.0.0.1:9443'",
            "2: admin.listen",
            "the pages of admin are sent without TLS",
        ),
    ]);
    load(&format!("{WITH_TLS}https_redirect = true\n{host}"));
    load(&format!("{WITH_TLS}{host}https_redirect = true"));
    for (text, warnings) in [
        ("hsts = 60".to_owned(), 1),
        (format!("{host}hsts = 60"), 1),
        (format!("hsts = 60\n{host}hsts = 0"), 1),
        (format!("{WITH_TLS}hsts = 60"), 0),
        ("hsts = 0".to_owned(), 0),
    ] {
        let warned = load(&text).warnings();
        assert_eq!(warned.len(), warnings, "{text}: {warned:?}");
        assert!(warned.iter().all(|warning| warning.starts_with("hsts: ")));
    }
}

#[test]
fn the_command_line_wins_over_the_file() {
    let file = ConfigFile::new(&format!(
        "{WITH_TLS}[[host]]\nname = 'a'\nroot = '/'\n[[host]]\nname = 'b'\nroot = '/'\n\
         certificate = '/etc/hosts'\nkey = '/etc/hosts'\n"
    ));
    make(&file, &["new.pem", "new.key"]);
    let [certificate, key] = ["new.pem", "new.key"].map(|name| file.directory.path().join(name));
    let flags = Flags {
        certificate: Some(certificate.clone()),
        key: Some(key.clone()),
        ..Flags::default()
    };
    let config = resolve(&file, &flags).unwrap();
    let files = |site: &SiteConfig| {
        site.certificate_files()
            .map(Path::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(files(&config.site), [certificate.clone(), key.clone()]);
    assert_eq!(
        files(&config.hosts[0].site),
        [certificate, key],
        "a host inherits what is in force"
    );
    assert_eq!(files(&config.hosts[1].site), [Path::new("/etc/hosts"); 2]);
    assert!(!config.self_signed);
}

#[test]
fn a_certificate_that_cannot_be_read_is_refused_where_it_was_named() {
    let file = ConfigFile::new(&format!(
        "{WITH_TLS}[[host]]\nname = 'a'\nroot = '/'\ncertificate = '/dev/null'\nkey = '/etc/hosts'\n"
    ));
    let said = resolve(&file, &Flags::default()).unwrap_err();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(
        lines[0].contains("abide.toml:2: certificate: c.pem cannot be read: No such file"),
        "{said}"
    );
    assert!(
        lines[1].contains("abide.toml:3: key: k.pem cannot be read: No such file"),
        "{said}"
    );
    assert!(
        lines[2].contains(
            "abide.toml:7: host.certificate: /dev/null cannot be read: it is no regular file"
        ),
        "{said}"
    );
    let flags = |path: &str| Flags {
        certificate: Some(path.into()),
        key: Some("/etc/hosts".into()),
        ..Flags::default()
    };
    let plain = ConfigFile::new("");
    let said = resolve(&plain, &flags("no/such.pem")).unwrap_err();
    assert!(
        said.starts_with("--certificate: no/such.pem cannot be read: No such file"),
        "{said}"
    );
    assert_eq!(
        resolve(&plain, &flags("")).unwrap_err(),
        "--certificate: the path is empty, it must be a PEM file"
    );
    let alone = Flags {
        key: None,
        ..flags("/etc/hosts")
    };
    let said = resolve(&plain, &alone).unwrap_err();
    assert_eq!(
        said,
        "--certificate: it is of no use without key, set both or neither"
    );
}

#[test]
fn a_self_signed_server_listens_on_https() {
    let flags = |listen: &[&str]| Flags {
        self_signed: true,
        listen: listen.iter().map(|address| (*address).to_owned()).collect(),
        ..Flags::default()
    };
    let file = |text: &str| ConfigFile::new(text);
    let listen = |file: &ConfigFile, flags: &Flags| {
        let config = resolve(file, flags).unwrap();
        assert!(config.self_signed);
        config
            .listen
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(listen(&file(""), &flags(&[])), "https://127.0.0.1:8443");
    let both = ["127.0.0.1:0", "https://[::1]:0"];
    assert_eq!(listen(&file(""), &flags(&both)), both.join(" "));
    assert_eq!(
        listen(&file("listen = ['https://[::1]:443']"), &flags(&[])),
        "https://[::1]:443"
    );
    let without = "--self-signed: no address in listen begins with https://, add one, as in -l https://127.0.0.1:8443";
    for (text, arguments) in [
        ("listen = ['127.0.0.1:0']", &[][..]),
        ("", &["127.0.0.1:0"]),
    ] {
        assert_eq!(
            resolve(&file(text), &flags(arguments)).unwrap_err(),
            without
        );
    }
    // A wrong address has no consequences.
    let said = resolve(&file("listen = ['a']"), &flags(&[])).unwrap_err();
    assert_eq!(said.lines().count(), 1, "{said}");
}
