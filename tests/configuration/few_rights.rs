//! `user`, `group` and `sandbox` of the binary: what its threads may do, and what works within that: a root
//! that is switched, a log that is rotated, a socket that is removed. `sandbox.rs` tries what is forbidden.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use abide::server::confinement::sandbox::{KernelSupport, kernel_support};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use support::client::request;
use support::server::program;
use support::{Launch, Server, Site, until};

use super::wrong_sites::assert_refusals;

/// The warning of a server that stays root.
const STAYS_ROOT: &str = "abide: warning: the server runs as root; ";

/// Numbers that no account of the machine has.
pub const ACCOUNT: &str = "user = '61000'\ngroup = '61001'\n";

/// The one line of a start that is refused.
fn refusal(launch: Launch) -> String {
    let ended = launch.run();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    ended.stderr
}

/// The value of a field of the status of each thread, without repetitions (proc_pid_status(5)).
fn field_of_threads(server: &Server, name: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("/proc");
    let value = |task: std::fs::DirEntry| {
        // A thread that has ended meanwhile has no status.
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let mut lines = status.lines();
        let value = lines.find_map(|line| line.strip_prefix(name));
        value.map(|value| value.trim().replace('\t', " "))
    };
    let mut values: Vec<_> = tasks
        .filter_map(|task| value(task.expect("a thread")))
        .collect();
    values.sort_unstable();
    values.dedup();
    values
}

/// Starts the server with a usual umask, and with its configuration where every user can read it.
pub fn launch(site: &Site, toml: &str) -> Launch {
    let file = site.beside("abide.toml");
    fs::write(&file, toml).expect("write");
    let shell = ["sh", "-c", "umask 022; exec \"$@\"", "sh"];
    let launch = Launch::of(site.root()).through(&shell, Stdio::null());
    launch.args(&["-c", file.to_str().expect("a path in UTF-8")])
}

fn lines(log: &Path) -> usize {
    fs::read_to_string(log).unwrap_or_default().lines().count()
}

#[test]
fn wrong_values_are_refused() {
    let name = "it must be a name or number in quotes, or \"\" for none";
    let mode = "it must be \"auto\", \"require\" or \"off\"";
    assert_refusals(&[
        ("user = 33", "1: user", name),
        ("\ngroup = true", "2: group", name),
        ("user = ['web']", "1: user", name),
        ("sandbox = 'on'", "1: sandbox", mode),
        ("sandbox = true", "1: sandbox", mode),
        (
            "[[host]]\nname = 'a'\nroot = 'www'\nuser = 'web'",
            "4: host.user",
            "the same for all hosts",
        ),
    ]);
}

#[test]
fn every_thread_has_the_account_and_can_get_no_privileges() {
    let site = Site::new();
    let directory = site.beside("own");
    fs::create_dir(&directory).expect("mkdir");
    let [log, socket] = ["access.log", "abide.sock"].map(|name| directory.join(name));
    let toml = format!("{ACCOUNT}[access_log]\npath = '{}'\n", log.display());
    let launch = launch(&site, &toml).listen(&format!("unix:{}", socket.display()));
    if !geteuid().is_root() {
        let said = refusal(launch);
        assert!(
            said.starts_with("abide: user: cannot change to 61000: "),
            "{said}"
        );
        assert!(!socket.exists(), "the socket is left behind");
        return;
    }
    std::os::unix::fs::chown(&directory, Some(61_000), Some(61_001)).expect("chown");
    let server = launch.listen("127.0.0.1:0").start();
    server.connect().expect_usable();
    until("the log is written", || lines(&log) == 1);
    assert!(server.threads().len() > 3, "{:?}", server.threads());
    assert_eq!(
        field_of_threads(&server, "Uid:"),
        ["61000 61000 61000 61000"]
    );
    assert_eq!(
        field_of_threads(&server, "Gid:"),
        ["61001 61001 61001 61001"]
    );
    assert_eq!(field_of_threads(&server, "Groups:"), ["61001"]);
    assert_eq!(field_of_threads(&server, "CapPrm:"), ["0000000000000000"]);
    assert_eq!(field_of_threads(&server, "NoNewPrivs:"), ["1"]);
    let found = fs::metadata(&log).expect("the log");
    assert_eq!(
        (found.uid(), found.gid(), found.mode() & 0o7777),
        (61_000, 61_001, 0o640)
    );
    server.signal(Signal::TERM);
    let ended = server.ended();
    assert_eq!(ended.code, Some(0));
    assert!(!ended.stderr.contains("runs as root"), "{}", ended.stderr);
    assert!(!socket.exists(), "the socket is left behind");
}

