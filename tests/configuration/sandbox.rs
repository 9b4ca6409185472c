//! Attempts at the things that the sandbox forbids, from inside it. Credentials, NO_NEW_PRIVS and Landlock belong to a thread, so a
//! thread of the test gives up its rights and then tries. On a kernel without Landlock the tests expect that
//! nothing is forbidden.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::Path;
use std::process::Command;
use std::thread;

use abide::config::{
    AccessLogTarget, Config, ListenAddress, ReachablePaths, SandboxMode, SiteConfig,
};
use abide::server::confinement::sandbox::{KernelSupport, kernel_support};
use abide::server::confinement::{self, Confinement, ConfinementError, confine_thread};
use rustix::process::{Gid, Uid, geteuid, getgroups};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, configure_capability_in_ambient_set, no_new_privs,
    set_thread_res_uid,
};
use support::Site;

/// Gives up the rights of a new thread as `config` says, and runs `attempt` in it.
pub fn inside<T: Send>(
    config: &Config,
    file: Option<&Path>,
    attempt: impl FnOnce(Result<Confinement, ConfinementError>) -> T + Send,
) -> T {
    thread::scope(|scope| {
        let confined = scope.spawn(|| attempt(confine_thread(config, file)));
        confined.join().expect("the attempt returns")
    })
}

/// The settings of a server for `site`.
pub fn serving(site: &Site) -> Config {
    Config {
        site: SiteConfig::at(site.root()),
        ..Config::default()
    }
}

/// A site below a directory of its own, so that the parent of its root has nothing else.
pub fn site_with_secret() -> (Site, Config) {
    let site = Site::new();
    site.write("nested/www/index.html", "home");
    fs::write(site.path("secret"), "secret").expect("write");
    let config = Config {
        site: SiteConfig::at(site.path("nested/www")),
        ..Config::default()
    };
    (site, config)
}

/// Checks that the kernel forbade it, if `can_forbid`.
pub fn expect_denied<T>(result: io::Result<T>, can_forbid: bool, what: &str) {
    match result {
        Err(error) if can_forbid => {
            assert_eq!(
                error.kind(),
                io::ErrorKind::PermissionDenied,
                "{what}: {error}"
            );
        }
        Ok(_) if !can_forbid => {}
        Err(error) => panic!("{what}: {error}"),
        Ok(_) => panic!("{what}: it was possible"),
    }
}

pub fn forbids_files() -> bool {
    kernel_support() != KernelSupport::Nothing
}

#[test]
fn only_files_below_the_parent_of_the_root_can_be_read() {
    let (site, config) = site_with_secret();
    inside(&config, None, |confinement| {
        let confinement = confinement.expect("confined");
        let root = site.path("nested/www");
        assert_eq!(fs::read(root.join("index.html")).expect("a page"), b"home");
        fs::read_dir(site.path("nested")).expect("the parent of the root");
        expect_denied(
            fs::read(site.path("secret")),
            forbids_files(),
            "another file",
        );
        expect_denied(fs::read("/etc/passwd"), forbids_files(), "a system file");
        expect_denied(
            fs::read_dir(site.root()),
            forbids_files(),
            "another directory",
        );
        assert!(confinement.allows_root(&root));
        assert_eq!(confinement.allows_root(&site.root()), !forbids_files());
    });
}

#[test]
fn nothing_can_be_written_or_removed_in_a_site() {
    let (site, config) = site_with_secret();
    inside(&config, None, |confinement| {
        confinement.expect("confined");
        let root = site.path("nested/www");
        let page = root.join("index.html");
        let mut append = fs::OpenOptions::new();
        expect_denied(append.append(true).open(&page), forbids_files(), "write");
        expect_denied(
            fs::File::create(root.join("new")),
            forbids_files(),
            "create",
        );
        expect_denied(
            fs::create_dir(root.join("directory")),
            forbids_files(),
            "mkdir",
        );
        expect_denied(
            fs::rename(&page, root.join("moved")),
            forbids_files(),
            "rename",
        );
        let _ = fs::rename(root.join("moved"), &page);
        expect_denied(fs::remove_file(&page), forbids_files(), "remove");
    });
}

#[test]
fn no_program_can_be_executed() {
    let (_site, config) = site_with_secret();
    inside(&config, None, |confinement| {
        confinement.expect("confined");
        let status = Command::new("/bin/true").status();
        expect_denied(status, forbids_files(), "execute");
    });
}

