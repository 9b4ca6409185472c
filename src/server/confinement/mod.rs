//! The rights that the program gives up once it listens, before it has a second thread.
//!
//! [`confine`] does this in order:
//!
//! 1. It changes to the configured user and group ([`account`]).
//! 2. It sets NO_NEW_PRIVS, so that no program it might execute gets more rights (prctl(2)).
//! 3. It enters a Landlock sandbox ([`sandbox`]) of the paths that the configuration names ([`grants`]).
//! 4. It opens what a reload or a renewal of a certificate would read, so that a missing right stops the start and
//!    not the later reload or renewal.
//!
//! Credentials and Landlock belong to a thread, and a new thread inherits them from the one that starts it. So
//! there must be no other thread yet. The same fact lets tests confine one thread of their process.
//!
//! Everything else is opened afterwards, with the rights that remain: roots, logs, and later what a reload
//! names. A reload can ask [`Confinement`] whether a new path is within the sandbox, which never widens.
//!
//! Two reads fail within the sandbox, and the server does without: a panic with RUST_BACKTRACE cannot
//! read the program's symbols, so its frames have no names; and the standard library counts CPUs without the
//! quota of a control group, which only the number of shards of one small cache depends on.

pub mod account;
pub mod grants;
pub mod sandbox;

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::geteuid;
use rustix::thread::set_no_new_privs;

use super::socket_file;
use crate::config::{
    Account, Config, Endpoint, ReachablePaths, SandboxMode, SiteConfig, UnknownAccount,
};
use grants::{Grants, is_lasting_file};
use sandbox::KernelSupport;

/// The warning about a server that was started as root, without `user`.
const STAYS_ROOT: &str =
    "the server runs as root; set user, and it changes to that user once it listens";

/// The warning about a kernel that can restrict nothing.
const NO_LANDLOCK: &str = "sandbox: this kernel has no Landlock, or it is turned off, so the server keeps the \
                           right to every file that its user may use";

/// The warning about a kernel before Linux 6.7.
const NO_CONNECTION_RULES: &str = "sandbox: this kernel's Landlock has no rules for connections, so the server \
                                   keeps the right to connect to other servers";

/// Why the program could not give up its rights: one sentence, without a full stop.
#[derive(Debug)]
pub struct ConfinementError(String);

impl fmt::Display for ConfinementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfinementError {}

/// The rights that remain.
#[derive(Debug)]
pub struct Confinement {
    /// Warnings to the operator about the rights that could not be given up. Each is one sentence without a
    /// full stop.
    pub warnings: Vec<String>,
    /// `None` if there is no sandbox.
    grants: Option<Grants>,
}

/// A path outside needs a restart.
impl ReachablePaths for Confinement {
    fn allows_root(&self, root: &Path) -> bool {
        let allows = |grants: &Grants| grants.allows_root(root);
        self.grants.as_ref().is_none_or(allows)
    }

    fn allows_file(&self, path: &Path) -> bool {
        let allows = |grants: &Grants| grants.allows_file(path);
        self.grants.as_ref().is_none_or(allows)
    }

    fn allows_log(&self, path: &Path) -> bool {
        let allows = |grants: &Grants| grants.allows_log(path);
        self.grants.as_ref().is_none_or(allows)
    }

    fn allows_socket(&self, path: &Path) -> bool {
        let allows = |grants: &Grants| grants.allows_socket(path);
        self.grants.as_ref().is_none_or(allows)
    }
}

/// Checks that the kernel can do what `sandbox` requires, and changes nothing.
///
/// # Errors
/// If `sandbox` is `"require"` and the kernel cannot do all of it.
pub fn check(config: &Config) -> Result<(), ConfinementError> {
    let missing = match sandbox::kernel_support() {
        KernelSupport::Nothing => "this kernel has no Landlock, or it is turned off",
        KernelSupport::Files => "this kernel's Landlock has no rules for connections",
        KernelSupport::Everything => return Ok(()),
    };
    match config.sandbox {
        SandboxMode::Auto | SandboxMode::Off => Ok(()),
        SandboxMode::Require => Err(ConfinementError(format!(
            "sandbox: \"require\" needs Landlock as of Linux 6.7, but {missing}"
        ))),
    }
}

/// Gives up the rights of the process, as `config` says. `file` is the file that `config` was read from.
///
/// # Errors
/// If the user or group does not exist or the process may not change to it, if the sandbox is required and
/// the kernel has none, or if `file`, a certificate or a key cannot be read with the rights that remain.
///
/// # Panics
/// If the process has more than one thread. The others would keep their rights.
pub fn confine(config: &Config, file: Option<&Path>) -> Result<Confinement, ConfinementError> {
    // Without /proc the threads cannot be counted.
    if let Ok(threads) = fs::read_dir("/proc/self/task") {
        assert_eq!(threads.count(), 1, "a thread was started too early");
    }
    confine_thread(config, file)
}

