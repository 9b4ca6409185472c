//! Names that are not in may_block because they lead beyond a mount point.

use std::os::fd::AsFd;

use super::names::slash_form;
use super::opening::Lookup;
use crate::http::accept_encoding::Coding;
use crate::site::content::sidecar;
use crate::site::disk::{Look, Range};
use crate::site::waiting::{MayBlock, WouldBlockOnDisk};

impl Lookup {
    /// To be asked before the file at `path` is opened.
    ///
    /// # Errors
    /// [`WouldBlockOnDisk`] if one of the names that loading it looks at leads beyond a mount point, and `may_block`
    /// does not.
    pub(super) fn expect_path_in_reach(
        &self,
        path: &[u8],
        may_block: MayBlock,
    ) -> Result<(), WouldBlockOnDisk> {
        if may_block != MayBlock::OnRoots {
            return Ok(());
        }
        // As `open_file` tries them.
        for name in self.names(path) {
            let is_file = self.expect_in_reach(&name, may_block)?;
            self.expect_forms_in_reach(&name, may_block)?;
            if is_file {
                return Ok(());
            }
        }
        if self.looks_into_directories() {
            for name in self.names(&slash_form(path)) {
                self.expect_in_reach(&name, may_block)?;
                self.expect_forms_in_reach(&name, may_block)?;
            }
        }
        Ok(())
    }

    /// The same question about the forms beside the file `name`, as far as they are looked for.
    fn expect_forms_in_reach(
        &self,
        name: &[u8],
        may_block: MayBlock,
    ) -> Result<(), WouldBlockOnDisk> {
        if self.evidence.is_some() {
            let forms = Coding::COMPRESSED.into_iter();
            for form in forms.filter_map(|coding| sidecar(name, coding)) {
                self.expect_in_reach(&form, may_block)?;
            }
        }
        Ok(())
    }

    /// To be asked before the file `name` below the root is opened. Whether there is one, if `may_block` is
    /// bounded.
    ///
    /// # Errors
    /// [`WouldBlockOnDisk`] if it leads beyond a mount point, and `may_block` does not.
    pub(super) fn expect_in_reach(
        &self,
        name: &[u8],
        may_block: MayBlock,
    ) -> Result<bool, WouldBlockOnDisk> {
        if may_block != MayBlock::OnRoots {
            return Ok(false);
        }
        let directory = self.root.directory();
        let look = Look::new(directory.fd.as_fd(), Range::WithinMount);
        let is_file = look.is_file(name);
        if look.met_mount() {
            return Err(WouldBlockOnDisk);
        }
        Ok(is_file)
    }
}
