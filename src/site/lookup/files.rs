//! Opening the file that a path names.

use std::io;

use rustix::io::Errno;

use super::names::{is_itself, slash_form};
use super::opening::Lookup;
use crate::site::disk::{Name, OpenError, OpenedFile, ProbeScope, RootDirectory, SearchRoot};
use crate::site::memory::Absence;

impl Lookup {
    /// A lookup in `directory`, which may wait for any disk.
    pub(super) fn search_root<'d>(&'d self, directory: &'d RootDirectory) -> SearchRoot<'d> {
        SearchRoot::new(directory, &self.resolver, ProbeScope::Anywhere)
    }

    /// Opens the regular file that `path` names. Also returns its name below the root.
    pub(super) fn open_file<'p>(
        &self,
        search_root: &SearchRoot<'_>,
        path: &'p [u8],
    ) -> Result<(OpenedFile, Name<'p>), Absence> {
        let mut is_directory = false;
        for name in self.names(path) {
            match open_regular(search_root, &name) {
                Ok(file) => return Ok((file, name)),
                // A directory named like an index or a page is ignored.
                Err(Absence::IsDirectory) => is_directory |= is_itself(&name, path),
                Err(Absence::Open(OpenError::NotFound)) => {}
                Err(absence) => return Err(absence),
            }
        }
        Err(if is_directory {
            self.within(search_root, path)
        } else {
            Absence::Open(OpenError::NotFound)
        })
    }

    /// The absence for the directory at `path`, which lacks the trailing slash. If the slash form shows
    /// nothing, no redirect may lead there: an application may have a route of that name.
    fn within(&self, search_root: &SearchRoot<'_>, path: &[u8]) -> Absence {
        if !self.looks_into_directories() {
            return Absence::IsDirectory;
        }
        let slash_form = slash_form(path);
        match self.open_file(search_root, &slash_form) {
            Err(absence @ Absence::Open(OpenError::NotFound))
                if !self.has_only_sidecars(search_root, &slash_form, absence) =>
            {
                absence
            }
            Err(absence) if !absence.is_lasting() => absence,
            Ok(_) | Err(_) => Absence::IsDirectory,
        }
    }

    /// Whether the content of a directory decides if a path without the trailing slash is redirected.
    pub(super) fn looks_into_directories(&self) -> bool {
        self.has_applications && !self.lists
    }
}

fn open_regular(search_root: &SearchRoot<'_>, name: &[u8]) -> Result<OpenedFile, Absence> {
    let opened = search_root.open(name).map_err(Absence::Open)?;
    if opened.file_type.is_file() {
        Ok(opened)
    } else if opened.file_type.is_dir() {
        Err(Absence::IsDirectory)
    } else {
        Err(Absence::IsSpecial)
    }
}

/// The absence for a file that could not be read.
pub(super) fn absence_of(error: io::Error) -> Absence {
    let errno = match error.raw_os_error() {
        Some(code) => Errno::from_raw_os_error(code),
        // The standard library could not allocate, and made no system call.
        None if error.kind() == io::ErrorKind::OutOfMemory => Errno::NOMEM,
        None => Errno::IO,
    };
    Absence::Open(OpenError::from(errno))
}
