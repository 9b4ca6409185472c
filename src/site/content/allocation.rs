//! The memory that an allocation takes.

/// The size of the header that an allocator keeps with each allocation, in bytes.
const HEADER_BYTES: usize = 8;

/// Allocations have a multiple of this size, in bytes.
const STEP_BYTES: usize = 16;

/// The smallest allocation, in bytes.
const MIN_BYTES: usize = 32;

/// The memory that the allocators of glibc and musl take for `len` bytes, in bytes. An empty vector allocates
/// nothing.
#[must_use]
pub fn allocation(len: usize) -> u64 {
    match len {
        0 => 0,
        len => (len + HEADER_BYTES)
            .next_multiple_of(STEP_BYTES)
            .max(MIN_BYTES) as u64,
    }
}
