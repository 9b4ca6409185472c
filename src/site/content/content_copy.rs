//! Copying content into its final memory, in slices if it is large.

use std::sync::Arc;

use bytes::Bytes;

use super::representation::Content;
use crate::site::disk::MemfdBody;
use crate::site::waiting::Slice;

/// The number of bytes copied between two checks of the slice. They take a tenth of a millisecond, or a
/// millisecond if the kernel has to allocate the memory first.
const PART_BYTES: usize = 256 * 1024;

/// A copy of content into a [`MemfdBody`], in slices: many megabytes take longer than one slice.
#[derive(Debug)]
pub struct ContentCopy {
    content: Vec<u8>,
    /// `None` if the content stays on the heap.
    memfd_body: Option<MemfdBody>,
    /// The number of bytes copied so far.
    at: usize,
}

impl ContentCopy {
    /// Starts to copy `content`.
    #[must_use]
    pub fn new(content: Vec<u8>) -> ContentCopy {
        ContentCopy {
            memfd_body: MemfdBody::reserve(content.len()),
            content,
            at: 0,
        }
    }

    /// Copies until `slice` is over. `None` if the copy is unfinished then; at its end the content, once.
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
    use crate::site::waiting::{FIRST_SLICE_ASKS, FirstSlice, UnboundedSlice};

    #[test]
    fn a_large_copy_stops_when_its_slice_is_over() {
        let content: Vec<u8> = (0..5 * FIRST_SLICE_ASKS as usize * PART_BYTES + 1)
            .map(|at| (at % 251) as u8)
            .collect();
        let mut copy = ContentCopy::new(content.clone());
        let mut slices = 1;
        let kept = loop {
            match copy.go_on(&FirstSlice::new(Millis(0))) {
                Some(kept) => break kept,
                None => slices += 1,
            }
        };
        assert_eq!(slices, 6);
        let Content::MemfdBody(memfd_body) = kept else {
            panic!("{kept:?}")
        };
        assert!(memfd_body.read().expect("pread") == content);
        let small = ContentCopy::new(vec![7]).go_on(&UnboundedSlice(Millis(0)));
        assert!(matches!(small, Some(Content::Memory(bytes)) if *bytes == [7]));
    }
}
