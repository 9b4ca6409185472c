//! The program's interface: arguments, exit codes, messages, signals, logs.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use support::client::request;
use support::server::program;
use support::{Client, Launch, Server, Site, until};

/// The message of a program that refuses to start: exit code 2 and one sentence.
fn refusal(launch: Launch) -> String {
    let ended = launch.run();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    let sentence = ended.stderr.trim_end().strip_prefix("abide: ");
    sentence.expect("the program names itself").to_owned()
}

// Refused starts.

#[test]
fn a_missing_root_is_refused_with_its_name() {
    let site = Site::new();
    let said = refusal(Launch::of(site.beside("no-such")));
    assert!(said.contains("no-such"), "{said}");
    assert!(said.contains("No such file"), "{said}");
    let said = refusal(Launch::of(site.path("page.html")));
    assert!(said.contains("page.html"), "{said}");
}

#[test]
fn a_port_in_use_is_refused_with_its_address() {
    let site = Site::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("an address").to_string();
    let said = refusal(Launch::of(site.root()).listen(&address));
    assert!(said.contains(&address) && said.contains("in use"), "{said}");
}

/// 192.0.2.0/24 is for documentation (RFC 5737): no machine has it.
#[test]
fn an_address_that_is_not_ours_is_refused_and_nothing_is_left_half_started() {
    let site = Site::new();
    let socket = site.beside("abide.sock");
    let unix = format!("unix:{}", socket.display());
    let launch = Launch::of(site.root()).listen(&unix).listen("192.0.2.1:80");
    let said = refusal(launch);
    assert!(said.contains("192.0.2.1:80"), "{said}");
    assert!(!socket.exists(), "the unix socket is left behind");
}

#[test]
fn what_is_wrong_in_the_file_is_named_with_its_line_and_key() {
    let site = Site::new();
    for (toml, named) in [
        ("[keep_alive]\n\ntimout = 5\n", [":3:", "keep_alive.timout"]),
        ("[keep_alive]\ntimeout = 0\n", [":2:", "keep_alive.timeout"]),
        ("workers = \"two\"\n", [":1:", "workers"]),
        ("# fine\n[nonsense]\nx = 1\n", [":2:", "nonsense"]),
        ("root = \n", [":1:", "TOML"]),
    ] {
        let said = refusal(Launch::of(site.root()).config(toml));
        assert!(said.contains("abide.toml"), "{said}");
        named
            .iter()
            .for_each(|part| assert!(said.contains(part), "{said}"));
    }
}

/// One run reports all mistakes, also those of the command line, and starts nothing.
#[test]
fn each_mistake_has_a_line_of_its_own() {
    let site = Site::new();
    let ended = Launch::of(site.root())
        .config("[keep_alive]\ntimout = 5\n[limits]\nheaders = 0\n")
        .args(&["--workers", "0"])
        .run();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ended.stderr);
    assert!(lines.iter().all(|line| line.starts_with("abide: ")));
    assert!(lines[0].contains("abide.toml:2: keep_alive.timout: "));
    assert!(lines[0].ends_with("did you mean keep_alive.timeout? (column 1)"));
    assert!(lines[1].contains("abide.toml:4: limits.headers: 0 is out of range"));
    assert!(lines[1].ends_with(" (column 11)"));
    assert!(lines[2].starts_with("abide: --workers: 0 is out of range"));
}

/// The misspelt key may have been meant as `root`.
#[test]
fn a_default_root_that_is_missing_is_no_news_beside_a_mistake() {
    let site = Site::new();
    let check = |toml: &str| {
        let file = site.beside("own.toml");
        fs::write(&file, toml).expect("the configuration file");
        let mut abide = Command::new(program());
        abide.current_dir(site.root()).arg("--check");
        let output = abide.arg("-c").arg(file).output().expect("the binary runs");
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).expect("text")
    };
    let said = check("rot = '/srv'\n");
    assert!(
        said.lines().count() == 1 && said.contains("did you mean root?"),
        "{said}"
    );
    let said = check("listing = true\n");
    assert!(
        said.starts_with("abide: root: www cannot be served: "),
        "{said}"
    );
}

#[test]
fn a_missing_file_or_an_access_log_that_cannot_be_opened_is_refused() {
    let site = Site::new();
    let said = refusal(Launch::of(site.root()).args(&["-c", "/no/such.toml"]));
    assert!(said.contains("/no/such.toml"), "{said}");
    let said = refusal(Launch::of(site.root()).args(&["--access-log", "/no/such/log"]));
    assert!(said.contains("access log"), "{said}");
}

