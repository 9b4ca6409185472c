//! The change to another user and group.
//!
//! rustix changes the credentials of the calling thread only, by the system call itself. The functions of the
//! C library change all threads of the process. Before a second thread exists there is no difference, and
//! rustix is safe code that the server uses anyway.

use std::fmt;

use rustix::io::Errno;
use rustix::process::{Gid, Uid, getegid, geteuid, getgid, getuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, set_capabilities,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::config::Account;

/// A change that the kernel refuses.
#[derive(Debug)]
pub struct AssumeError {
    what: &'static str,
    error: Errno,
}

impl fmt::Display for AssumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.error)
    }
}

/// Changes the calling thread to `account`: the supplementary groups, the group, the user. The real, effective
/// and saved numbers change, so that there is no way back. A user other than root keeps no capability.
///
/// A thread that has the user and group already keeps its supplementary groups if it may not set them.
///
/// # Errors
/// As setgroups(2), setresgid(2), setresuid(2), prctl(2) and capset(2).
pub fn assume(account: &Account) -> Result<(), AssumeError> {
    let failed = |what| move |error| AssumeError { what, error };
    let gid = Gid::from_raw(account.gid);
    let uid = account.uid.map(Uid::from_raw);
    if geteuid().is_root() || !has(uid, gid) {
        let groups: Vec<Gid> = account
            .groups
            .iter()
            .map(|gid| Gid::from_raw(*gid))
            .collect();
        set_thread_groups(&groups).map_err(failed("setgroups"))?;
    }
    set_thread_res_gid(gid, gid, gid).map_err(failed("setresgid"))?;
    if let Some(uid) = uid {
        set_thread_res_uid(uid, uid, uid).map_err(failed("setresuid"))?;
        if !uid.is_root() {
            drop_capabilities()?;
        }
    }
    Ok(())
}

/// Gives up all capabilities (capabilities(7)). A change from user 0 to another one takes them as well, except under
/// the secure bit "no setuid fixup". A service manager can start a program as any user with ambient ones.
fn drop_capabilities() -> Result<(), AssumeError> {
    let failed = |what| move |error| AssumeError { what, error };
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    clear_ambient_capability_set().map_err(failed("PR_CAP_AMBIENT_CLEAR_ALL"))?;
    set_capabilities(None, none).map_err(failed("capset"))
}

/// Whether the real and effective numbers of the thread are these.
fn has(uid: Option<Uid>, gid: Gid) -> bool {
    let has_user = uid.is_none_or(|uid| (getuid(), geteuid()) == (uid, uid));
    has_user && (getgid(), getegid()) == (gid, gid)
}
