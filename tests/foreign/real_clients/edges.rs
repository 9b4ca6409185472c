//! The pauses for clients whose own idle limit does not depend on the hint.

use std::thread;

use super::trial::{Report, T_SECS};

/// Below T, in milliseconds: here no client may lose a request, whatever its limit is.
pub const WITHIN_T: [u64; 4] = [500, 2000, 2800, 2950];

/// Around T, and in small steps around the close at T + grace, which the timer wheel rounds up.
pub const AROUND_THE_CLOSE: [u64; 20] = [
    2000, 2900, 3000, 3100, 4900, 4980, 5000, 5020, 5040, 5050, 5060, 5070, 5080, 5090, 5100, 5110,
    5120, 5140, 5160, 5200,
];

/// Tries a client with its own idle limit (`None`) within T, and around the close, where its losses are
/// only printed. Then it tries T as the limit around the close, so that the client honours the hint.
pub fn assert_nothing_lost_within_t(client: impl Fn(Option<u64>, &[u64]) -> Report + Sync) {
    thread::scope(|scope| {
        scope.spawn(|| assert_kept(&client(None, &WITHIN_T)));
        scope.spawn(|| assert_kept(&client(Some(T_SECS), &AROUND_THE_CLOSE)));
        scope.spawn(|| client(None, &AROUND_THE_CLOSE).assert_reused());
    });
}

/// Checks that nothing was lost or retried.
pub fn assert_kept(report: &Report) {
    report.assert_nothing_lost();
    report.assert_no_race();
}
