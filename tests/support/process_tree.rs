//! CPU time and memory of a process and all its descendants, from `/proc`.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// The processes that descend from `leader` or are in its group, itself included.
pub fn tree(leader: u32) -> Vec<u32> {
    let all: Vec<(u32, u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| parent_and_group(pid).map(|(parent, group)| (pid, parent, group)))
        .collect();
    let mut found = vec![leader];
    loop {
        let before = found.len();
        for &(pid, parent, group) in &all {
            if !found.contains(&pid) && (group == leader || found.contains(&parent)) {
                found.push(pid);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

fn parent_and_group(pid: u32) -> Option<(u32, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses, and may contain spaces and parentheses.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(1);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The CPU time that the processes have used so far, in user and kernel mode.
///
/// The scheduler counts it in nanoseconds for each thread; the clock ticks of `stat` are too coarse
/// for one second. The time of a thread that ends is lost, but none of the servers ends threads under a
/// steady load.
pub fn cpu_time(pids: &[u32]) -> Duration {
    let nanos = pids.iter().map(|pid| {
        let tasks = fs::read_dir(format!("/proc/{pid}/task"));
        let each = tasks.into_iter().flatten().flatten();
        each.map(|task| on_cpu_nanos(&task.path())).sum::<u64>()
    });
    Duration::from_nanos(nanos.sum())
}

fn on_cpu_nanos(task: &Path) -> u64 {
    let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    let first = text.split(' ').next().unwrap_or_default();
    first.parse().unwrap_or(0)
}

/// Bytes of memory, where a page that several processes share counts once (PSS). If the kernel does not
/// report PSS, the resident pages of all processes are added up (RSS).
pub fn memory_bytes(pids: &[u32]) -> u64 {
    let kilobytes = |pid: &u32| {
        field(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
            .or_else(|| field(&format!("/proc/{pid}/status"), "VmRSS:"))
            .unwrap_or(0)
    };
    pids.iter().map(kilobytes).sum::<u64>() * 1024
}

fn field(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