#[test]
fn usage_that_makes_no_sense_exits_with_2() {
    let site = Site::new();
    for arguments in [&["--no-such-option"][..], &["two", "roots"], &["-w"]] {
        let ended = Launch::of(site.root()).args(arguments).run();
        assert_eq!(ended.code, Some(2), "{arguments:?}");
        assert!(!ended.stderr.contains("listening"));
    }
}

// Options that print and exit.

#[test]
fn version_and_help_exit_with_0() {
    let site = Site::new();
    let ended = Launch::of(site.root()).args(&["--version"]).run();
    let expected = format!("abide {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((ended.code, ended.stdout), (Some(0), expected));
    let ended = Launch::of(site.root()).args(&["--help"]).run();
    assert_eq!(ended.code, Some(0));
    assert!(ended.stdout.contains("--keep-alive-timeout"));
}

#[test]
fn check_prints_a_configuration_that_loads_again() {
    let site = Site::new();
    let launch = Launch::of(site.root()).config("[keep_alive]\ntimeout = 77\n");
    let first = launch.args(&["--check", "--max-requests", "5"]).run();
    assert_eq!((first.code, first.stderr.as_str()), (Some(0), ""));
    assert!(first.stdout.contains("timeout = 77"), "{}", first.stdout);
    assert!(
        first.stdout.contains("max_requests = 5"),
        "{}",
        first.stdout
    );
    let again = Launch::of(site.root()).config(&first.stdout);
    let second = again.args(&["--check"]).run();
    assert_eq!((second.code, second.stdout), (Some(0), first.stdout));
}

#[test]
fn check_refuses_what_a_start_would_refuse() {
    let site = Site::new();
    let launch = Launch::of(site.root()).config("[limits]\nheaders = 0\n");
    assert!(refusal(launch.args(&["--check"])).contains("limits.headers"));
}

#[test]
fn a_drain_shorter_than_the_promise_is_warned_about() {
    let site = Site::new();
    let server = Launch::of(site.root())
        .config("[shutdown]\ndrain = 1\n")
        .start();
    assert!(server.stderr().contains("warning: shutdown.drain"));
}

// Listeners.

#[test]
fn each_listener_has_its_line_and_works() {
    let site = Site::new();
    let socket = site.beside("abide.sock");
    let server = Launch::of(site.root())
        .listen("127.0.0.1:0")
        .listen(&format!("unix:{}", socket.display()))
        .listen("127.0.0.1:0")
        .start();
    let listening = server.listening();
    assert_eq!(listening.len(), 3, "{listening:?}");
    assert_eq!(listening[1], format!("unix:{}", socket.display()));
    for url in [&listening[0], &listening[2]] {
        let address = url.strip_prefix("http://").expect("a URL");
        Client::connect(address.parse().expect("an address")).expect_usable();
    }
    let mut client = Client::connect_unix(&socket);
    client.expect_usable();
    client.expect_usable();
}

/// The kernel requires a zone for link-local addresses only, so any machine can listen on this address.
#[test]
fn an_address_may_name_its_interface() {
    let site = Site::new();
    let server = Launch::of(site.root()).listen("[::1%lo]:0").start();
    let said = server.listening();
    let address = said[0].strip_prefix("http://").expect("a URL");
    Client::connect(address.parse().expect("an address")).expect_usable();
    let said = refusal(Launch::of(site.root()).listen("[fe80::1%nosuch0]:0"));
    assert!(said.starts_with("--listen: "), "{said}");
    assert!(said.contains("no network interface of that name"), "{said}");
    let said = refusal(Launch::of(site.root()).listen("[fe80::1]:0"));
    assert!(said.contains("needs its interface"), "{said}");
}

#[test]
fn check_prints_the_interface_by_its_name() {
    let site = Site::new();
    let launch = Launch::of(site.root()).listen("[fe80::1%1]:80");
    let printed = launch.args(&["--check"]).run().stdout;
    assert!(
        printed.contains("listen = [\"[fe80::1%lo]:80\"]"),
        "{printed}"
    );
}

#[test]
fn a_stale_unix_socket_is_replaced_and_ours_is_removed_at_exit() {
    let site = Site::new();
    let socket = site.beside("abide.sock");
    drop(UnixListener::bind(&socket).expect("bind"));
    assert!(socket.exists());
    let listen = format!("unix:{}", socket.display());
    let server = Launch::of(site.root()).listen(&listen).start();
    Client::connect_unix(&socket).expect_usable();
    let said = refusal(Launch::of(site.root()).listen(&listen));
    assert!(said.contains("in use"), "{said}");
    Client::connect_unix(&socket).expect_usable();
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code, Some(0));
    assert!(!socket.exists());
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let site = Site::new();
    let precious = site.beside("precious");
    fs::write(&precious, "data").expect("write");
    let said = refusal(Launch::of(site.root()).listen(&format!("unix:{}", precious.display())));
    let named = format!(
        "{}: a regular file is there, and no socket",
        precious.display()
    );
    assert!(said.contains(&named), "{said}");
    assert_eq!(fs::read_to_string(precious).expect("read"), "data");
}

