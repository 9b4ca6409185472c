//! The file of a unix socket: who may connect to it, and when it is removed.

use std::fs::{self, FileType};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access as Permission, AtFlags, CWD, Gid, Mode, Uid};
use rustix::process::geteuid;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::{Account, Config};

/// The bits of a file's mode that chmod(2) changes.
const MODE_BITS: u32 = 0o7777;

/// The permissions and the group of the file of a unix socket. They decide which users may connect to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Access {
    /// `None` leaves the file its group.
    group: Option<u32>,
    /// The permission bits.
    mode: u32,
}

impl Access {
    /// # Errors
    /// If the name of the group was not looked up.
    fn of_config(config: &Config) -> io::Result<Access> {
        let group = config.socket_group.as_ref().map(|group| {
            group.id().ok_or_else(|| {
                io::Error::other(format!("socket_group {group}: it was not looked up"))
            })
        });
        Ok(Access {
            group: group.transpose()?,
            mode: config.socket_mode.bits(),
        })
    }

    /// The access to the socket at `path`; `None` if no socket is there.
    fn of_file(path: &Path) -> Option<Access> {
        let metadata = fs::symlink_metadata(path).ok()?;
        metadata.file_type().is_socket().then(|| Access {
            group: Some(metadata.gid()),
            mode: metadata.mode() & MODE_BITS,
        })
    }

    /// Whether a file with the access `found` needs no change.
    fn is_met_by(self, found: Access) -> bool {
        self.mode == found.mode && (self.group.is_none() || self.group == found.group)
    }

    fn set(self, path: &Path) -> io::Result<()> {
        if let Some(group) = self.group {
            let changed = change_owner(path, None, Some(group));
            changed.map_err(|error| named(&format!("socket_group {group}"), &error))?;
        }
        // This follows a link. But whoever can put one in the place of the file can put a socket there as well.
        let changed = rustix::fs::chmod(path, Mode::from_raw_mode(self.mode));
        changed.map_err(|error| named(&format!("socket_mode {:04o}", self.mode), &error.into()))
    }
}

/// Gives the file of a new unix socket its group and its permissions, which the umask does not affect. If this
/// process is root and changes to another account later, the file gets the owner and the group of that account.
///
/// # Errors
/// If there is no such group, or this process may not give a file to it.
pub(super) fn set_up(path: &Path, config: &Config) -> io::Result<()> {
    Access::of_config(config)?.set(path)?;
    give_to_account(path, config);
    Ok(())
}

/// Gives the file at `path` to the account that the process changes to. Only its owner can change its permissions
/// at a reload, and remove it from a directory such as /tmp.
fn give_to_account(path: &Path, config: &Config) {
    if !geteuid().is_root() {
        return;
    }
    // A start refuses an unknown account. At a reload the names may be out of reach, but then the process has the
    // account already, and so has the file.
    let Ok(Some(account)) = Account::of(config) else {
        return;
    };
    let group = config.socket_group.is_none().then_some(account.gid);
    // Root may lack CAP_CHOWN in a container. The server can do without, but for reloads of `socket_mode`.
    if let Err(error) = change_owner(path, account.uid, group) {
        let path = path.display();
        log::warn!("the socket file {path} stays root's, and a reload cannot change it: {error}");
    }
}

/// Gives the files of unix sockets, which are in use, the group and the permissions of `config`, or changes none.
/// A path without a socket is left out: nobody can connect there.
///
/// # Errors
/// A sentence with the path that cannot be changed.
pub(super) fn change_access(paths: &[&Path], config: &Config) -> Result<(), String> {
    let wanted = Access::of_config(config).map_err(|error| error.to_string())?;
    let mut changed: Vec<(&Path, Access)> = Vec::new();
    for path in paths {
        let before = match Access::of_file(path) {
            Some(before) if !wanted.is_met_by(before) => before,
            Some(_) | None => continue,
        };
        // Listed before the attempt, which may fail after its first step.
        changed.push((path, before));
        if let Err(error) = wanted.set(path) {
            for (path, before) in &changed {
                if let Err(error) = before.set(path) {
                    log::warn!("{} has not its old access again: {error}", path.display());
                }
            }
            return Err(format!(
                "the access to unix:{} cannot change: {error}",
                path.display()
            ));
        }
    }
    Ok(())
}

fn change_owner(path: &Path, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
    let (owner, group) = (owner.map(Uid::from_raw), group.map(Gid::from_raw));
    let changed = rustix::fs::chownat(CWD, path, owner, group, AtFlags::SYMLINK_NOFOLLOW);
    Ok(changed?)
}

/// `error`, with `what` before it.
fn named(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Removes a socket file that a server left behind. If a server accepts on it the file stays, and binding
/// fails with "address in use".
///
/// # Errors
/// If a file of another kind is there. The error names the kind, and the file stays.
pub(super) fn remove_stale(path: &Path) -> io::Result<()> {
    if !is_socket(path)? {
        return Ok(());
    }
    // Non-blocking: a server whose accept queue is full must not hold up our start.
    let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

/// Whether a socket is at `path`.
///
/// # Errors
/// If a file of another kind is there. The error names the kind.
fn is_socket(path: &Path) -> io::Result<bool> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(false);
    };
    if !metadata.file_type().is_socket() {
        let complaint = format!("{} is there, and no socket", kind_of(metadata.file_type()));
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, complaint));
    }
    Ok(true)
}

