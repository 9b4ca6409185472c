//! Certificates that change while the server runs.

use std::fs;
use std::os::unix::fs::symlink;

use super::super::certificate::Certificate;
use super::super::pem_files::PairPaths;
use super::super::renewal::Renewal;
use super::*;

/// A server with the pair `live`, whose files are looked at as its thread would.
struct Watched {
    files: Files,
    config: Config,
    context: Arc<TlsContext>,
    /// Seconds since the start.
    secs: f64,
}

impl Watched {
    fn new(pair: &Pem) -> Watched {
        let files = Files::new();
        files.write_pair("live", pair);
        Watched::of(files)
    }

    fn of(files: Files) -> Watched {
        let config = files.config("live");
        Watched {
            context: open(&config),
            files,
            config,
            secs: 0.0,
        }
    }

    /// Looks at the files for so many seconds. A handshake must succeed after each look.
    fn wait(&mut self, secs: f64) -> Vec<String> {
        let end = self.secs + secs;
        let mut events = Vec::new();
        while self.secs <= end {
            let checked = self.context.check(at(self.secs));
            events.extend(checked.events);
            self.secs += checked.next_in_millis as f64 / 1000.0;
            shown(&self.context, "a.example");
        }
        let directory = format!("{}/", self.files.0.path().display());
        let texts = events
            .iter()
            .map(|event| event.to_string().replace(&directory, ""));
        texts.collect()
    }

    /// Two seconds after a change, the server must use `pair`.
    fn expect_renewal(&mut self, pair: &Pem) {
        let events = self.wait(2.0);
        assert_eq!(shown(&self.context, "a.example"), first(&pair.certificate));
        let renewed =
            "the certificate live.pem is renewed, valid until Wed, 14 Apr 2027 08:00:00 GMT";
        assert_eq!(events, [renewed]);
        assert_eq!(self.failure(), None);
    }

    /// The server must keep `pair`, and report after 5 seconds, once, that it keeps it because of `reason`.
    fn expect_failure(&mut self, pair: &Pem, reason: &str) {
        assert_eq!(self.wait(4.5), [""; 0]);
        assert_eq!(self.failure(), None);
        let report = format!(
            "the certificate live.pem is not renewed: {reason}; the old one stays, valid until \
             Wed, 14 Apr 2027 08:00:00 GMT"
        );
        assert_eq!(self.wait(2.5), [report]);
        assert_eq!(self.wait(60.0), [""; 0]);
        assert_eq!(shown(&self.context, "a.example"), first(&pair.certificate));
        let directory = format!("{}/", self.files.0.path().display());
        let failure = self
            .failure()
            .map(|failure| failure.replace(&directory, ""));
        assert_eq!(failure.as_deref(), Some(reason));
    }

    fn failure(&self) -> Option<String> {
        self.context.certificates()[0].renewal_failure.clone()
    }
}

/// Two pairs for the same name with keys of their own.
fn two() -> [Pem; 2] {
    [leaf(&["a.example"]), leaf(&["a.example"])]
}

#[test]
fn files_written_in_place_are_used_in_either_order() {
    for order in [["pem", "key"], ["key", "pem"]] {
        for pause in [0.0, 0.5, 3.0] {
            let [old, new] = two();
            let mut watched = Watched::new(&old);
            assert_eq!(watched.wait(10.0), [""; 0]);
            for end in order {
                let content = if end == "pem" {
                    &new.certificate
                } else {
                    &new.key
                };
                // The second file comes later.
                assert_eq!(watched.wait(pause), [""; 0]);
                watched.files.write(&format!("live.{end}"), content);
            }
            watched.expect_renewal(&new);
        }
    }
}

#[test]
fn files_renamed_over_the_old_ones_are_used_in_either_order() {
    for order in [["pem", "key"], ["key", "pem"]] {
        let [old, new] = two();
        let mut watched = Watched::new(&old);
        watched.wait(10.0);
        watched.files.write_pair("next", &new);
        for end in order {
            watched.wait(1.0);
            let from = watched.files.path(&format!("next.{end}"));
            fs::rename(from, watched.files.path(&format!("live.{end}"))).unwrap();
        }
        watched.expect_renewal(&new);
    }
}