// The access log.

/// A server with an access log in the file `log`. With one worker the lines are in the order of the
/// answers. Several workers collect their own lines and write them one after the other.
fn logging(site: &Site, log: &Path) -> Server {
    let log = log.to_str().expect("a path in UTF-8");
    Launch::of(site.root())
        .args(&["--access-log", log, "-w", "1"])
        .start()
}

fn lines(log: &Path) -> Vec<String> {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Checks that `line` begins with `host - - [date] "`, and returns the text after it.
fn request_part<'l>(line: &'l str, host: &str) -> &'l str {
    let (start, rest) = line.split_once(" \"").expect("a quoted request");
    let date = start
        .strip_prefix(&format!("{host} - - ["))
        .and_then(|date| date.strip_suffix(" +0000]"))
        .unwrap_or_else(|| panic!("not the common format: {line}"));
    let shape: String = date
        .chars()
        .map(|c| match c {
            '0'..='9' => '9',
            'a'..='z' | 'A'..='Z' => 'a',
            other => other,
        })
        .collect();
    assert_eq!(shape, "99/aaa/9999:99:99:99", "{line}");
    rest
}

#[test]
fn the_access_log_has_a_line_for_each_answer_in_the_common_format() {
    let site = Site::new();
    site.write("ten", "0123456789");
    site.write("large", support::pattern(300_000));
    let log = site.beside("access.log");
    let server = logging(&site, &log);
    let mut client = server.connect();
    client.get("/ten?q");
    client.ask("HEAD", "/ten");
    client.get("/large");
    let missing = client.get("/missing").body.len();
    client.ask_with("GET", "/ten", "If-None-Match: *\r\n");
    client.send("GET /\x01 HTTP/1.1\r\n\r\n");
    let bad = client.answer().body.len();
    // An idle worker writes its lines within a second, even if no connection closes.
    until("the lines are in the file", || lines(&log).len() == 6);
    let lines = lines(&log);
    let mut logged: Vec<&str> = lines
        .iter()
        .map(|line| request_part(line, "127.0.0.1"))
        .collect();
    // Each thread collects lines, so they are only roughly in the order of the answers.
    logged.sort_unstable();
    assert!(
        logged[0].starts_with("GET /\\x01") && logged[0].ends_with(&format!("\" 400 {bad}")),
        "control characters are escaped: {}",
        logged[0]
    );
    assert_eq!(logged[1], "GET /large HTTP/1.1\" 200 300000");
    assert_eq!(logged[2], format!("GET /missing HTTP/1.1\" 404 {missing}"));
    assert_eq!(logged[3], "GET /ten HTTP/1.1\" 304 -");
    assert_eq!(logged[4], "GET /ten?q HTTP/1.1\" 200 10");
    assert_eq!(logged[5], "HEAD /ten HTTP/1.1\" 200 -");
}

/// A client cannot forge log lines.
#[test]
fn what_a_client_sends_cannot_break_out_of_its_line() {
    let site = Site::new();
    let log = site.beside("access.log");
    let server = logging(&site, &log);
    server.connect().get("/\"\\evil");
    until("the line is in the file", || lines(&log).len() == 1);
    let line = &lines(&log)[0];
    let request = request_part(line, "127.0.0.1");
    let (quoted, _) = request.rsplit_once('"').expect("a closing quote");
    let mut unescaped = quoted.replace("\\\\", "").replace("\\\"", "");
    unescaped.retain(|c| c == '"');
    assert_eq!(unescaped, "", "{line}");
}

#[test]
fn the_access_log_on_standard_output_is_complete_at_exit() {
    let site = Site::new();
    let server = Launch::of(site.root()).args(&["--access-log", "-"]).start();
    for _ in 0..20 {
        server.connect().expect_usable();
    }
    server.signal(Signal::TERM);
    let ended = server.ended();
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.stdout.lines().count(), 20, "{}", ended.stdout);
    let first = ended.stdout.lines().next().expect("a line");
    assert!(request_part(first, "127.0.0.1").starts_with("GET / HTTP/1.1\" 200 "));
}

