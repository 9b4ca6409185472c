//! The file of a unix socket: who may connect to it, and when it is removed.

use std::fs::{self, FileType};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Mode};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::Config;

/// Gives the file of a unix socket its group and its permissions, which the umask does not affect.
///
/// # Errors
/// If there is no such group, or this process may not give a file to it.
pub(super) fn set_access(path: &Path, config: &Config) -> io::Result<()> {
    if let Some(group) = &config.socket_group {
        let id = group.id().ok_or_else(|| {
            io::Error::other(format!("socket_group {group}: it was not looked up"))
        })?;
        let id = Gid::from_raw(id);
        let changed = rustix::fs::chownat(CWD, path, None, Some(id), AtFlags::SYMLINK_NOFOLLOW);
        changed.map_err(|error| {
            let error = io::Error::from(error);
            io::Error::new(error.kind(), format!("socket_group {group}: {error}"))
        })?;
    }
    // This follows a link. But whoever can put one in the place of the file can put a socket there as well.
    let mode = Mode::from_raw_mode(config.socket_mode.bits());
    Ok(rustix::fs::chmod(path, mode)?)
}

/// Removes a socket file that a server left behind. If a server accepts on it the file stays, and binding
/// fails with "address in use".
///
/// # Errors
/// If a file of another kind is there. The error names the kind, and the file stays.
pub(super) fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        let complaint = format!("{} is there, and no socket", kind_of(metadata.file_type()));
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, complaint));
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
}
