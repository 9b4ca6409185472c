//! Opening the file that a path stands for.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;

use super::names::{Name, is_itself, slash_form};
use super::opening::Lookup;
use crate::site::disk::{OpenError, RootDirectory, SearchRoot};
use crate::site::memory::Absence;

impl Lookup {
    /// Where names below `directory` are looked up.
    pub(super) fn search_root<'d>(&'d self, directory: &'d RootDirectory) -> SearchRoot<'d> {
        SearchRoot {
            root: directory.fd.as_fd(),
            resolver: &self.resolver,
        }
    }

    /// Opens the regular file that `path` stands for; returns its name below the root too.
    pub(super) fn open_file<'p>(
        &self,
        directory: &RootDirectory,
        path: &'p [u8],
    ) -> Result<(File, Name<'p>), Absence> {
        let mut is_directory = false;
        for name in self.names(path) {
            match self.open_regular(directory, &name) {
                Ok(file) => return Ok((file, name)),
                // Neither an index.html nor a page that is itself a directory is of any use.
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

    /// Why the directory at `path`, which lacks the slash, has no file: a route of an application, which may
    /// have that name, does not lead to a slash form that shows nothing.
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

    /// Whether it matters, for a path that lacks the slash of a directory, what is in there.
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

/// Why a file is not there that could not be read.
pub(super) fn absence_of(error: io::Error) -> Absence {
    let errno = match error.raw_os_error() {
        Some(code) => Errno::from_raw_os_error(code),
        // The standard library found it out before the kernel did.
        None if error.kind() == io::ErrorKind::OutOfMemory => Errno::NOMEM,
        None => Errno::IO,
    };
    Absence::Open(OpenError::from(errno))
}