#[test]
fn sigusr1_opens_the_access_log_again() {
    let site = Site::new();
    let (log, moved) = (site.beside("access.log"), site.beside("access.log.1"));
    let server = logging(&site, &log);
    server.connect().expect_usable();
    until("the first line", || lines(&log).len() == 1);
    fs::rename(&log, &moved).expect("rename");
    server.signal(Signal::USR1);
    until("the new file", || log.exists());
    server.connect().expect_usable();
    until("the second line, in the new file", || {
        lines(&log).len() == 1
    });
    assert_eq!(lines(&moved).len(), 1);
}

// Signals and diagnostics.

#[test]
fn sigusr2_prints_the_counters() {
    let site = Site::new();
    let server = Server::of(site.root());
    let mut client = server.connect();
    client.expect_usable();
    client.expect_usable();
    // A client that has disconnected is not active any more, even if no other client has sent a request.
    let mut gone = server.connect();
    gone.expect_usable();
    drop(gone);
    until("the server has closed its side", || {
        server.signal(Signal::USR2);
        server
            .stderr()
            .contains("closes_total{reason=\"client_closed\"} 1\n")
    });
    server.signal(Signal::USR2);
    server.wait_for("requests_total 3\n");
    server.wait_for("connections_accepted_total 2\n");
    server.wait_for(
        "connections_open 1\nconnections_active 0\nconnections_idle 1\nconnections_lingering 0\n",
    );
    server.wait_for("requests_per_connection_bucket{le=\"0\"} 0\n");
    server.wait_for("requests_per_connection_bucket{le=\"1\"} 1\n");
    server.wait_for("requests_per_connection_bucket{le=\"+Inf\"} 1\n");
    server.wait_for("keep_alive_race_total 0\n");
    client.expect_usable();
}

#[test]
fn rust_log_sets_the_diagnostics_and_the_default_is_quiet() {
    let site = Site::new();
    let quiet = Server::of(site.root());
    let loud = Launch::of(site.root())
        .env("RUST_LOG", "abide=debug")
        .start();
    for server in [&quiet, &loud] {
        server.connect().expect_usable();
    }
    loud.wait_for("connection 0.0.0 closed: 1 requests, ");
    until("the last message is complete", || {
        let said = loud.stderr();
        let line = said
            .lines()
            .find(|line| line.contains("connection 0.0.0 closed"));
        line.is_some_and(|line| line.contains(" bytes, ") && line.ends_with(" ms, client_closed"))
    });
    let said = quiet.stderr();
    // Root is warned about its rights, and so is an operator whose kernel has no Landlock.
    let warnings = |line: &&str| line.starts_with("abide: warning: ");
    let others = said.lines().filter(|line| !warnings(line));
    assert_eq!(others.count(), 1, "only the listening line: {said}");
}

/// A request crosses the server's close on the wire. No server can avoid that if a client ignores the hint.
#[test]
fn a_race_is_counted_and_logged() {
    let site = Site::new();
    let server = Launch::of(site.root())
        .env("RUST_LOG", "abide=debug")
        .config("[keep_alive]\ntimeout = 1\ngrace = 1\n")
        .start();
    let mut client = server.connect();
    client.expect_usable();
    client.expect_end();
    client.send(request("GET", "/", ""));
    server.wait_for("a request crosses with the close (idle)");
    server.signal(Signal::USR2);
    server.wait_for("keep_alive_race_total 1\n");
}

#[test]
fn check_refuses_what_a_start_refuses_and_leaves_nothing_behind() {
    let site = Site::new();
    let log = site.beside("log");
    let link = site.beside("link");
    std::os::unix::fs::symlink(&log, &link).expect("a link");
    for (toml, refused) in [
        (format!("access_log.path = '{}'", log.display()), None),
        ("access_log.path = '/dev/stdout'".to_owned(), None),
        (
            format!("access_log.path = '{}'", link.display()),
            Some("it is a symbolic link"),
        ),
        (
            "access_log.path = '/no/such/directory/log'".to_owned(),
            Some("cannot open the access log"),
        ),
        (
            "limits.connections = 4000000000".to_owned(),
            Some("limits.connections"),
        ),
    ] {
        let launch = || Launch::of(site.root()).config(&toml);
        let checked = launch().args(&["--check"]).run();
        let Some(refused) = refused else {
            assert_eq!(checked.code, Some(0), "{}", checked.stderr);
            assert!(!log.exists(), "the check has created the log");
            continue;
        };
        assert_eq!(checked.code, Some(2), "{toml}: {}", checked.stderr);
        assert!(checked.stderr.contains(refused), "{}", checked.stderr);
        let started = launch().run();
        assert_eq!(started.code, Some(2), "{toml}: {}", started.stderr);
        assert!(started.stderr.contains(refused), "{}", started.stderr);
    }
}