/// The sockets of sd_notify(3), in the file system and abstract, are unix sockets.
#[test]
fn no_tcp_connection_leaves_but_ports_and_unix_sockets_work() {
    let (site, config) = site_with_secret();
    let other_server = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = other_server.local_addr().expect("an address");
    let name = format!("abide-test-{}", std::process::id());
    let abstract_name = SocketAddr::from_abstract_name(name).expect("a name");
    let manager = UnixDatagram::bind_addr(&abstract_name).expect("a socket");
    let path = site.beside("notify");
    let other_manager = UnixDatagram::bind(&path).expect("a socket");
    inside(&config, None, |confinement| {
        confinement.expect("confined");
        let forbids = kernel_support() == KernelSupport::Everything;
        expect_denied(TcpStream::connect(address), forbids, "connect");
        let listener = TcpListener::bind("127.0.0.1:0").expect("ports can be bound");
        let own = listener.local_addr().expect("an address");
        expect_denied(TcpStream::connect(own), forbids, "connect to itself");
        let socket = UnixDatagram::unbound().expect("a socket");
        socket
            .send_to_addr(b"READY=1", &abstract_name)
            .expect("abstract");
        socket
            .send_to(b"READY=1", &path)
            .expect("in the file system");
    });
    for manager in [manager, other_manager] {
        let mut message = [0; 16];
        assert_eq!(manager.recv(&mut message).expect("a message"), 7);
    }
}

#[test]
fn the_directories_of_the_log_and_of_the_socket_can_be_written_as_needed() {
    let (site, mut config) = site_with_secret();
    let [logs, sockets] = ["logs", "sockets"].map(|name| site.beside(name));
    fs::create_dir(&logs).expect("mkdir");
    fs::create_dir(&sockets).expect("mkdir");
    config.access_log.target = Some(AccessLogTarget::File(logs.join("access.log")));
    config.listen = vec![ListenAddress::unix(sockets.join("abide.sock"))];
    inside(&config, None, |confinement| {
        let confinement = confinement.expect("confined");
        let mut log = fs::File::options();
        let log = log.append(true).create(true);
        let mut file = log.open(logs.join("access.log")).expect("the log");
        file.write_all(b"line\n").expect("write");
        let read = fs::File::open(logs.join("access.log"));
        expect_denied(read, forbids_files(), "read the log");
        let removed = fs::remove_file(logs.join("access.log"));
        expect_denied(removed, forbids_files(), "remove the log");
        drop(UnixListener::bind(sockets.join("abide.sock")).expect("bind"));
        fs::remove_file(sockets.join("abide.sock")).expect("remove the socket");
        let file = fs::File::create(sockets.join("file"));
        expect_denied(file, forbids_files(), "a file beside the socket");
        assert!(confinement.allows_log(&logs.join("other.log")));
        assert!(confinement.allows_socket(&sockets.join("other.sock")));
        let is_free = !forbids_files();
        assert_eq!(confinement.allows_socket(&logs.join("other.sock")), is_free);
        assert_eq!(confinement.allows_log(&site.beside("other.log")), is_free);
    });
}

#[test]
fn a_replaced_configuration_can_be_read_again() {
    let (site, config) = site_with_secret();
    let file = site.beside("abide.toml");
    fs::write(&file, "# old").expect("write");
    let (moved, waiting) = std::sync::mpsc::channel();
    let (confined, ready) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let (config, file) = (&config, &file);
        let reader = scope.spawn(move || {
            confine_thread(config, Some(file)).expect("confined");
            confined.send(()).expect("the test waits");
            waiting.recv().expect("the file is replaced");
            fs::read_to_string(file).expect("the new file")
        });
        ready.recv().expect("the thread is confined");
        fs::write(site.beside("abide.toml.new"), "# new").expect("write");
        fs::rename(site.beside("abide.toml.new"), file).expect("replace");
        moved.send(()).expect("the thread waits");
        assert_eq!(reader.join().expect("read"), "# new");
    });
}

#[test]
fn a_sandbox_that_is_off_forbids_nothing_but_new_privileges() {
    let (site, mut config) = site_with_secret();
    config.sandbox = SandboxMode::Off;
    inside(&config, None, |confinement| {
        let confinement = confinement.expect("confined");
        assert!(no_new_privs().expect("prctl"));
        assert_eq!(fs::read(site.path("secret")).expect("readable"), b"secret");
        assert!(
            Command::new("/bin/true")
                .status()
                .expect("executable")
                .success()
        );
        assert!(confinement.allows_root(&site.root()));
        assert!(confinement.allows_file(&site.path("secret")));
        assert!(confinement.allows_log(&site.beside("log")));
        assert!(confinement.allows_socket(&site.beside("sock")));
    });
    assert!(
        !no_new_privs().expect("prctl"),
        "the other threads keep their rights"
    );
}

