//! Summaries on standard error: the counters, and how the server ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::diagnostics::print_notice;
use super::lifecycle::Announcement;
use super::shared::{ConnectionCounts, Shared, totals};

/// Prints the counters of all event loops.
pub(super) fn print_counters(all: &[Arc<Shared>]) {
    let count = |count: fn(&Shared) -> u64| -> u64 { all.iter().map(|shared| count(shared)).sum() };
    let accepted = count(|shared| shared.accept_state.accepted.load(Ordering::Relaxed));
    let dropped = count(|shared| shared.accept_state.dropped.load(Ordering::Relaxed));
    let open = all.iter().map(|shared| shared.open()).sum::<usize>();
    let ConnectionCounts {
        active,
        idle,
        lingering,
    } = all.iter().map(|shared| shared.connection_counts()).sum();
    let totals = totals(all);
    let lines_dropped = all[0].config.dropped_lines();
    print_notice(format_args!(
        "connections_accepted_total {accepted}\nconnections_dropped_total {dropped}\n\
         connections_open {open}\n\
         connections_active {active}\nconnections_idle {idle}\n\
         connections_lingering {lingering}\n\
         access_log_lines_dropped_total {lines_dropped}\n{totals}"
    ));
}

/// Prints how the server ends, with `open` connections.
pub(super) fn announce(announcement: Announcement, open: usize) {
    let open = connections(open);
    match announcement {
        Announcement::Draining => print_notice(format_args!("abide: draining, waiting for {open}")),
        Announcement::DrainTimedOut => print_notice(format_args!(
            "abide: the drain deadline has passed, closing {open}"
        )),
        Announcement::Stopping => print_notice(format_args!("abide: stopping, closing {open}")),
    }
}

/// Prints for how many connections of a drain the promise was kept, and how many the deadline cut
/// short. Connections that were promised nothing are in neither number.
pub(super) fn report_drain(all: &[Arc<Shared>]) {
    let totals = totals(all);
    let honoured = totals.promises_honoured;
    // Exchanges that are still active now are cut off.
    let exchanging: usize = all
        .iter()
        .map(|shared| shared.connection_counts().active)
        .sum();
    let broken = totals.promises_broken + exchanging as u64;
    print_notice(format_args!(
        "abide: drained, promises honoured: {honoured}, broken by the deadline: {broken}"
    ));
}

fn connections(count: usize) -> String {
    match count {
        1 => "1 connection".to_owned(),
        _ => format!("{count} connections"),
    }
}
