//! The state of a scan that has stopped, from which it can be resumed.

use crate::http::fields::FieldSpan;
use crate::http::reject::Reject;

/// The reason why the scan ended before the head.
pub(super) enum ScanStop {
    /// The bytes ran out. The scanner knows the state to resume from.
    NeedMore,
    /// A byte is not allowed in its place.
    Refused(Reject),
}

/// The state of a scan that ran out of bytes. All bytes before it are valid. They are not scanned again,
/// except short parts of bounded length: the bytes before the target, and the version. Offsets are in bytes
/// from the start of the head, below 2^32 as the limit of a head is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ScanState {
    /// The start of the head. The target has not begun.
    #[default]
    Start,
    /// In the target; all bytes before `at` belong to it.
    Target { line: u32, target: u32, at: u32 },
    /// After the target, in the rest of the request line.
    Version { line: u32, target: u32, end: u32 },
    /// Before a field line, or before the empty line.
    Line { at: u32 },
    /// In the name of a field; all bytes before `at` belong to it.
    Name { start: u32, at: u32 },
    /// In the whitespace between the colon and the value.
    Space { start: u32, name_end: u32, at: u32 },
    /// In the value of a field; all bytes before the span's end belong to it.
    Value(FieldSpan),
}

impl ScanState {
    /// The position of the first byte to scan.
    pub(super) fn position(self) -> usize {
        let at = match self {
            ScanState::Start => 0,
            // The space that ends the target was scanned before.
            ScanState::Version { end, .. } => end + 1,
            ScanState::Target { at, .. }
            | ScanState::Line { at }
            | ScanState::Name { at, .. }
            | ScanState::Space { at, .. } => at,
            ScanState::Value(span) => span.value_end,
        };
        at as usize
    }
}

#[cfg(test)]
thread_local! {
    /// The number of bytes that the scanners of this thread have scanned.
    pub(super) static BYTES_SCANNED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Counts, in tests, `count` bytes as scanned.
#[inline(always)]
pub(super) fn note_scanned(count: usize) {
    #[cfg(test)]
    BYTES_SCANNED.set(BYTES_SCANNED.get() + count);
    #[cfg(not(test))]
    let _ = count;
}

impl From<Reject> for ScanStop {
    fn from(reject: Reject) -> ScanStop {
        ScanStop::Refused(reject)
    }
}
