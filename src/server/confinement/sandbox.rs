//! The sandbox: a Landlock domain (landlock(7)), which no thread can leave or widen.
//!
//! | right                                    | where                                              |
//! |------------------------------------------|----------------------------------------------------|
//! | to read files and directories            | [`Right::Read`]                                    |
//! | to create and write files                | [`Right::WriteLog`]                                |
//! | to make sockets and remove files         | [`Right::HoldSocket`]                              |
//! | to change the file system in other ways  | nowhere                                            |
//! | to execute a file                        | nowhere                                            |
//! | to connect to a TCP port                 | none, as of Linux 6.7                              |
//! | to send commands to a device (ioctl)     | those opened before, as of Linux 6.10              |
//!
//! Not restricted: descriptors that are open already, looking up and examining paths without opening files,
//! binding ports, and unix sockets (as of sd_notify(3)).

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, make_bitflags,
};

use super::grants::{Grants, Right};

/// The version whose rights over files are restricted, as far as the kernel knows them: Linux 6.10. A later
/// version must not be used untested: version 9 also restricts connections to unix sockets.
const FILE_RIGHTS: ABI = ABI::V5;

/// The part of Landlock that a kernel offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelSupport {
    /// Nothing: it has no Landlock, or Landlock is turned off.
    Nothing,
    /// Files only: before Linux 6.7.
    Files,
    /// Files and TCP connections.
    Everything,
}

/// Asks this kernel which part of Landlock it offers.
#[must_use]
pub fn kernel_support() -> KernelSupport {
    // The crate asks the kernel for its version when a ruleset is begun.
    let strict = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    if strict().handle_access(AccessNet::ConnectTcp).is_ok() {
        KernelSupport::Everything
    } else if strict().handle_access(AccessFs::from_all(ABI::V1)).is_ok() {
        KernelSupport::Files
    } else {
        KernelSupport::Nothing
    }
}

/// Restricts the calling thread, and those that it will start, to `grants`. Sets NO_NEW_PRIVS.
///
/// Rights that the kernel does not know remain.
///
/// # Errors
/// As landlock_add_rule(2) and landlock_restrict_self(2).
pub fn enter(grants: &Grants) -> Result<(), RulesetError> {
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(FILE_RIGHTS))?
        .handle_access(AccessNet::ConnectTcp)?
        .create()?;
    for grant in grants.iter() {
        let mut access = access_for(grant.right);
        if !grant.is_directory {
            access &= AccessFs::from_file(FILE_RIGHTS);
        }
        ruleset = ruleset.add_rule(PathBeneath::new(&grant.fd, access))?;
    }
    ruleset.restrict_self()?;
    Ok(())
}

fn access_for(right: Right) -> BitFlags<AccessFs> {
    match right {
        Right::Read => make_bitflags!(AccessFs::{ReadFile | ReadDir}),
        Right::WriteLog => make_bitflags!(AccessFs::{WriteFile | MakeReg}),
        Right::HoldSocket => make_bitflags!(AccessFs::{MakeSock | RemoveFile}),
    }
}
