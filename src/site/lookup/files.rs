//! Opening the file that a path names.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;

use super::names::{Name, is_itself, slash_form};
use super::opening::Lookup;
use crate::site::disk::{OpenError, RootDirectory, SearchRoot};
use crate::site::memory::Absence;

impl Lookup {
    /// The directory in which names are opened, with its resolver.
    pub(super) fn search_root<'d>(&'d self, directory: &'d RootDirectory) -> SearchRoot<'d> {
        SearchRoot {
            root: directory.fd.as_fd(),
            resolver: &self.resolver,
        }
    }

    /// Opens the regular file that `path` names. Also returns its name below the root.
    pub(super) fn open_file<'p>(
        &self,
        directory: &RootDirectory,
        path: &'p [u8],
    ) -> Result<(File, Name<'p>), Absence> {
        let mut is_directory = false;
        for name in self.names(path) {
            match self.open_regular(directory, &name) {
                Ok(file) => return Ok((file, name)),
                // A directory named like an index or a page is ignored.
                Err(Absence::IsDirectory) => is_directory |= is_itself(&name, path),
                Err(Absence::Open(OpenError::NotFound)) => {}
                Err(absence) => return Err(absence),
            }
        }
        Err(if is_directory {
            self.within(directory, path)
        } else {
            Absence::Open(OpenError::NotFound)
        })
    }

    /// The absence for the directory at `path`, which lacks the trailing slash. If the slash form shows
    /// nothing, no redirect may lead there: an application may have a route of that name.
    fn within(&self, directory: &RootDirectory, path: &[u8]) -> Absence {
        if !self.looks_into_directories() {
            return Absence::IsDirectory;
        }
        let slash_form = slash_form(path);
        match self.open_file(directory, &slash_form) {
            Err(absence @ Absence::Open(OpenError::NotFound))
                if !self.has_only_sidecars(directory, &slash_form, absence) =>
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

    fn open_regular(&self, directory: &RootDirectory, name: &[u8]) -> Result<File, Absence> {
        let file = self
            .resolver
            .open(directory.fd.as_fd(), name)
            .map_err(Absence::Open)?;
        let kind = file.metadata().map_err(absence_of)?.file_type();
        if kind.is_file() {
            Ok(file)
        } else if kind.is_dir() {
            Err(Absence::IsDirectory)
        } else {
            Err(Absence::IsSpecial)
        }
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