/// The identifiers of the user nobody that id(1) prints.
fn id_of_nobody(option: &str) -> Vec<u32> {
    let output = Command::new("id").args([option, "nobody"]).output();
    let said = output.expect("id of coreutils").stdout;
    let said = String::from_utf8(said).expect("text");
    let numbers = said
        .split_whitespace()
        .map(|number| number.parse().expect("a number"));
    numbers.collect()
}

/// A user that exists, with the groups of the machine. That user itself may also start the server.
#[test]
fn a_name_brings_its_groups() {
    let site = Site::new();
    let launch = launch(&site, "user = 'nobody'\n");
    let is_root = geteuid().is_root();
    if !is_root && id_of_nobody("-u") != [geteuid().as_raw()] {
        assert!(refusal(launch).starts_with("abide: user: cannot change to nobody: "));
        return;
    }
    let server = launch.start();
    // The real, effective, saved and file system number.
    let uid = vec![id_of_nobody("-u")[0].to_string(); 4];
    assert_eq!(field_of_threads(&server, "Uid:"), [uid.join(" ")]);
    if is_root {
        let mut groups = id_of_nobody("-G");
        groups.sort_unstable();
        let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
        assert_eq!(field_of_threads(&server, "Groups:"), [groups.join(" ")]);
    }
}

#[test]
fn root_without_a_user_is_warned_about_once() {
    let site = Site::new();
    let server = Server::of(site.root());
    server.connect().expect_usable();
    server.signal(Signal::TERM);
    let said = server.ended().stderr;
    let expected = usize::from(geteuid().is_root());
    assert_eq!(said.matches(STAYS_ROOT).count(), expected, "{said}");
    if geteuid().is_root() {
        // A group does not take the rights of root.
        let server = launch(&site, "group = '61001'\n").start();
        assert!(server.stderr().contains(STAYS_ROOT), "{}", server.stderr());
        assert_eq!(field_of_threads(&server, "Groups:"), ["61001"]);
    }
}

#[test]
fn an_account_that_there_is_not_is_refused_by_a_start_and_by_check() {
    let site = Site::new();
    for (toml, place) in [
        (
            "\nuser = 'no-such-user'\n",
            ":2: user: there is no user \"no-such-user\" in /etc/passwd",
        ),
        (
            "group = 'no-such'\n",
            ":1: group: there is no group \"no-such\" in /etc/group",
        ),
        (
            "user = '61000'\n",
            ":1: user: the user 61000 has no entry in /etc/passwd",
        ),
        (
            "user = '4294967295'\n",
            ":1: user: there is no user \"4294967295\"",
        ),
    ] {
        let started = refusal(launch(&site, toml));
        assert!(started.contains(place), "{started}");
        assert!(started.contains(" (column "), "{started}");
        let checked = refusal(launch(&site, toml).args(&["--check"]));
        assert_eq!(checked, started);
    }
}

