//! Checks that a load stays on the file system of the root, for threads that may block only there.

use std::os::fd::AsFd;

use super::names::slash_form;
use super::opening::Lookup;
use crate::http::accept_encoding::Coding;
use crate::site::content::sidecar_path;
use crate::site::disk::{PathProbe, ProbeScope};
use crate::site::waiting::{MayBlock, WouldBlockOnDisk};

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
        // In the order of `open_file`.
        for name in self.names(path) {
            let is_file = self.check_scope(&name, may_block)?;
            self.check_sidecars_scope(&name, may_block)?;
            if is_file {
                return Ok(());
            }
        }
        if self.looks_into_directories() {
            for name in self.names(&slash_form(path)) {
                self.check_scope(&name, may_block)?;
                self.check_sidecars_scope(&name, may_block)?;
            }
        }
        Ok(())
    }

    /// Checks the sidecars of the file `name`, if the site uses sidecars.
    fn check_sidecars_scope(
        &self,
        name: &[u8],
        may_block: MayBlock,
    ) -> Result<(), WouldBlockOnDisk> {
        if self.sidecar_verification.is_some() {
            let codings = Coding::COMPRESSED.into_iter();
            for name in codings.filter_map(|coding| sidecar_path(name, coding)) {
                self.check_scope(&name, may_block)?;
            }
        }
        Ok(())
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
