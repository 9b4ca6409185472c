//! Checks that a load stays on the file system of the root, for threads that may block only there.

use std::ops::Deref;
use std::os::fd::AsFd;

use rustix::fs::FileType;

use super::names::{is_itself, slash_form};
use super::opening::Lookup;
use crate::http::accept_encoding::Coding;
use crate::site::content::sidecar_path;
use crate::site::disk::{OpenError, PathProbe, ProbeScope};
use crate::site::memory::Absence;
use crate::site::waiting::{MayBlock, WouldBlockOnDisk};

/// The absence of a file that a sidecar may replace.
const NOT_FOUND: Absence = Absence::Open(OpenError::NotFound);

impl Lookup {
    /// Checks the file at `path` before it is opened.
    ///
    /// # Errors
    /// [`WouldBlockOnDisk`] if loading it would probe a name beyond a mount point, and `may_block`
    /// excludes that.
    pub(super) fn check_path_scope(
        &self,
        path: &[u8],
        may_block: MayBlock,
    ) -> Result<(), WouldBlockOnDisk> {
        if may_block != MayBlock::OnRoots {
            return Ok(());
        }
        let directory = self.root.directory();
        let probe = PathProbe::new(directory.fd.as_fd(), ProbeScope::WithinMount);
        let variants = self.sidecar_only_names(path, NOT_FOUND);
        let _ = self.probe_load(path, variants, &probe);
        if probe.met_mount() {
            return Err(WouldBlockOnDisk);
        }
        Ok(())
    }

    /// Probes every name that a load of `path` looks up, in the order of `open_file`. `variants` are the names
    /// of the sidecars that would answer a path without a file. Returns whether the path has such sidecars
    /// and no file.
    pub(super) fn probe_load(
        &self,
        path: &[u8],
        variants: impl Iterator<Item: Deref<Target = [u8]>>,
        probe: &PathProbe<'_>,
    ) -> bool {
        let mut is_directory = false;
        for name in self.names(path) {
            let file_type = probe.file_type(&name);
            if file_type.is_some_and(FileType::is_file) {
                if self.sidecar_verification.is_some() {
                    let codings = Coding::COMPRESSED.into_iter();
                    probe_all(
                        probe,
                        codings.filter_map(|coding| sidecar_path(&name, coding)),
                    );
                }
                return false;
            }
            is_directory |= file_type.is_some_and(FileType::is_dir) && is_itself(&name, path);
        }
        if is_directory && self.looks_into_directories() {
            let path = slash_form(path);
            probe_all(probe, self.names(&path));
            probe_all(probe, self.sidecar_only_names(&path, NOT_FOUND));
        }
        probe_all(probe, variants)
    }

    /// Checks the file `name` below the root before it is opened. Returns whether it exists, if
    /// `may_block` is [`MayBlock::OnRoots`], and else false.
    ///
    /// # Errors
    /// [`WouldBlockOnDisk`] if the name leads beyond a mount point, and `may_block` excludes that.
    pub(super) fn check_scope(
        &self,
        name: &[u8],
        may_block: MayBlock,
    ) -> Result<bool, WouldBlockOnDisk> {
        if may_block != MayBlock::OnRoots {
            return Ok(false);
        }
        let directory = self.root.directory();
        let probe = PathProbe::new(directory.fd.as_fd(), ProbeScope::WithinMount);
        let is_file = probe.is_file(name);
        if probe.met_mount() {
            return Err(WouldBlockOnDisk);
        }
        Ok(is_file)
    }
}

/// Probes all `names`, so that no mount point is missed. Returns whether one exists.
fn probe_all(probe: &PathProbe<'_>, names: impl Iterator<Item: Deref<Target = [u8]>>) -> bool {
    let mut is_any = false;
    for name in names {
        is_any |= probe.identity(&name).is_some();
    }
    is_any
}