/// Gives up rights as [`confine`] does, but enters no sandbox. So what a start would refuse can be tried, and no
/// access log is created: directly in `/`, a log must exist to be granted.
///
/// # Errors
/// As for [`confine`].
///
/// # Panics
/// As [`confine`].
pub fn rehearse(config: &Config, file: Option<&Path>) -> Result<(), ConfinementError> {
    check(config)?;
    let config = Config {
        sandbox: SandboxMode::Off,
        ..config.clone()
    };
    confine(&config, file).map(drop)
}

/// Gives up the rights of the calling thread and of those that it will start, as [`confine`] does.
///
/// # Errors
/// As for [`confine`].
pub fn confine_thread(
    config: &Config,
    file: Option<&Path>,
) -> Result<Confinement, ConfinementError> {
    check(config)?;
    // Asked before the rights are given up: afterwards it may not even be looked up.
    let file = file.filter(|file| is_lasting_file(file));
    let unknown =
        |error: UnknownAccount| ConfinementError(format!("{}: {}", error.key, error.message));
    if let Some(account) = Account::of(config).map_err(unknown)? {
        account::assume(&account).map_err(|error| refused(config, &error))?;
    }
    let mut warnings = Vec::new();
    match &config.user {
        Some(user) => warn_of_lasting_sockets(config, user, &mut warnings),
        None if geteuid().is_root() => warnings.push(STAYS_ROOT.to_owned()),
        None => {}
    }
    set_no_new_privs(true)
        .map_err(|error| ConfinementError(format!("cannot set NO_NEW_PRIVS: {error}")))?;
    let grants = enter_sandbox(config, file, &mut warnings)?;
    if let Some(file) = file {
        confirm_readable(file, "a reload reads it")?;
    }
    for SiteConfig {
        certificate, key, ..
    } in config.sites()
    {
        let certificate = certificate
            .iter()
            .map(|file| (file, "a renewed certificate is read"));
        let key = key.iter().map(|file| (file, "a renewed key is read"));
        for (file, reading) in certificate.chain(key) {
            confirm_readable(file, reading)?;
        }
    }
    Ok(Confinement { warnings, grants })
}

/// Warns of the sockets that were bound before and whose files `user` cannot remove.
fn warn_of_lasting_sockets(config: &Config, user: &str, warnings: &mut Vec<String>) {
    for address in config.listen.iter().chain(&config.admin.listen) {
        let Endpoint::Unix(path) = &address.endpoint else {
            continue;
        };
        // A socket that was passed to the process belongs to another account, and is not ours to remove.
        let is_ours = fs::symlink_metadata(path)
            .map_or_else(is_denied, |found| found.uid() == geteuid().as_raw());
        if is_ours && socket_file::check_directory(path).is_err() {
            warnings.push(format!(
                "the user {user} may not remove the socket {} from its directory, so the file stays behind when \
                 the server ends, until the next start",
                path.display()
            ));
        }
    }
}

fn is_denied(error: io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// Enters the sandbox that `config` asks for. Returns its paths, if there is one.
fn enter_sandbox(
    config: &Config,
    file: Option<&Path>,
    warnings: &mut Vec<String>,
) -> Result<Option<Grants>, ConfinementError> {
    if config.sandbox == SandboxMode::Off {
        return Ok(None);
    }
    match sandbox::kernel_support() {
        KernelSupport::Nothing => {
            warnings.push(NO_LANDLOCK.to_owned());
            return Ok(None);
        }
        KernelSupport::Files => warnings.push(NO_CONNECTION_RULES.to_owned()),
        KernelSupport::Everything => {}
    }
    let grants = Grants::of(config, file);
    let entered = sandbox::enter(&grants);
    entered.map_err(|error| ConfinementError(format!("sandbox: {error}")))?;
    Ok(Some(grants))
}

/// The error of a process that may not change to the account of `config`.
fn refused(config: &Config, error: &account::AssumeError) -> ConfinementError {
    let (key, name) = match &config.user {
        Some(user) => ("user", user.as_str()),
        None => ("group", config.group.as_deref().unwrap_or_default()),
    };
    ConfinementError(format!(
        "{key}: cannot change to {name}: {error}; only root can, so start the server as root, or as {name}"
    ))
}

/// Opens `file` as it will be opened when the server runs. `reading` says when, without the rights.
fn confirm_readable(file: &Path, reading: &str) -> Result<(), ConfinementError> {
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let mut options = OpenOptions::new();
    let opened = options.read(true).custom_flags(nonblocking).open(file);
    opened.map(drop).map_err(|error| {
        ConfinementError(format!(
            "{}: {error}; {reading} with the rights of user and group, so these must suffice",
            file.display()
        ))
    })
}
