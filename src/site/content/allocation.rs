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

/// The memory of an [`Arc`](std::sync::Arc) of `T`, which has two counts besides its value, in bytes.
#[must_use]
pub fn arc_allocation<T>() -> u64 {
    allocation(2 * size_of::<usize>() + size_of::<T>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_is_rounded_up() {
        let sizes = [0, 1, 24, 25, 1_000].map(allocation);
        assert_eq!(sizes, [0, 32, 32, 48, 1_008]);
        assert_eq!(arc_allocation::<[u8; 9]>(), 48);
    }
}
