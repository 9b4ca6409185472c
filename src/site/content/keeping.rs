//! Copying content to where it is kept, in slices if it is large.

use std::sync::Arc;

use bytes::Bytes;

use super::representation::Content;
use crate::site::disk::MemfdBody;
use crate::site::waiting::Slice;

/// How much is copied between two looks at a slice, in bytes: a tenth of a millisecond, or a whole one where
/// the kernel has to find the memory first.
const PART_BYTES: usize = 256 * 1024;

/// Content on its way into memory that is sent without a copy. Of many megabytes the copy takes longer than a slice.
#[derive(Debug)]
pub struct Keeping {
    content: Vec<u8>,
    /// `None` if it stays on the heap.
    memfd_body: Option<MemfdBody>,
    /// How much has been copied, in bytes.
    at: usize,
}

impl Keeping {
    /// Begins to keep `content`.
    #[must_use]
    pub fn new(content: Vec<u8>) -> Keeping {
        Keeping {
            memfd_body: MemfdBody::reserve(content.len()),
            content,
            at: 0,
        }
    }

    /// Goes on until `slice` is over: `None` if that comes first, then where the content is, once.
    pub fn go_on(&mut self, slice: &dyn Slice) -> Option<Content> {
        while let Some(memfd_body) = &self.memfd_body {
            let end = self.content.len().min(self.at + PART_BYTES);
            if memfd_body
                .write(&self.content[self.at..end], self.at)
                .is_err()
            {
                self.memfd_body = None;
                break;
            }
            self.at = end;
            if end == self.content.len() {
                break;
            }
            if slice.is_over() {
                return None;
            }
        }
        let content = std::mem::take(&mut self.content);
        Some(match self.memfd_body.take() {
            Some(memfd_body) => Content::MemfdBody(Arc::new(memfd_body)),
            None => Content::Memory(Bytes::from(content)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Millis;
    use crate::site::waiting::{FIRST_SLICE_ASKS, FirstSlice, WholeSlice};

    #[test]
    fn a_large_copy_stops_when_its_slice_is_over() {
        let content: Vec<u8> = (0..5 * FIRST_SLICE_ASKS as usize * PART_BYTES + 1)
            .map(|at| (at % 251) as u8)
            .collect();
        let mut keeping = Keeping::new(content.clone());
        let mut slices = 1;
        let kept = loop {
            match keeping.go_on(&FirstSlice::new(Millis(0))) {
                Some(kept) => break kept,
                None => slices += 1,
            }
        };
        assert_eq!(slices, 6);
        let Content::MemfdBody(memfd_body) = kept else {
            panic!("{kept:?}")
        };
        assert!(memfd_body.read().expect("pread") == content);
        let small = Keeping::new(vec![7]).go_on(&WholeSlice(Millis(0)));
        assert!(matches!(small, Some(Content::Memory(bytes)) if *bytes == [7]));
    }
}
