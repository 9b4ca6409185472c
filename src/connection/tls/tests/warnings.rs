//! Warnings at the start and of `--check`.

use super::*;

fn warnings_of(files: &Files, config: &Config) -> Vec<String> {
    let directory = format!("{}/", files.0.path().display());
    let warnings = open(config).warnings(config, UNIX_NOW);
    let texts = warnings
        .iter()
        .map(|warning| warning.replace(&directory, ""));
    texts.collect()
}

#[test]
fn a_certificate_that_expires_soon_has_expired_or_is_not_valid_yet_is_named() {
    for (valid, expected) in [
        ([UNIX_NOW - DAY, UNIX_NOW + 14 * DAY], None),
        (
            [UNIX_NOW - DAY, UNIX_NOW + 14 * DAY - 1],
            Some("certificate: x.pem expires on Fri, 29 Jan 2027 07:59:59 GMT, in 13 days"),
        ),
        (
            [UNIX_NOW - DAY, UNIX_NOW],
            Some("certificate: x.pem expires on Fri, 15 Jan 2027 08:00:00 GMT, in less than a day"),
        ),
        (
            [UNIX_NOW - DAY, UNIX_NOW - 1],
            Some(
                "certificate: x.pem expired on Fri, 15 Jan 2027 07:59:59 GMT, so clients refuse it",
            ),
        ),
        (
            [UNIX_NOW + 1, UNIX_NOW + 90 * DAY],
            Some(
                "certificate: x.pem is not valid before Fri, 15 Jan 2027 08:00:01 GMT, so clients refuse it \
                 until then",
            ),
        ),
    ] {
        let files = Files::new();
        files.write_pair("x", &leaf_valid(&["a.example"], valid));
        let warnings = warnings_of(&files, &files.config("x"));
        assert_eq!(warnings.first().map(String::as_str), expected);
        assert!(warnings.len() < 2);
    }
}

#[test]
fn names_that_the_certificate_does_not_cover_are_listed() {
    let files = Files::new();
    files.write_pair(
        "default",
        &leaf(&["a.example", "*.Wild.example", "2001:db8::1"]),
    );
    files.write_pair("own", &leaf(&["own.example"]));
    let mut config = files.config("default");
    for (names, name) in [
        (
            &[
                "a.example",
                "x.wild.example",
                "*.wild.example",
                "[2001:db8::1]",
            ][..],
            "default",
        ),
        (
            &[
                "wild.example",
                "x.y.wild.example",
                "*.a.example",
                "b.example",
            ],
            "default",
        ),
        (&["own.example", "www.own.example"], "own"),
    ] {
        files.add_host(&mut config, names, name);
    }
    let of_default = "certificate: default.pem does not cover wild.example, x.y.wild.example, *.a.example, \
                      b.example, so clients refuse it there";
    let of_own = "certificate: own.pem does not cover www.own.example, so clients refuse it there";
    assert_eq!(warnings_of(&files, &config), [of_default, of_own]);
}

/// A client that connects to an address sends no name, so the certificate of the host itself plays no part.
#[test]
fn the_certificate_for_an_address_is_that_of_the_default_site() {
    let files = Files::new();
    files.write_pair("default", &leaf(&["a.example"]));
    files.write_pair("own", &leaf(&["192.0.2.1"]));
    let mut config = files.config("default");
    files.add_host(&mut config, &["192.0.2.1"], "own");
    let expected = "certificate: default.pem does not cover 192.0.2.1, so clients refuse it there (clients of an \
                    address send no name and get the certificate of the default site)";
    assert_eq!(warnings_of(&files, &config), [expected]);
}

#[test]
fn a_long_list_of_names_is_cut_off() {
    let files = Files::new();
    files.write_pair("default", &leaf(&["a.example"]));
    let mut config = files.config("default");
    let names: Vec<_> = (0..7).map(|number| format!("h{number}.example")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    files.add_host(&mut config, &names, "default");
    let warnings = warnings_of(&files, &config);
    assert!(
        warnings[0].contains("h4.example and 2 more, so"),
        "{warnings:?}"
    );
}

#[test]
fn a_certificate_made_in_memory_has_no_warnings() {
    let files = Files::new();
    let mut config = files.config("default");
    (config.site.certificate, config.site.key) = (None, None);
    config.self_signed = true;
    files.add_host(&mut config, &["a.example"], "default");
    (config.hosts[0].site.certificate, config.hosts[0].site.key) = (None, None);
    assert_eq!(warnings_of(&files, &config), [""; 0]);
}

#[test]
fn a_key_that_a_site_serves_is_reported() {
    let files = Files::new();
    for directory in ["www", "www/.keys", "beside"] {
        std::fs::create_dir(files.path(directory)).unwrap();
    }
    std::os::unix::fs::symlink(files.path("www"), files.path("link")).unwrap();
    for (name, hidden, is_served) in [
        ("www/x", false, true),
        ("link/x", false, true),
        ("www/.keys/x", false, false),
        ("www/.keys/x", true, true),
        ("beside/x", true, false),
    ] {
        files.write_pair(name, &leaf(&["a.example"]));
        let mut config = files.config(name);
        (config.site.root, config.site.hidden) = (files.path("link"), hidden);
        let expected = format!(
            "key: {name}.key is below the root link, so clients may download it: move it elsewhere"
        );
        let expected = is_served.then_some(expected);
        assert_eq!(warnings_of(&files, &config), Vec::from_iter(expected));
    }
}