/// As certbot does: `live` has links into `archive`.
#[test]
fn switched_links_are_followed() {
    let [old, new] = two();
    let files = Files::new();
    files.write_pair("archive1", &old);
    files.write_pair("archive2", &new);
    let link = |files: &Files, number: u8, end: &str| {
        let live = files.path(&format!("live.{end}"));
        let _ = fs::remove_file(&live);
        symlink(format!("archive{number}.{end}"), live).unwrap();
    };
    link(&files, 1, "pem");
    link(&files, 1, "key");
    let mut watched = Watched::of(files);
    watched.wait(10.0);
    link(&watched.files, 2, "key");
    assert_eq!(watched.wait(1.0), [""; 0]);
    link(&watched.files, 2, "pem");
    watched.expect_renewal(&new);
}

/// As Kubernetes does: one link to a directory switches both files at once.
#[test]
fn a_switched_directory_is_followed() {
    let [old, new] = two();
    let files = Files::new();
    for (directory, pair) in [("v1", &old), ("v2", &new)] {
        fs::create_dir(files.path(directory)).unwrap();
        files.write_pair(&format!("{directory}/tls"), pair);
    }
    symlink("v1", files.path("data")).unwrap();
    symlink("data/tls.pem", files.path("live.pem")).unwrap();
    symlink("data/tls.key", files.path("live.key")).unwrap();
    let mut watched = Watched::of(files);
    watched.wait(10.0);
    symlink("v2", watched.files.path("next")).unwrap();
    fs::rename(watched.files.path("next"), watched.files.path("data")).unwrap();
    watched.expect_renewal(&new);
}

/// A write within the tick of the file system's clock in which the files were read leaves the times as they are. Here
/// the files are looked at as if the reader had seen their present identity with the contents of before.
#[test]
fn a_write_that_changes_no_time_is_noticed() {
    let [old, new] = two();
    let files = Files::new();
    files.write_pair("live", &old);
    let paths = PairPaths {
        certificate: files.path("live.pem"),
        key: files.path("live.key"),
    };
    let contents = paths.read();
    let in_use = Certificate::of_contents(&contents, &paths).unwrap();
    files.write_pair("live", &new);
    let identity = paths.identity();
    let mut renewal = Renewal::new(identity, contents.id(), at(0.0).monotonic);
    let mut check = |secs| renewal.check(&paths, &in_use, at(secs));
    let (next, checked) = check(1.0);
    assert!(next.is_none());
    assert_eq!(checked.next_in_millis, 100);
    let (next, _) = check(1.1);
    assert_eq!(next.unwrap().certified.cert[0], first(&new.certificate));
}

#[test]
fn a_touched_or_rewritten_file_is_no_renewal() {
    let [old, _] = two();
    let mut watched = Watched::new(&old);
    watched.wait(10.0);
    watched.files.write_pair("live", &old);
    assert_eq!(watched.wait(20.0), [""; 0]);
    assert_eq!(watched.failure(), None);
}

#[test]
fn a_key_that_does_not_come_keeps_the_old_pair_until_it_comes() {
    let [old, new] = two();
    let mut watched = Watched::new(&old);
    watched.wait(10.0);
    watched.files.write("live.pem", &new.certificate);
    let reason = "the private key in live.key does not belong to the certificate in live.pem";
    watched.expect_failure(&old, reason);
    watched.files.write("live.key", &new.key);
    watched.expect_renewal(&new);
}

#[test]
fn a_missing_or_broken_file_keeps_the_old_pair() {
    let [old, new] = two();
    let mut watched = Watched::new(&old);
    watched.wait(10.0);
    fs::remove_file(watched.files.path("live.key")).unwrap();
    let reason = "cannot read live.key: No such file or directory (os error 2)";
    watched.expect_failure(&old, reason);
    watched.files.write("live.key", &old.key[..100]);
    let reason = "live.key is damaged: the line -----END PRIVATE KEY----- is missing";
    assert_eq!(watched.wait(2.0), [""; 0]);
    assert_eq!(watched.wait(6.0).len(), 1);
    assert!(watched.failure().unwrap().ends_with(reason));
    // The old pair again: it is in use already, and the report is taken back.
    watched.files.write("live.key", &old.key);
    watched.expect_renewal(&old);
    watched.files.write_pair("live", &new);
    watched.expect_renewal(&new);
}

