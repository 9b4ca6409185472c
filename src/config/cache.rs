//! `[cache]`: file bodies kept in memory.

/// The section `[cache]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Cache {
    /// Bytes of file bodies kept in memory; 0 to 2^40, where 0 turns the cache off.
    /// Default 268435456.
    pub bytes: u64,
    /// The largest file, in bytes, that is kept in memory; 0 to `bytes`, unless `bytes` is 0.
    /// Default 262144.
    pub file_bytes: u64,
    /// The largest file, in bytes, that is hashed for `etag = "content"`; 0 to 2^40. Default 1073741824.
    pub hash_bytes: u64,
    /// Seconds that a cached file is served before it is compared with the file system again; 0 to 3600,
    /// where 0 means that every request compares. Default 1.
    pub revalidate_secs: u32,
}

impl Default for Cache {
    fn default() -> Cache {
        Cache {
            bytes: 268_435_456,
            file_bytes: 262_144,
            hash_bytes: 1_073_741_824,
            revalidate_secs: 1,
        }
    }
}
