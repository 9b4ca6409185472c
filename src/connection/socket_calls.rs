//! Socket calls that have no safe wrapper: the only `unsafe` code of the crate.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::BorrowedFd;

use rustix::ioctl::{Getter, Opcode, ioctl};

/// TIOCOUTQ of Linux's generic ABI; tcp(7) calls it SIOCOUTQ. rustix does not export it.
#[cfg(not(any(
    target_arch = "mips",
    target_arch = "mips64",
    target_arch = "powerpc",
    target_arch = "powerpc64",
    target_arch = "sparc64"
)))]
const TIOCOUTQ: Opcode = 0x5411;

/// The number of bytes in the send queue that the peer has not acknowledged, a FIN counting as one.
/// On a unix socket: bytes that the peer has not read, with the kernel's own overhead.
///
/// # Errors
/// As ioctl(2).
pub fn unacknowledged(socket: BorrowedFd<'_>) -> io::Result<u64> {
    // SAFETY: TIOCOUTQ takes a pointer to a C int and writes exactly one to it (tcp(7), unix(7)),
    // which is what Getter<_, c_int> provides.
    let request = unsafe { Getter::<TIOCOUTQ, std::ffi::c_int>::new() };
    // SAFETY: `socket` is open for as long as it is borrowed, and `request` matches the opcode.
    let bytes = unsafe { ioctl(socket, request) }?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}
