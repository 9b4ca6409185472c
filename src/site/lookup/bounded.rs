//! Names that are not in reach because they lead beyond a mount point.

use std::os::fd::AsFd;

use super::names::slash_form;
use super::opening::Lookup;
use crate::http::accept_encoding::Coding;
use crate::site::content::sibling;
use crate::site::disk::{Look, Range};
use crate::site::waiting::{OutOfReach, Reach};

impl Lookup {
    /// To be asked before the file at `path` is opened.
    ///
    /// # Errors
    /// [`OutOfReach`] if one of the names that loading it looks at leads beyond a mount point, and `reach`
    /// does not.
    pub(super) fn expect_path_in_reach(&self, path: &[u8], reach: Reach) -> Result<(), OutOfReach> {
        if reach != Reach::Roots {
            return Ok(());
        }
        // As `open_file` tries them.
        for name in self.names(path) {
            let is_file = self.expect_in_reach(&name, reach)?;
            self.expect_forms_in_reach(&name, reach)?;
            if is_file {
                return Ok(());
            }
        }
        if self.looks_into_directories() {
            for name in self.names(&slash_form(path)) {
                self.expect_in_reach(&name, reach)?;
                self.expect_forms_in_reach(&name, reach)?;
            }
        }
        Ok(())
    }

    /// The same question about the forms beside the file `name`, as far as they are looked for.
    fn expect_forms_in_reach(&self, name: &[u8], reach: Reach) -> Result<(), OutOfReach> {
        if self.evidence.is_some() {
            let forms = Coding::COMPRESSED.into_iter();
            for form in forms.filter_map(|coding| sibling(name, coding)) {
                self.expect_in_reach(&form, reach)?;
            }
        }
        Ok(())
    }

    /// To be asked before the file `name` below the root is opened. Whether there is one, if `reach` is
    /// bounded.
    ///
    /// # Errors
    /// [`OutOfReach`] if it leads beyond a mount point, and `reach` does not.
    pub(super) fn expect_in_reach(&self, name: &[u8], reach: Reach) -> Result<bool, OutOfReach> {
        if reach != Reach::Roots {
            return Ok(false);
        }
        let directory = self.root.directory();
        let look = Look::new(directory.fd.as_fd(), Range::WithinMount);
        let is_file = look.is_file(name);
        if look.met_mount() {
            return Err(OutOfReach);
        }
        Ok(is_file)
    }
}
