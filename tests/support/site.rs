//! A temporary directory to serve.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{CWD, FileType, Mode};
use tempfile::TempDir;

/// A directory whose `www` is served, with room for other files beside it. Drop removes it.
pub struct Site {
    place: TempDir,
}

/// A temporary directory that every user can read, so that a server can change to another one.
pub fn public_directory() -> TempDir {
    let mut builder = tempfile::Builder::new();
    let public = builder.permissions(Permissions::from_mode(0o755));
    public.tempdir().expect("a temporary directory")
}

impl Site {
    /// A site of two pages, `index.html` and `page.html`.
    pub fn new() -> Site {
        let site = Site::empty();
        site.write("index.html", "<!doctype html><title>home</title>\n");
        site.write("page.html", "<!doctype html><title>page</title>\n");
        site
    }

    pub fn empty() -> Site {
        let place = public_directory();
        fs::create_dir(place.path().join("www")).expect("www");
        Site { place }
    }

    pub fn root(&self) -> PathBuf {
        self.place.path().join("www")
    }

    /// A path beside the root, which is not served.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Writes a file below the root, and creates its directories.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(path, content).expect("a file of the site");
    }

    /// Sets the modification time of `name`.
    pub fn date(&self, name: &str, modified: SystemTime) {
        let file = fs::File::options().write(true).open(self.path(name));
        file.and_then(|file| file.set_modified(modified))
            .expect("utimes");
    }

    /// Replaces `name` by another file atomically, as a careful deployment does.
    pub fn replace(&self, name: &str, content: impl AsRef<[u8]>) {
        let next = self.beside("next");
        fs::write(&next, content).expect("the next version");
        fs::rename(next, self.path(name)).expect("rename");
    }

    /// A file of `len` zero bytes that takes no room on the disk.
    pub fn sparse(&self, name: &str, len: u64) {
        let file = fs::File::create(self.path(name)).expect("a file of the site");
        file.set_len(len).expect("set_len");
    }

    pub fn directory(&self, name: &str) {
        fs::create_dir_all(self.path(name)).expect("a directory of the site");
    }

    /// A symbolic link `name` with the text `target`.
    pub fn link(&self, target: impl AsRef<Path>, name: &str) {
        std::os::unix::fs::symlink(target, self.path(name)).expect("a symbolic link");
    }

    pub fn fifo(&self, name: &str) {
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(CWD, self.path(name), FileType::Fifo, mode, 0).expect("a FIFO");
    }
}

/// `len` bytes that do not repeat soon, so that missing or exchanged bytes are noticed.
pub fn pattern(len: usize) -> Vec<u8> {
    let word = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    (0..).flat_map(word).take(len).collect()
}
