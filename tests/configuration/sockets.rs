//! The protocol of a listener and the access to its socket: `listen` with schemes, `socket_mode`,
//! `socket_group`.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use abide::config::{Config, Flags, SocketGroup};
use rustix::process::{Signal, geteuid};
use support::{Client, Launch, Site};

use super::{ConfigFile, load, refusal};

#[test]
fn a_scheme_says_what_a_listener_speaks() {
    let config = load(
        "listen = ['http://127.0.0.1:80', 'proxy+http://[::1]:80', 'proxy+unix:a', 'unix:b']\n\
         trusted_proxies = ['10.0.0.1']",
    );
    let proxied: Vec<_> = config
        .listen
        .iter()
        .map(|address| address.proxy_protocol)
        .collect();
    assert_eq!(proxied, [false, true, true, false]);
    assert!(config.to_toml().contains(
        "listen = [\"127.0.0.1:80\", \"proxy+http://[::1]:80\", \"proxy+unix:a\", \"unix:b\"]\n"
    ));
    assert_eq!(load(&config.to_toml()), config);
}

#[test]
fn one_socket_speaks_one_protocol() {
    for (listen, message) in [
        (
            "['127.0.0.1:80', 'http://127.0.0.1:80']",
            "127.0.0.1:80 is listed twice",
        ),
        (
            "['127.0.0.1:80', 'proxy+http://127.0.0.1:80']",
            "proxy+http://127.0.0.1:80 is the same socket as 127.0.0.1:80, which speaks something else",
        ),
        (
            "['proxy+unix:a', 'unix:a']",
            "unix:a is the same socket as proxy+unix:a, which speaks something else",
        ),
    ] {
        let text = format!("trusted_proxies = ['::1']\nlisten = {listen}");
        assert_eq!(refusal(&text), format!("abide.toml:2: listen: {message}"));
    }
    let several = load(
        "trusted_proxies = ['::1']\nlisten = ['127.0.0.1:0', 'proxy+http://127.0.0.1:0', 'unix:a', \
         'unix:b']",
    );
    assert_eq!(several.listen.len(), 4);
}

#[test]
fn a_listener_for_proxies_needs_a_proxy_that_is_trusted() {
    let refused = "proxy+http://[::]:80 accepts connections from trusted_proxies alone, and that list \
                   is empty, so every connection would be closed";
    let listen = "listen = ['unix:a', 'proxy+http://[::]:80']";
    assert_eq!(refusal(listen), format!("abide.toml:1: listen: {refused}"));
    assert_eq!(
        refusal(&format!("{listen}\ntrusted_proxies = []")),
        format!("abide.toml:2: trusted_proxies: {refused}")
    );
    load(&format!("{listen}\ntrusted_proxies = ['10.0.0.0/8']"));
    // Every client of a unix socket is on this machine.
    load("listen = ['proxy+unix:a']");
}

#[test]
fn a_mode_is_octal_and_a_group_has_a_name_or_a_number() {
    let defaults = load("");
    assert_eq!(
        (defaults.socket_mode.bits(), defaults.socket_group),
        (0o660, None)
    );
    assert_eq!(load("socket_mode = '0666'").socket_mode.bits(), 0o666);
    assert_eq!(load("socket_mode = '600'").socket_mode.bits(), 0o600);
    for (group, expected) in [
        (
            "'www-data'",
            Some(SocketGroup::Named("www-data".to_owned(), None)),
        ),
        ("'33'", Some(SocketGroup::Numbered(33))),
        ("33", Some(SocketGroup::Numbered(33))),
        ("''", None),
    ] {
        let config = load(&format!("socket_group = {group}"));
        assert_eq!(config.socket_group, expected, "{group}");
        assert_eq!(load(&config.to_toml()), config);
    }
}

#[test]
fn other_modes_and_groups_are_refused() {
    for (text, message) in [
        (
            "socket_mode = 660",
            "socket_mode: the number 660 was given, it must be a string of octal digits, as in \"0660\"",
        ),
        (
            "socket_mode = '0860'",
            "socket_mode: \"0860\" is no file mode, write three octal digits after a 0, as in 0660",
        ),
        (
            "socket_mode = ''",
            "socket_mode: \"\" is no file mode, write three octal digits after a 0, as in 0660",
        ),
        (
            "socket_group = 4294967295",
            "socket_group: \"4294967295\" is no number of a group, it must be 0 to 4294967294",
        ),
        (
            "socket_group = -1",
            "socket_group: \"-1\" is no number of a group, it must be 0 to 4294967294",
        ),
        (
            "socket_group = 'a:b'",
            "socket_group: \"a:b\" is no name of a group",
        ),
        (
            "socket_group = true",
            "socket_group: the boolean true was given, it must be the name or the number of a group, \
             or \"\" for none",
        ),
    ] {
        assert_eq!(refusal(text), format!("abide.toml:1: {message}"));
    }
}

#[test]
fn a_group_that_this_machine_lacks_is_refused_with_its_line() {
    let site = Site::new();
    let file = ConfigFile::new("workers = 1\nsocket_group = 'no-such-group'\n");
    let flags = Flags {
        root: Some(site.root().to_owned()),
        ..Flags::default()
    };
    let error = Config::resolve(Some(&file.path()), &flags).expect_err("no such group");
    let error = error.to_string();
    let expected =
        "abide.toml:2: socket_group: /etc/group has no group \"no-such-group\" (column 16)";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn a_proxy_of_the_group_can_connect_whatever_the_umask_is() {
    let site = Site::new();
    let path = site.beside("abide.sock");
    let server = Launch::of(site.root())
        .through(
            &["/bin/sh", "-c", "umask 077; exec \"$@\"", "sh"],
            Stdio::null(),
        )
        .config("socket_group = 'root'\n")
        .listen(&format!("unix:{}", path.display()));
    // Only root and its group may give a file to that group.
    if !geteuid().is_root() {
        let ended = server.run();
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("socket_group root: "),
            "{}",
            ended.stderr
        );
        assert!(!path.exists());
        return;
    }
    let _server = server.start();
    let metadata = std::fs::symlink_metadata(&path).expect("the socket");
    assert_eq!((metadata.mode() & 0o7777, metadata.gid()), (0o660, 0));
    assert_eq!(Client::connect_unix(&path).get("/").status, 200);
}