/// Checks that a socket could be bound to `path` if no other server has it, and binds none.
///
/// # Errors
/// As for [`check_directory`], or if a file that is no socket is there.
pub(super) fn check(path: &Path) -> io::Result<()> {
    check_directory(path)?;
    is_socket(path).map(drop)
}

/// Checks that this process may make and remove a file at `path`.
///
/// # Errors
/// If the directory does not exist, or the process may not write in it.
pub(super) fn check_directory(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let rights = Permission::WRITE_OK | Permission::EXEC_OK;
    Ok(rustix::fs::access(directory, rights)?)
}

fn kind_of(file: FileType) -> &'static str {
    if file.is_dir() {
        "a directory"
    } else if file.is_symlink() {
        "a symbolic link"
    } else if file.is_fifo() {
        "a FIFO"
    } else if file.is_file() {
        "a regular file"
    } else {
        "a device"
    }
}

/// The file of a unix socket. Dropping this removes the file, unless another file has replaced it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// The socket that was just bound to `path`.
    ///
    /// # Errors
    /// As lstat(2), or if the working directory is gone.
    pub(super) fn of(path: &Path) -> io::Result<SocketFile> {
        let metadata = fs::symlink_metadata(path)?;
        // The working directory may change before the file is removed.
        let path = std::path::absolute(path)?;
        Ok(SocketFile {
            path,
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            log::warn!(
                "the socket file {} stays behind: {error}",
                self.path.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::listener::Listener;
    use super::*;
    use crate::config::{ListenAddress, SocketGroup};
    use crate::connection::peer::Peer;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    fn bind(path: &Path) -> io::Result<Listener> {
        Listener::bind(&ListenAddress::unix(path), &Config::default())
    }

    #[test]
    fn a_stale_unix_socket_is_replaced_and_ours_is_removed() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("abide.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bind"));
        assert!(path.exists(), "the standard library leaves the file behind");
        let listener = bind(&path).expect("replace");
        let error = bind(&path).expect_err("somebody accepts on it");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let _client = UnixStream::connect(&path).expect("connect");
        // A connection to a unix socket is in the queue when connect returns.
        assert_eq!(listener.accept().expect("accept").1, Peer::Unix);
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("precious");
        fs::write(&path, "data").expect("write");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).expect("a link");
        for (path, kind) in [
            (&path, "a regular file"),
            (&link, "a symbolic link"),
            (&directory.path().to_owned(), "a directory"),
        ] {
            let said = bind(path).expect_err("it is no socket").to_string();
            assert_eq!(said, format!("{kind} is there, and no socket"));
        }
        assert_eq!(fs::read_to_string(&path).expect("read"), "data");
    }

    #[test]
    fn the_file_of_a_unix_socket_has_the_permissions_and_the_group_that_are_set() {
        let place = tempfile::tempdir().expect("temporary directory");
        let address = ListenAddress::unix(place.path().join("abide.sock"));
        let bound = |config: &Config| {
            let listener = Listener::bind(&address, config)?;
            let metadata = fs::symlink_metadata(place.path().join("abide.sock"))?;
            drop(listener);
            io::Result::Ok((metadata.mode() & 0o7777, metadata.gid()))
        };
        let own = rustix::process::getegid().as_raw();
        assert_eq!(bound(&Config::default()).expect("bind"), (0o660, own));
        // No usual umask leaves the group and others the right to write.
        for (text, mode) in [("0666", 0o666), ("0622", 0o622), ("0000", 0)] {
            let config = Config {
                socket_mode: text.parse().expect("mode"),
                ..Config::default()
            };
            assert_eq!(bound(&config).expect("bind"), (mode, own));
        }
        // Only root may give a file to a group that it is not in.
        let config = Config {
            socket_group: Some(SocketGroup::Numbered(4711)),
            ..Config::default()
        };
        if rustix::process::geteuid().is_root() {
            assert_eq!(bound(&config).expect("bind"), (0o660, 4711));
        } else {
            let error = bound(&config).expect_err("not permitted");
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert!(
                error.to_string().starts_with("socket_group 4711: "),
                "{error}"
            );
        }
        assert!(!place.path().join("abide.sock").exists());
    }

    /// Only root can make files of two owners.
    #[test]
    fn the_access_to_all_files_changes_or_to_none() {
        if !geteuid().is_root() {
            return;
        }
        let place = tempfile::tempdir().expect("temporary directory");
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        let paths = ["own.sock", "other.sock"].map(|name| place.path().join(name));
        let [own, other] = paths.each_ref().map(PathBuf::as_path);
        let _sockets = [own, other].map(|path| bind(path).expect("bind"));
        change_owner(own, Some(61_000), Some(61_001)).expect("chown");
        let config = Config {
            socket_mode: "0666".parse().expect("mode"),
            ..Config::default()
        };
        let missing = place.path().join("missing.sock");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let user = Uid::from_raw(61_000);
                rustix::thread::set_thread_res_uid(user, user, user).expect("root may");
                let error = change_access(&[own, other], &config).expect_err("it is root's");
                assert!(error.contains("other.sock cannot change: socket_mode 0666: "));
                assert_eq!(Access::of_file(own).expect("a socket").mode, 0o660);
                change_access(&[own, &missing], &config).expect("its own");
                assert_eq!(Access::of_file(own).expect("a socket").mode, 0o666);
                change_access(&[other], &Config::default()).expect("nothing to change");
            });
        });
    }
}