#[test]
fn what_the_user_may_not_read_or_write_is_refused_at_the_start_and_by_check() {
    let site = Site::new();
    // The start and `--check` refuse it in the same words.
    let refusal = |toml: &str| {
        let said = refusal(launch(&site, toml));
        assert_eq!(refusal(launch(&site, toml).args(&["--check"])), said);
        said
    };
    if !geteuid().is_root() {
        let said = refusal(ACCOUNT);
        assert!(
            said.starts_with("abide: user: cannot change to 61000: "),
            "{said}"
        );
        return;
    }
    let of_user = " for the user 61000\n";
    let root = fs::Permissions::from_mode(0o700);
    fs::set_permissions(site.root(), root).expect("chmod");
    let said = refusal(ACCOUNT);
    assert!(
        said.contains("cannot serve ") && said.ends_with(of_user),
        "{said}"
    );
    fs::set_permissions(site.root(), fs::Permissions::from_mode(0o755)).expect("chmod");
    let toml = format!(
        "{ACCOUNT}access_log.path = '{}'\n",
        site.beside("log").display()
    );
    let said = refusal(&toml);
    assert!(
        said.contains("cannot open the access log ") && said.ends_with(of_user),
        "{said}"
    );
    let file = site.beside("abide.toml");
    // First the file cannot be read, then it cannot even be looked up.
    for (path, mode) in [(file.clone(), 0o600), (site.beside(""), 0o700)] {
        fs::write(&file, ACCOUNT).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
        let said = refusal(ACCOUNT);
        assert!(
            said.contains(&format!("{}: Permission denied", file.display())),
            "{said}"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
}

#[test]
fn a_check_of_what_the_user_may_do_prints_the_configuration() {
    let site = Site::new();
    if geteuid().is_root() {
        let checked = launch(&site, "user = 'nobody'\n").args(&["--check"]).run();
        assert_eq!(checked.code, Some(0), "{}", checked.stderr);
        assert!(checked.stdout.contains("user = \"nobody\"\n"));
    }
}

#[test]
fn a_sandbox_that_is_required_is_refused_if_the_kernel_cannot() {
    let site = Site::new();
    let toml = "sandbox = 'require'\n";
    if kernel_support() == KernelSupport::Everything {
        launch(&site, toml).start().connect().expect_usable();
    } else {
        let said = refusal(launch(&site, toml));
        assert!(
            said.starts_with("abide: sandbox: \"require\" needs Landlock"),
            "{said}"
        );
        assert_eq!(refusal(launch(&site, toml).args(&["--check"])), said);
    }
}

/// The links of a deployment are switched to its next release, to another place, and back.
#[test]
fn a_root_is_switched_within_the_sandbox_and_not_to_a_place_outside() {
    let place = Site::empty();
    for release in ["deploy/releases/1", "deploy/releases/2", "outside/3"] {
        place.write(&format!("{release}/index.html"), release);
    }
    let current = place.path("deploy/current");
    let switch = |target: &str| {
        let next = place.path("deploy/next");
        symlink(place.path(target), &next).expect("a link");
        fs::rename(&next, &current).expect("switch");
    };
    switch("deploy/releases/1");
    let server = Server::of(&current);
    let expect = |status: u16, body: Option<&str>| {
        until(&format!("{status} {body:?}"), || {
            let response = server.connect().get("/");
            let text = String::from_utf8_lossy(&response.body);
            response.status == status && body.is_none_or(|body| body == text)
        });
    };
    expect(200, Some("deploy/releases/1"));
    switch("deploy/releases/2");
    expect(200, Some("deploy/releases/2"));
    switch("outside/3");
    match kernel_support() {
        KernelSupport::Nothing => expect(200, Some("outside/3")),
        KernelSupport::Files | KernelSupport::Everything => expect(403, None),
    }
    switch("deploy/releases/1");
    expect(200, Some("deploy/releases/1"));
}

/// A log that is rotated in its directory is followed. A new directory of the same name is another directory.
#[test]
fn a_log_is_rotated_within_the_sandbox_and_not_into_a_place_outside() {
    let site = Site::new();
    let directory = site.beside("logs");
    fs::create_dir(&directory).expect("mkdir");
    let log = directory.join("access.log");
    let server = launch(&site, &format!("access_log.path = '{}'\n", log.display())).start();
    fs::rename(&log, directory.join("access.log.1")).expect("rotate");
    server.signal(Signal::USR1);
    until("the new log", || log.exists());
    assert_eq!(fs::metadata(&log).expect("the log").mode() & 0o7777, 0o640);
    fs::rename(&directory, site.beside("moved")).expect("rename");
    fs::create_dir(&directory).expect("mkdir");
    server.signal(Signal::USR1);
    if kernel_support() == KernelSupport::Nothing {
        until("a log in the new directory", || log.exists());
    } else {
        server.wait_for("cannot be reopened: Permission denied");
        server.connect().expect_usable();
        let moved = site.beside("moved/access.log");
        until("a line in the old log", || lines(&moved) == 1);
    }
}

#[test]
fn a_log_that_is_a_link_is_refused() {
    let site = Site::new();
    let [log, target] = ["log", "target"].map(|name| site.beside(name));
    symlink(&target, &log).expect("a link");
    let said = refusal(launch(
        &site,
        &format!("access_log.path = '{}'\n", log.display()),
    ));
    let expected = format!(
        "abide: cannot open the access log {}: it is a symbolic link, name the file itself\n",
        log.display()
    );
    assert_eq!(said, expected);
    assert!(!target.exists());
}

#[test]
fn the_names_of_the_standard_streams_and_devices_are_logs() {
    let site = Site::new();
    for (path, stdout, stderr) in [
        ("-", 1, 0),
        ("/dev/stdout", 1, 0),
        ("/proc/self/fd/1", 1, 0),
        ("/dev/stderr", 0, 1),
        ("/dev/fd/2", 0, 1),
        ("/dev/null", 0, 0),
    ] {
        let toml = format!("access_log.path = '{path}'\nshutdown.handshakes = 0\n");
        let server = launch(&site, &toml).start();
        server.connect().expect_usable();
        server.signal(Signal::USR1);
        server.signal(Signal::TERM);
        let ended = server.ended();
        let count = |text: &str| text.matches("\"GET / HTTP/1.1\" 200 ").count();
        assert_eq!(ended.code, Some(0), "{path}: {}", ended.stderr);
        assert_eq!(
            (count(&ended.stdout), count(&ended.stderr)),
            (stdout, stderr),
            "{path}"
        );
        assert!(
            !ended.stderr.contains("reopened"),
            "{path}: {}",
            ended.stderr
        );
    }
}

/// A file that a shell has opened, and a pipe: `3>file`, `3> >(command)`.
#[test]
fn an_inherited_descriptor_is_a_log() {
    let site = Site::new();
    let log = site.beside("log");
    let toml = "access_log.path = '/dev/fd/3'\n";
    let file = site.beside("abide.toml");
    fs::write(&file, toml).expect("write");
    for (script, is_file) in [
        ("exec 3>\"$0\"; exec \"$@\"", true),
        ("exec 3>&1; exec \"$@\"", false),
    ] {
        let log_path = log.to_str().expect("a path in UTF-8");
        let shell = ["sh", "-c", script, log_path];
        let launch = Launch::of(site.root()).through(&shell, Stdio::null());
        let server = launch
            .args(&["-c", file.to_str().expect("a path in UTF-8")])
            .start();
        server.connect().expect_usable();
        server.signal(Signal::TERM);
        let ended = server.ended();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let in_pipe = ended.stdout.lines().count();
        assert_eq!(
            (lines(&log), in_pipe),
            if is_file { (1, 0) } else { (1, 1) },
            "{script}"
        );
    }
}

/// journald gives a service a socket as standard output, and a socket cannot be opened by its path.
#[test]
fn a_standard_output_that_is_a_socket_is_a_log() {
    let site = Site::new();
    for path in ["-", "/dev/stdout"] {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let socket = site.beside("abide.sock");
        let mut server = Command::new(program())
            .args([
                "--access-log",
                path,
                "-l",
                &format!("unix:{}", socket.display()),
            ])
            .arg(site.root())
            .stdin(Stdio::null())
            .stdout(std::os::fd::OwnedFd::from(theirs))
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs");
        until("a listener", || UnixStream::connect(&socket).is_ok());
        let mut client = support::Client::connect_unix(&socket);
        client.send(request("GET", "/", ""));
        assert_eq!(client.answer().status, 200);
        // The end of the server waits for idle clients.
        drop(client);
        let mut line = String::new();
        BufReader::new(ours).read_line(&mut line).expect("a line");
        kill_process(Pid::from_child(&server), Signal::TERM).expect("it runs");
        assert!(server.wait().expect("wait").success());
        assert!(line.contains("\"GET / HTTP/1.1\" 200 "), "{path}: {line}");
    }
}

/// A configuration from a pipe can be read once, so nothing else is expected of it.
#[test]
fn a_configuration_may_come_from_a_pipe() {
    let site = Site::new();
    let script = "printf 'workers = 1\\n' | \"$@\"";
    let launch = Launch::of(site.root()).through(
        &["sh", "-c", script, "sh"],
        File::open("/dev/null").expect("null"),
    );
    let printed = launch.args(&["-c", "/dev/stdin", "--check"]).run();
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    assert!(
        printed.stdout.contains("workers = 1\n"),
        "{}",
        printed.stdout
    );
}
