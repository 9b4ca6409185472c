//! Where a scan stops, and where it goes on.

use crate::http::fields::FieldSpan;
use crate::http::reject::Reject;

/// Why the scan ended before the head did.
pub(super) enum Halt {
    /// The bytes ran out. The scanner knows where the scan goes on when more have come.
    Starved,
    /// A byte stands where it must not.
    Refused(Reject),
}

/// Where a scan that ran out of bytes goes on. All that stands before this place is known to be valid
/// and is not looked at again, but for short parts of a bounded length: what comes before the target,
/// and the version. Offsets in bytes from the start of the head, below 2^32 as `limit` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ScanPlace {
    /// The start of the head. The target has not begun.
    #[default]
    Start,
    /// In the target; all bytes before `at` belong to it.
    Target { line: u32, target: u32, at: u32 },
    /// Behind the target, in the rest of the request line.
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

impl ScanPlace {
    /// The first byte that the scan looks at.
    pub(super) fn position(self) -> usize {
        let at = match self {
            ScanPlace::Start => 0,
            // The space that ends the target has been seen.
            ScanPlace::Version { end, .. } => end + 1,
            ScanPlace::Target { at, .. }
            | ScanPlace::Line { at }
            | ScanPlace::Name { at, .. }
            | ScanPlace::Space { at, .. } => at,
            ScanPlace::Value(span) => span.value_end,
        };
        at as usize
    }
}

#[cfg(test)]
thread_local! {
    /// How many bytes the scanners of this thread have looked at.
    pub(super) static LOOKED_AT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Takes note, in tests, that the scan has looked at `count` bytes.
#[inline(always)]
pub(super) fn note_looked_at(count: usize) {
    #[cfg(test)]
    LOOKED_AT.set(LOOKED_AT.get() + count);
    #[cfg(not(test))]
    let _ = count;
}

impl From<Reject> for Halt {
    fn from(reject: Reject) -> Halt {
        Halt::Refused(reject)
    }
}
