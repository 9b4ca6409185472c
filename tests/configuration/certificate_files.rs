//! The files of certificates and keys when the server has given up its rights: renewals must be read with
//! those that remain.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;

use abide::config::{Config, HostConfig, ReachablePaths, SiteConfig};
use abide::server::confinement::confine_thread;
use rustix::process::geteuid;
use support::{Launch, Site};

use super::few_rights::{ACCOUNT, launch};
use super::sandbox::{expect_denied, forbids_files, inside, serving, site_with_secret};

/// Makes the files of a certbot lineage: links in `live`, which lead to the numbered files in `archive`.
fn issue(place: &Path, number: u32) {
    let [live, archive] = ["live/a.example", "archive/a.example"].map(|name| place.join(name));
    fs::create_dir_all(&live).expect("mkdir");
    fs::create_dir_all(&archive).expect("mkdir");
    for name in ["fullchain", "privkey"] {
        let numbered = format!("{name}{number}.pem");
        fs::write(archive.join(&numbered), &numbered).expect("write");
        let next = live.join("next");
        symlink(format!("../../archive/a.example/{numbered}"), &next).expect("a link");
        fs::rename(&next, live.join(format!("{name}.pem"))).expect("rename");
    }
}

/// `config` with a host whose certificate is in the lineage at `place`.
fn with_certificate(config: Config, place: &Path) -> Config {
    let live = place.join("live/a.example");
    let host = SiteConfig {
        certificate: Some(live.join("fullchain.pem")),
        key: Some(live.join("privkey.pem")),
        ..config.site.clone()
    };
    Config {
        hosts: vec![HostConfig {
            names: vec!["a.example".parse().expect("a name")],
            site: host,
        }],
        ..config
    }
}

#[test]
fn a_renewed_certificate_can_be_read_within_the_sandbox() {
    let (site, config) = site_with_secret();
    let place = site.beside("letsencrypt");
    issue(&place, 1);
    fs::write(place.join("account"), "secret").expect("write");
    let config = with_certificate(config, &place);
    let (confined, ready) = channel();
    let (renewed, waiting) = channel();
    thread::scope(|scope| {
        let (config, place) = (&config, &place);
        let server = scope.spawn(move || {
            let confinement = confine_thread(config, None).expect("confined");
            let read = |name: &str| fs::read_to_string(place.join("live/a.example").join(name));
            assert_eq!(read("privkey.pem").expect("the first key"), "privkey1.pem");
            confined.send(()).expect("the test waits");
            waiting.recv().expect("a renewal");
            assert_eq!(read("privkey.pem").expect("the new key"), "privkey2.pem");
            assert_eq!(
                read("fullchain.pem").expect("the new chain"),
                "fullchain2.pem"
            );
            let account = place.join("account");
            expect_denied(fs::read(&account), forbids_files(), "a file above");
            assert_eq!(confinement.allows_file(&account), !forbids_files());
            for file in config.hosts[0].site.certificate_files() {
                assert!(confinement.allows_file(file), "{file:?}");
            }
        });
        // If the thread has panicked, joining it says so.
        if ready.recv().is_ok() {
            issue(place, 2);
            renewed.send(()).expect("the thread waits");
        }
        server.join().expect("the new files are read");
    });
}

/// Only root can change to another user. The test of anybody else expects that refusal.
#[test]
fn a_key_that_only_root_can_read_is_refused_at_the_start() {
    let site = Site::new();
    let place = site.beside("letsencrypt");
    issue(&place, 1);
    let key = place.join("live/a.example/privkey.pem");
    let mut config = with_certificate(serving(&site), &place);
    config.user = Some("61000".to_owned());
    config.group = Some("61001".to_owned());
    for (mode, is_readable) in [(0o600, false), (0o644, true)] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).expect("chmod");
        let confined = inside(&config, None, |confinement| confinement.map(drop));
        let said = confined.map_err(|error| error.to_string());
        if !geteuid().is_root() {
            let said = said.expect_err("not as root");
            assert!(said.starts_with("user: cannot change to 61000: "), "{said}");
        } else if is_readable {
            said.expect("the user may read it");
        } else {
            let expected = format!(
                "{}: Permission denied (os error 13); a renewed key is read with the rights of user and group, \
                 so these must suffice",
                key.display()
            );
            assert_eq!(said.expect_err("unreadable"), expected);
        }
    }
}

#[test]
fn a_start_and_a_check_refuse_an_unreadable_key_in_the_same_words() {
    let site = Site::new();
    let [certificate, key] = ["c.pem", "k.pem"].map(|name| site.beside(name));
    for file in [&certificate, &key] {
        fs::write(file, "").expect("write");
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("chmod");
    }
    let toml = format!(
        "{ACCOUNT}certificate = '{}'\nkey = '{}'\n",
        certificate.display(),
        key.display()
    );
    let refusal = |arguments: &[&str]| {
        let ended = launch(&site, &toml).args(arguments).run();
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        ended.stderr
    };
    let started = refusal(&[]);
    assert_eq!(refusal(&["--check"]), started);
    if geteuid().is_root() {
        let start = format!("abide: {}: Permission denied", certificate.display());
        assert!(started.starts_with(&start), "{started}");
    }
}

#[test]
fn a_reload_refuses_a_certificate_outside_of_the_sandbox_at_its_line() {
    let site = Site::new();
    let other = Site::new();
    let [inside, outside] = [&site, &other].map(|site| {
        let file = site.beside("c.pem");
        fs::write(&file, "").expect("write");
        file
    });
    let toml = |certificate: &Path| {
        format!(
            "workers = 1\ncertificate = '{}'\nkey = '{}'\n",
            certificate.display(),
            inside.display()
        )
    };
    let server = Launch::of(site.root()).config(&toml(&inside)).start();
    let said = server.reload(&toml(&outside));
    if forbids_files() {
        let refused = format!(
            ":2: certificate: {} is outside of the sandbox",
            outside.display()
        );
        assert!(said.contains(&refused), "{said}");
    }
    let said = server.reload(&toml(&site.beside("none.pem")));
    assert!(
        said.contains(":2: certificate: ") && said.contains("cannot be read: No such file"),
        "{said}"
    );
    server.connect().expect_usable();
}