#[test]
fn an_expired_certificate_keeps_the_old_pair() {
    let old = leaf(&["a.example"]);
    let mut watched = Watched::new(&old);
    watched.wait(10.0);
    let ended = leaf_valid(&["a.example"], [UNIX_NOW - 2 * DAY, UNIX_NOW - DAY]);
    watched.files.write_pair("live", &ended);
    watched.expect_failure(&old, "live.pem expired on Thu, 14 Jan 2027 08:00:00 GMT");
    // A reload keeps it as well.
    let reloaded = watched.context.reopen(&watched.config, at(watched.secs));
    let reloaded = reloaded.unwrap().unwrap();
    assert_eq!(shown(&reloaded, "a.example"), first(&old.certificate));
    assert!(reloaded.certificates()[0].renewal_failure.is_some());
}

#[test]
fn a_certificate_is_used_when_it_begins_to_be_valid() {
    let old = leaf(&["a.example"]);
    let mut watched = Watched::new(&old);
    watched.wait(10.0);
    let early = leaf_valid(&["a.example"], [UNIX_NOW + 100, UNIX_NOW + 89 * DAY]);
    watched.files.write_pair("live", &early);
    watched.expect_failure(
        &old,
        "live.pem is not valid before Fri, 15 Jan 2027 08:01:40 GMT",
    );
    // A reload keeps it as well.
    let reloaded = watched.context.reopen(&watched.config, at(watched.secs));
    let reloaded = reloaded.unwrap().unwrap();
    assert_eq!(shown(&reloaded, "a.example"), first(&old.certificate));
    watched.wait(99.0 - watched.secs);
    assert_eq!(
        shown(&watched.context, "a.example"),
        first(&old.certificate)
    );
    watched.expect_renewal(&early);
}

/// A script may take long, and write the file in pieces.
#[test]
fn half_a_chain_is_not_used() {
    let [old, new] = two();
    let (root, issuer) = authority("Root");
    let key = KeyPair::generate().unwrap();
    let params = leaf_params(&["a.example"], [UNIX_NOW, UNIX_NOW + 89 * DAY]);
    let leaf = pem(
        "CERTIFICATE",
        params.signed_by(&key, &issuer).unwrap().der(),
    );
    drop(new);
    let mut watched = Watched::new(&old);
    watched.wait(10.0);
    watched
        .files
        .write("live.key", &pem("PRIVATE KEY", key.serialized_der()));
    watched.files.write("live.pem", &leaf);
    let checked = watched.context.check(at(watched.secs));
    assert_eq!(checked.next_in_millis, 100);
    watched.secs += 0.05;
    let chain = format!("{leaf}{}", pem("CERTIFICATE", &root));
    watched.files.write("live.pem", &chain);
    watched.wait(2.0);
    let client = Arc::new(client());
    let (client, _) = connect(watched.context.server_config(), &client, "a.example").unwrap();
    assert_eq!(client.peer_certificates().unwrap().len(), 2);
}

#[test]
fn a_reload_takes_the_files_as_they_are_or_refuses_them() {
    let [old, new] = two();
    let mut watched = Watched::new(&old);
    watched.wait(10.0);
    watched.files.write_pair("live", &new);
    let reloaded = watched.context.reopen(&watched.config, at(watched.secs));
    assert_eq!(
        shown(&reloaded.unwrap().unwrap(), "a.example"),
        first(&new.certificate)
    );
    assert_eq!(
        shown(&watched.context, "a.example"),
        first(&old.certificate)
    );
    watched.files.write("live.key", "");
    let error = watched
        .context
        .reopen(&watched.config, at(watched.secs))
        .unwrap_err();
    assert_eq!(error.key, CertificateKey::PrivateKey);
}

#[test]
fn a_certificate_made_in_memory_is_made_again_before_it_ends() {
    let files = Files::new();
    let mut config = files.config("live");
    (config.site.certificate, config.site.key) = (None, None);
    config.self_signed = true;
    let context = open(&config);
    let made = shown(&context, "localhost");
    let after = |days: u64| at((days * DAY) as f64);
    assert!(context.check(after(330)).events.is_empty());
    assert_eq!(shown(&context, "localhost"), made);
    context.check(after(340));
    assert_ne!(shown(&context, "localhost"), made);
    assert_eq!(
        context.certificates()[0].not_after,
        UNIX_NOW + (340 + 364) * DAY
    );
}