/// A directory for sockets that belongs to the user 61000.
fn own_directory(site: &Site) -> PathBuf {
    let directory = site.beside("own");
    fs::create_dir(&directory).expect("mkdir");
    chown(&directory, Some(61_000), Some(61_001)).expect("chown");
    directory
}

fn access_of(path: &Path) -> (u32, u32, u32) {
    let found = fs::symlink_metadata(path).expect("the socket");
    (found.mode() & 0o7777, found.uid(), found.gid())
}

#[test]
fn the_sockets_of_a_start_as_root_belong_to_the_user_and_a_reload_changes_them() {
    if !geteuid().is_root() {
        return;
    }
    let site = Site::new();
    let directory = own_directory(&site);
    let [path, admin] = ["abide.sock", "admin.sock"].map(|name| directory.join(name));
    let toml = |more: &str| {
        format!(
            "user = '61000'\ngroup = '61001'\nlisten = ['unix:{}']\nadmin.listen = 'unix:{}'\n{more}",
            path.display(),
            admin.display()
        )
    };
    let launch = Launch::of(site.root()).config(&toml(""));
    let server = launch.listening_as_configured(1).start();
    assert_eq!(access_of(&path), (0o660, 61_000, 61_001));
    assert_eq!(access_of(&admin), (0o660, 61_000, 61_001));
    for (more, mode) in [("", 0o660), ("socket_mode = '0666'", 0o666), ("", 0o660)] {
        assert_eq!(server.reload(&toml(more)), "abide: reloaded\n");
        assert_eq!(access_of(&path), (mode, 61_000, 61_001));
    }
    // The user is not in that group.
    let said = server.reload(&toml("socket_mode = '0666'\nsocket_group = 4711"));
    let expected = format!(
        "listen: the access to unix:{} cannot change: socket_group 4711: ",
        path.display()
    );
    assert!(
        said.contains("reload refused") && said.contains(&expected),
        "{said}"
    );
    assert_eq!(access_of(&path), (0o660, 61_000, 61_001));
    // Nobody can connect through a file that is gone, so it refuses no reload.
    fs::remove_file(&path).expect("remove");
    assert_eq!(
        server.reload(&toml("socket_mode = '0666'")),
        "abide: reloaded\n"
    );
    server.signal(Signal::TERM);
    let ended = server.ended();
    assert!(!ended.stderr.contains("stays behind"), "{}", ended.stderr);
    assert!(!admin.exists());
}

#[test]
fn a_user_by_name_owns_sockets_but_not_their_group_if_that_is_set() {
    if !geteuid().is_root() {
        return;
    }
    let site = Site::new();
    let path = site.beside("abide.sock");
    let toml = |mode: &str| {
        format!(
            "user = 'nobody'\nsocket_group = 4711\nsocket_mode = '{mode}'\nlisten = ['unix:{}']\n",
            path.display()
        )
    };
    let launch = Launch::of(site.root()).config(&toml("0600"));
    let server = launch.listening_as_configured(1).start();
    let (mode, nobody, group) = access_of(&path);
    assert_eq!((mode, group), (0o600, 4711));
    assert_ne!(nobody, 0);
    assert_eq!(server.reload(&toml("0660")), "abide: reloaded\n");
    assert_eq!(access_of(&path), (0o660, nobody, 4711));
    // The directory is root's, so the file stays behind, as the start has said.
    let warning = format!(
        "abide: warning: the user nobody may not remove the socket {} from its directory",
        path.display()
    );
    assert_eq!(
        server.stderr().matches(&warning).count(),
        1,
        "{}",
        server.stderr()
    );
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code, Some(0));
    assert!(path.exists());
    // The next start replaces it.
    let launch = Launch::of(site.root()).config(&toml("0600"));
    launch.listening_as_configured(1).start();
}

#[test]
fn a_check_refuses_a_unix_socket_that_cannot_be_bound_and_leaves_nothing_behind() {
    let site = Site::new();
    let other = site.beside("file");
    fs::write(&other, "data").expect("write");
    let free = format!("unix:{}", site.beside("free.sock").display());
    for (path, why) in [
        (other, "a regular file is there, and no socket"),
        (
            site.beside("no/such.sock"),
            "No such file or directory (os error 2)",
        ),
    ] {
        let address = format!("unix:{}", path.display());
        for (listen, admin, key) in [(&address, &free, ""), (&free, &address, "admin.listen: ")] {
            let toml = format!("listen = ['{listen}']\nadmin.listen = '{admin}'\n");
            let check = || {
                let launch = Launch::of(site.root()).config(&toml);
                launch.listening_as_configured(1)
            };
            let checked = check().args(&["--check"]).run();
            let expected = format!("abide: {key}cannot listen on {address}: {why}\n");
            assert_eq!((checked.code, checked.stderr), (Some(2), expected.clone()));
            assert_eq!(check().run().stderr, expected);
        }
    }
    assert!(!site.beside("free.sock").exists());
}