#[test]
fn a_kernel_that_cannot_do_all_is_named_once_and_refused_if_all_is_required() {
    let (_site, mut config) = site_with_secret();
    let warned = inside(&config, None, |confinement| {
        let warnings = confinement.expect("confined").warnings;
        let of_sandbox = warnings
            .iter()
            .filter(|warning| warning.starts_with("sandbox: "));
        of_sandbox.count()
    });
    config.sandbox = SandboxMode::Require;
    let required = inside(&config, None, |confinement| confinement.map(drop));
    let checked = confinement::check(&config);
    if kernel_support() == KernelSupport::Everything {
        assert_eq!(warned, 0);
        required.expect("the kernel can do it");
        checked.expect("the kernel can do it");
    } else {
        assert_eq!(warned, 1);
        for refused in [required, checked] {
            let said = refused.expect_err("required").to_string();
            assert!(
                said.starts_with("sandbox: \"require\" needs Landlock"),
                "{said}"
            );
        }
    }
}

/// Only root can change to another user. The test of anybody else expects that refusal.
#[test]
fn a_change_of_user_is_complete_and_for_good() {
    let site = Site::new();
    let mut config = serving(&site);
    config.user = Some("61000".to_owned());
    config.group = Some("61001".to_owned());
    config.sandbox = SandboxMode::Off;
    let is_root = geteuid().is_root();
    inside(&config, None, |confinement| {
        if !is_root {
            let said = confinement.expect_err("not as root").to_string();
            assert!(said.starts_with("user: cannot change to 61000: "), "{said}");
            return;
        }
        assert_eq!(confinement.expect("changed").warnings, Vec::<String>::new());
        let mut status = String::new();
        let mut file = fs::File::open("/proc/thread-self/status").expect("/proc");
        file.read_to_string(&mut status).expect("read");
        for line in [
            "Uid:\t61000\t61000\t61000\t61000\n",
            "Gid:\t61001\t61001\t61001\t61001\n",
            "CapPrm:\t0000000000000000\n",
            "CapEff:\t0000000000000000\n",
        ] {
            assert!(status.contains(line), "{line}{status}");
        }
        assert_eq!(getgroups().expect("groups"), [Gid::from_raw(61_001)]);
        let root = Uid::ROOT;
        set_thread_res_uid(root, root, root).expect_err("no way back");
    });
    assert_eq!(
        geteuid().is_root(),
        is_root,
        "the other threads keep their rights"
    );
}

/// A thread that keeps its capabilities through a change of user, and has one that it also keeps as that user.
#[test]
fn a_user_keeps_no_capability_whatever_the_process_was_started_with() {
    let site = Site::new();
    let mut config = serving(&site);
    config.user = Some("61000".to_owned());
    config.group = Some("61001".to_owned());
    let capabilities = || {
        let status = fs::read_to_string("/proc/thread-self/status").expect("/proc");
        let lines = status.lines().filter(|line| line.starts_with("Cap"));
        let sets = lines.filter(|line| !line.starts_with("CapBnd"));
        sets.map(str::to_owned).collect::<Vec<_>>().join("\n")
    };
    let keep = || -> rustix::io::Result<()> {
        let bind = CapabilitySet::NET_BIND_SERVICE;
        let mut sets = rustix::thread::capabilities(None)?;
        sets.inheritable |= bind;
        rustix::thread::set_capabilities(None, sets)?;
        configure_capability_in_ambient_set(bind, true)?;
        let no_fixup = CapabilitiesSecureBits::NO_SETUID_FIXUP;
        rustix::thread::set_capabilities_secure_bits(no_fixup)
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            // Only root may, and not in every container.
            if keep().is_err() {
                return;
            }
            let before = capabilities();
            assert!(before.contains("CapAmb:\t0000000000000400"), "{before}");
            // Outside of the sandbox, so that the status can be read.
            config.sandbox = SandboxMode::Off;
            confine_thread(&config, None).expect("confined");
            let sets = ["CapInh", "CapPrm", "CapEff", "CapAmb"];
            let none = sets.map(|set| format!("{set}:\t0000000000000000"));
            assert_eq!(capabilities(), none.join("\n"));
        });
    });
}

#[test]
fn a_configuration_that_only_root_can_read_is_refused_at_the_start() {
    let site = Site::new();
    let file = site.beside("abide.toml");
    fs::write(&file, "").expect("write");
    let mut config = serving(&site);
    config.user = Some("61000".to_owned());
    config.group = Some("61001".to_owned());
    for (mode, is_readable) in [(0o600, false), (0o644, true)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("chmod");
        let confined = inside(&config, Some(&file), |confinement| confinement.map(drop));
        let said = confined.map_err(|error| error.to_string());
        if !geteuid().is_root() {
            let said = said.expect_err("not as root");
            assert!(said.starts_with("user: cannot change to 61000: "), "{said}");
        } else if is_readable {
            said.expect("the user may read it");
        } else {
            let said = said.expect_err("unreadable");
            let start = format!("{}: Permission denied", file.display());
            assert!(said.starts_with(&start), "{said}");
        }
    }
}
