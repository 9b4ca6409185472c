//! SIGHUP: what a reload changes in place, and what it refuses.

use std::fs;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use abide::config::Config;
use abide::server::confinement::sandbox::{KernelSupport, kernel_support};
use rustix::process::Signal;
use support::admin::{ADMIN, Admin};
use support::counters::counter;
use support::{Client, Launch, Server, Site, until};

/// Leaves all files within reach.
const OFF: &str = "sandbox = 'off'\n";

/// A server for `site` that has its configuration from a file.
fn started(site: &Site, toml: &str) -> Server {
    Launch::of(site.root()).config(toml).start()
}

fn expect_reloaded(server: &Server, toml: &str) {
    let said = server.reload(toml);
    assert!(said.contains("abide: reloaded\n"), "{said}");
}

#[test]
fn settings_of_a_site_change_on_open_connections() {
    let site = Site::new();
    site.write("a.txt", "text");
    site.write(".hidden", "secret");
    let server = started(&site, "");
    let mut client = server.connect();
    assert_eq!(
        client.get("/a.txt").field("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(client.get("/.hidden").status, 404);
    let toml = "hidden = true\ntypes = { txt = 'text/x-note' }\n\
                [[redirect]]\nfrom = '/old'\nto = '/new'\n\
                [[header]]\npath = '/**'\nset = { X-Reloaded = 'yes' }\n";
    expect_reloaded(&server, toml);
    let answer = client.get("/a.txt");
    assert_eq!(
        answer.field("content-type"),
        Some("text/x-note; charset=utf-8")
    );
    assert_eq!(answer.field("x-reloaded"), Some("yes"));
    assert_eq!(client.get("/.hidden").text(), "secret");
    assert_eq!(client.get("/old").field("location"), Some("/new"));
    assert_eq!(counter(&server, "connections_accepted_total"), 1);
}

#[test]
fn hosts_come_and_go() {
    let (site, other) = (Site::new(), Site::new());
    other.write("which", "the other");
    site.write("which", "the default");
    let server = started(&site, OFF);
    let mut client = server.connect();
    let mut which = || {
        let request = "GET /which HTTP/1.1\r\nHost: other.example\r\n\r\n";
        client.send(request);
        client.answer().text().to_owned()
    };
    assert_eq!(which(), "the default");
    let root = other.root();
    let root = root.display();
    expect_reloaded(
        &server,
        &format!("{OFF}[[host]]\nname = ['other.example']\nroot = '{root}'\n"),
    );
    assert_eq!(which(), "the other");
    expect_reloaded(&server, OFF);
    assert_eq!(which(), "the default");
}

#[test]
fn paths_outside_of_the_sandbox_are_refused_by_name() {
    let (site, other) = (Site::new(), Site::new());
    let sibling = site.beside("sibling");
    fs::create_dir(&sibling).expect("a directory");
    let log = site.beside("access.log");
    let logging = format!("access_log.path = '{}'\n", log.display());
    let server = started(&site, &logging);
    let host = |root: &std::path::Path| {
        let root = root.display();
        format!("{logging}[[host]]\nname = ['a']\nroot = '{root}'\n")
    };
    expect_reloaded(&server, &host(&sibling));
    let other_log = format!("access_log.path = '{}'\n", other.beside("log").display());
    let unix = format!("listen = ['unix:{}']\n", other.beside("sock").display());
    for (toml, key) in [
        (host(&other.root()), "abide.toml:4: host.root: "),
        (other_log, "abide.toml:1: access_log.path: "),
        (
            format!("{logging}sandbox = 'off'\n"),
            "abide.toml:2: sandbox: ",
        ),
        (format!("{logging}user = '4711'\n"), "abide.toml:2: user: "),
    ] {
        let said = server.reload(&toml);
        let is_refused = said.contains("reload refused") && said.contains(key);
        let needs_sandbox = key.contains("root") || key.contains("log");
        let may_succeed = needs_sandbox && kernel_support() == KernelSupport::Nothing;
        assert!(is_refused || may_succeed, "{said}");
    }
    // The option --listen of these tests takes precedence over the file.
    assert!(
        server
            .reload(&format!("{logging}{unix}"))
            .contains("reloaded")
    );
    server.connect().expect_usable();
}

#[test]
fn a_client_keeps_what_it_was_told_and_a_new_one_gets_the_new_values() {
    let site = Site::new();
    let server = started(&site, "keep_alive = { timeout = 50, max_requests = 100 }");
    let (mut old, mut told_once) = (server.connect(), server.connect());
    for client in [&mut old, &mut told_once] {
        assert_eq!(client.get("/").hint(), (50, 99));
    }
    expect_reloaded(&server, "keep_alive = { timeout = 5, max_requests = 3 }");
    for remaining in (1..=98).rev() {
        assert_eq!(old.get("/").hint(), (50, remaining));
    }
    assert!(!old.get("/").persists());
    let mut new = server.connect();
    assert_eq!(new.get("/").hint(), (5, 2));
    assert_eq!(new.get("/").hint(), (5, 1));
    assert!(!new.get("/").persists());
    assert_eq!(told_once.get("/").hint(), (50, 98));
}

#[test]
fn the_access_log_moves_without_losing_a_line() {
    let site = Site::new();
    let (first, second) = (site.beside("first.log"), site.beside("second.log"));
    let logging = |path: &std::path::Path, format: &str| {
        let path = path.display();
        format!("[access_log]\npath = '{path}'\nformat = '{format}'\n")
    };
    let server = started(&site, &logging(&first, "common"));
    let mut client = server.connect();
    client.get("/one");
    client.get("/two");
    expect_reloaded(&server, &logging(&second, "json"));
    client.get("/three");
    expect_reloaded(&server, &logging(&second, "common"));
    client.get("/four");
    expect_reloaded(&server, "");
    client.get("/five");
    until("the lines are written", || {
        let lines = |path| fs::read_to_string(path).unwrap_or_default().lines().count();
        lines(&first) == 2 && lines(&second) == 2
    });
    let second = fs::read_to_string(second).expect("the log");
    let mut lines = second.lines();
    assert!(
        lines
            .next()
            .is_some_and(|line| line.starts_with('{') && line.contains("/three"))
    );
    assert!(
        lines
            .next()
            .is_some_and(|line| line.contains("\"GET /four HTTP/1.1\" 404"))
    );
}

#[test]
fn addresses_come_and_go_and_those_that_stay_keep_their_sockets() {
    let site = Site::new();
    let path = site.beside("abide.sock");
    let unix = format!("unix:{}", path.display());
    let launch = Launch::of(site.root()).config(&format!("{OFF}listen = ['127.0.0.1:0']"));
    let server = launch.listening_as_configured(1).start();
    let kept = server.address();
    let mut client = server.connect();
    client.expect_usable();
    expect_reloaded(
        &server,
        &format!("{OFF}listen = ['{unix}', '127.0.0.1:0', '[::1]:0']"),
    );
    let listening = server.listening();
    assert_eq!(
        listening.len(),
        3,
        "port 0 keeps the port that it got: {listening:?}"
    );
    Client::connect_unix(&path).expect_usable();
    let added = listening[2].strip_prefix("http://").expect("a URL");
    let mut on_added = Client::connect(added.parse().expect("an address"));
    on_added.expect_usable();
    let said = server.reload(&format!("{OFF}listen = ['127.0.0.1:0']"));
    assert!(
        said.contains(&format!("no longer listening on http://{added}\n")),
        "{said}"
    );
    assert!(
        said.contains(&format!("no longer listening on {unix}\n")),
        "{said}"
    );
    until("the removed addresses are closed", || {
        UnixStream::connect(&path).is_err() && std::net::TcpStream::connect(added).is_err()
    });
    assert!(!path.exists());
    // The connections of a removed address live on.
    on_added.expect_usable();
    client.expect_usable();
    Client::connect(kept).expect_usable();
}

#[test]
fn a_limit_that_is_lowered_refuses_new_connections_only() {
    let site = Site::new();
    let server = started(&site, "limits.connections = 20");
    let mut clients: Vec<_> = (0..10).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(Client::expect_usable);
    expect_reloaded(&server, "limits.connections = 5");
    assert_eq!(server.connect().get("/").status, 503);
    clients.iter_mut().for_each(Client::expect_usable);
    expect_reloaded(&server, "limits.connections = 30");
    server.connect().expect_usable();
}

#[test]
fn a_key_that_needs_a_restart_is_refused_by_name() {
    let site = Site::new();
    let server = Launch::of(site.root()).config("workers = 2").start();
    for (key, value) in [
        ("workers", "3"),
        ("event_loops", "2"),
        ("limits.connections", "4000000000"),
    ] {
        let said = server.reload(
            &format!("# A comment.\nworkers = 2\n{key} = {value}\n")
                .replace("workers = 2\nworkers", "workers"),
        );
        let refused = format!(
            "abide.toml:{}: {key}: ",
            if key == "workers" { 2 } else { 3 }
        );
        assert!(
            said.contains("reload refused") && said.contains(&refused),
            "{said}"
        );
    }
    server.connect().expect_usable();
}

#[test]
fn every_key_made_wrong_is_refused_and_changes_nothing() {
    let site = Site::new();
    site.write("a.txt", "text");
    let right = "types = { txt = 'text/x-note' }\n";
    let server = started(&site, right);
    let mut client = server.connect();
    for key in Config::key_names() {
        let said = server.reload(&format!("{right}{key} = {{ wrong = 1 }}\n"));
        let refused = format!("abide.toml:2: {key}");
        assert!(
            said.contains("reload refused") && said.contains(&refused),
            "{key}: {said}"
        );
    }
    let answer = client.get("/a.txt");
    assert_eq!(
        answer.field("content-type"),
        Some("text/x-note; charset=utf-8")
    );
    assert_eq!(counter(&server, "connections_accepted_total"), 1);
}

#[test]
fn what_cannot_be_opened_is_refused_at_its_line() {
    let site = Site::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("bound");
    let launch = Launch::of(site.root()).config("listen = ['127.0.0.1:0']");
    let server = launch.listening_as_configured(1).start();
    for (toml, refused) in [
        (
            "\naccess_log.path = '/no/such/directory/log'",
            "abide.toml:2: access_log.path: ",
        ),
        (
            "\n[[host]]\nname = ['a']\nroot = '/no/such'",
            "abide.toml:4: host.root: ",
        ),
        (
            &format!("\nlisten = ['127.0.0.1:0', '{taken}']"),
            "abide.toml:2: listen: ",
        ),
        ("listen = ['127.0.0.1:0'", "abide.toml:1: "),
    ] {
        let said = server.reload(toml);
        assert!(
            said.contains("reload refused") && said.contains(refused),
            "{said}"
        );
        server.connect().expect_usable();
    }
}

#[test]
fn a_configuration_that_is_gone_or_a_directory_is_refused() {
    let site = Site::new();
    let server = started(&site, "");
    let file = server.config_file();
    fs::remove_file(&file).expect("remove");
    let said = server.reload_again();
    assert!(
        said.contains("reload refused") && said.contains("abide.toml"),
        "{said}"
    );
    fs::create_dir(&file).expect("a directory");
    assert!(server.reload_again().contains("reload refused"));
    fs::remove_dir(&file).expect("remove");
    // One that has no end, and one that would block its reader.
    std::os::unix::fs::symlink("/dev/zero", &file).expect("a link");
    assert!(server.reload_again().contains("it is no regular file"));
    fs::remove_file(&file).expect("remove");
    mkfifo(&file);
    assert!(server.reload_again().contains("it is no regular file"));
    fs::remove_file(&file).expect("remove");
    fs::File::create(&file)
        .and_then(|file| file.set_len(1 << 40))
        .expect("a sparse file");
    let said = server.reload_again();
    assert!(said.contains("it has more than 4194304 bytes"), "{said}");
    assert!(!said.contains("needs a restart"), "{said}");
    fs::remove_file(&file).expect("remove");
    server.connect().expect_usable();
    expect_reloaded(&server, "");
}

fn mkfifo(path: &std::path::Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.expect("mkfifo").success());
}

#[test]
fn an_open_log_that_could_not_be_opened_again_is_refused() {
    let site = Site::new();
    let directory = site.beside("logs");
    fs::create_dir(&directory).expect("a directory");
    let toml = format!("access_log.path = '{}'\n", directory.join("log").display());
    let server = started(&site, &toml);
    expect_reloaded(&server, &toml);
    fs::rename(&directory, site.beside("moved")).expect("rename");
    let said = server.reload_again();
    assert!(said.contains("abide.toml:1: access_log.path: "), "{said}");
}

#[test]
fn an_address_that_was_just_removed_can_be_put_back() {
    let site = Site::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = port.local_addr().expect("bound");
    drop(port);
    let both = format!("listen = ['127.0.0.1:0', '{address}']");
    let launch = Launch::of(site.root()).config(&both);
    let server = launch.listening_as_configured(2).start();
    expect_reloaded(&server, "listen = ['127.0.0.1:0']");
    expect_reloaded(&server, &both);
    Client::connect(address).expect_usable();
}

#[test]
fn the_metrics_show_reloads_and_go_on_counting() {
    let site = Site::new();
    site.write("a.txt", "text");
    let server = started(&site, ADMIN);
    let admin = Admin::of(&server);
    let mut client = server.connect();
    client.get("/a.txt");
    client.get("/a.txt");
    let before = admin.metrics();
    let hits = "abide_cache_lookups_total{kind=\"file\",result=\"hit\"}";
    assert_eq!(before.value("abide_config_last_reload_successful"), 1.0);
    expect_reloaded(
        &server,
        &format!("keep_alive.timeout = 7\n{ADMIN}clients = true\n"),
    );
    let refused = server.reload(&format!("hidden = 3\n{ADMIN}"));
    assert!(refused.contains("reload refused"), "{refused}");
    let after = admin.metrics();
    assert_eq!(
        after.value("abide_config_reloads_total{result=\"applied\"}"),
        1.0
    );
    assert_eq!(
        after.value("abide_config_reloads_total{result=\"refused\"}"),
        1.0
    );
    assert_eq!(after.value("abide_config_last_reload_successful"), 0.0);
    assert!(after.value(hits) >= before.value(hits));
    assert_eq!(after.requests(), 2.0);
    let list = admin.json("/connections.json");
    let connection = &list["connections"][0];
    assert_eq!(connection["timeout_s"], 120, "what this client was told");
    assert_eq!(connection["peer"], "127.0.0.1", "admin.clients has changed");
    let moved = ADMIN.replace("127.0.0.1:0", "127.0.0.2:0");
    let said = server.reload(&moved);
    assert!(
        said.contains("abide.toml:2: admin.listen: a change from"),
        "{said}"
    );
}

#[test]
fn a_reload_during_a_drain_is_refused() {
    let site = Site::new();
    let server = started(&site, "");
    let mut client = server.connect();
    client.expect_usable();
    server.signal(Signal::TERM);
    server.wait_for("draining");
    let said = server.reload("hidden = true");
    assert!(
        said.contains("reload refused: the server is shutting down"),
        "{said}"
    );
    assert!(!client.get("/").persists());
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn signals_in_bursts_end_with_the_last_configuration() {
    let site = Site::new();
    site.write("a.txt", "text");
    let server = started(&site, "");
    let mut client = server.connect();
    for number in 0..50 {
        let toml = format!("[[header]]\npath = '/**'\nset = {{ X-Number = '{number}' }}\n");
        fs::write(server.config_file(), toml).expect("the configuration file");
        (0..5).for_each(|_| server.signal(Signal::HUP));
        client.expect_usable();
    }
    until("the last configuration is in force", || {
        client.get("/a.txt").field("x-number") == Some("49")
    });
}

#[test]
fn a_server_with_the_defaults_reloads_too() {
    let site = Site::new();
    let server = Server::of(site.root());
    server.connect().expect_usable();
    assert!(server.reload_again().contains("abide: reloaded"));
    server.connect().expect_usable();
}

/// Memory, threads and descriptors after `reloads` more reloads under requests.
fn after_reloads(server: &Server, client: &mut Client, reloads: u32) -> (u64, usize, usize) {
    for number in 0..reloads {
        let said = server.reload(&format!(
            "workers = 2\nkeep_alive = {{ timeout = {}, max_requests = 1000000 }}\n",
            60 + number % 7
        ));
        assert!(said.contains("abide: reloaded"), "{said}");
        client.expect_usable();
    }
    let mut last = (0, 0, 0);
    until("old threads have ended", || {
        let before = last;
        std::thread::sleep(Duration::from_millis(50));
        last = (0, server.threads().len(), server.descriptors());
        last == before
    });
    (server.resident_kib(), last.1, last.2)
}

#[test]
fn many_reloads_leave_nothing_behind() {
    check_that_reloads_leave_nothing_behind(200);
}

#[test]
#[ignore = "needs a minute"]
fn ten_thousand_reloads_leave_nothing_behind() {
    check_that_reloads_leave_nothing_behind(10_000);
}

fn check_that_reloads_leave_nothing_behind(reloads: u32) {
    let site = Site::new();
    let server = started(&site, "workers = 2\nkeep_alive.max_requests = 1000000");
    let mut client = server.connect();
    let (before, threads, descriptors) = after_reloads(&server, &mut client, 50);
    let (after, threads_after, descriptors_after) = after_reloads(&server, &mut client, reloads);
    assert_eq!((threads_after, descriptors_after), (threads, descriptors));
    let most = before + 2 * 1024;
    assert!(after < most, "{before} KiB, then {after}");
}
