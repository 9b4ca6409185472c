//! Calls of the C library that have no safe wrapper: the only `unsafe` code of the crate.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

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

/// The number of bytes in the send queue that the peer has not acknowledged; a FIN counts as one. On a
/// unix socket: bytes that the peer has not read, with the kernel's own overhead.
///
/// # Errors
/// As ioctl(2).
pub fn unacknowledged(socket: BorrowedFd<'_>) -> io::Result<u64> {
    // SAFETY: TIOCOUTQ takes a pointer to a C int and writes exactly one to it (tcp(7), unix(7)),
    // which is what Getter<_, c_int> provides.
    let request = unsafe { Getter::<TIOCOUTQ, c_int>::new() };
    // SAFETY: `socket` is open for as long as it is borrowed, and `request` matches the opcode.
    let bytes = unsafe { ioctl(socket, request) }?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// IP_MINTTL of ip(7), and IPV6_MINHOPCOUNT of linux/in6.h, each with its level.
const MINIMUM_TTL: [(c_int, c_int); 2] = [(0, 21), (41, 73)];

unsafe extern "C" {
    fn setsockopt(
        socket: c_int,
        level: c_int,
        name: c_int,
        value: *const c_void,
        len: u32,
    ) -> c_int;
}

/// Makes the kernel drop packets to the TCP `socket` whose TTL (IPv4) or hop limit (IPv6) is less than `ttl`. With
/// 0 it drops none.
///
/// # Errors
/// As setsockopt(2): in particular, if the socket is neither IPv4 nor IPv6.
pub fn set_minimum_ttl(socket: BorrowedFd<'_>, is_ipv6: bool, ttl: u8) -> io::Result<()> {
    let (level, name) = MINIMUM_TTL[usize::from(is_ipv6)];
    let value = c_int::from(ttl);
    // SAFETY: the kernel reads one C int, which is what `value` is and `len` says. `socket` is open for as long
    // as it is borrowed.
    let result = unsafe {
        let pointer: *const c_int = &raw const value;
        setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            pointer.cast(),
            size_of::<c_int>() as u32,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
unsafe extern "C" {
    fn malloc_trim(pad: usize) -> c_int;
}

/// Returns memory that is free but kept by the allocator to the system (malloc_trim(3)).
///
/// The call holds a lock of the allocator, so every thread that allocates meanwhile waits, even the event
/// loop. Measured on a heap of connections of which every fiftieth was left, it takes 2 to 6 ms after the
/// end of 100,000, and 120 to 140 ms after that of a million. Hence a worker makes the call, and only
/// when half of the connections have gone. Only glibc keeps so much that the call is worth it: a freed
/// connection lies between others that live, and glibc by itself returns only the end of its heap.
pub fn give_back_memory() {
    // SAFETY: malloc_trim has no preconditions and is safe to call from any thread (attributes in
    // malloc_trim(3)); no memory in use is touched.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        malloc_trim(0);
    }
}
