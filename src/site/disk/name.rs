//! Names below a root that are made of two parts.

use std::ops::Deref;

/// The longest joined name that is stored without an allocation, in bytes. Each load and each revalidation
/// joins names.
const SHORT_BYTES: usize = 192;

/// A name: a part of a path, or two parts joined.
#[derive(Debug, Clone)]
pub enum Name<'p> {
    /// A part of a path.
    Part(&'p [u8]),
    /// A joined name that is short.
    Short {
        /// The name, and unused bytes.
        bytes: [u8; SHORT_BYTES],
        /// The length of the name.
        len: usize,
    },
    /// A joined name that is long.
    Long(Vec<u8>),
}

impl Name<'_> {
    /// The name `start` followed by `end`.
    #[must_use]
    pub fn joined(start: &[u8], end: &[u8]) -> Name<'static> {
        let len = start.len() + end.len();
        let mut bytes = [0; SHORT_BYTES];
        let Some(room) = bytes.get_mut(..len) else {
            return Name::Long([start, end].concat());
        };
        let (first, second) = room.split_at_mut(start.len());
        first.copy_from_slice(start);
        second.copy_from_slice(end);
        Name::Short { bytes, len }
    }
}

impl Deref for Name<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Name::Part(name) => name,
            Name::Short { bytes, len } => &bytes[..*len],
            Name::Long(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joined_name_is_whole_whatever_its_length() {
        for len in [
            0,
            1,
            SHORT_BYTES - 6,
            SHORT_BYTES - 5,
            SHORT_BYTES - 4,
            5_000,
        ] {
            let start = vec![b'x'; len];
            let name = Name::joined(&start, b".html");
            assert_eq!(*name, [&start, &b".html"[..]].concat());
            let is_long = matches!(name, Name::Long(_));
            assert_eq!(is_long, len + 5 > SHORT_BYTES, "{len}");
        }
    }
}
