//! Figures of a process and of the machine, from `/proc`.

use std::fs;
use std::time::Duration;

/// Private memory in bytes: the memory that would become free if the process ended.
pub fn private_bytes(pid: u32) -> u64 {
    let rollup = read(&format!("/proc/{pid}/smaps_rollup"));
    kib(&rollup, "Private_Clean:") + kib(&rollup, "Private_Dirty:")
}

/// CPU time of all threads of a process so far.
pub fn cpu_time(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a process of ours");
    let nanos = tasks.map(|task| {
        let path = task.expect("a thread").path().join("schedstat");
        first_number(&fs::read_to_string(path).unwrap_or_default())
    });
    match nanos.sum() {
        // This kernel does not count per thread; /proc/PID/stat counts in hundredths of a second.
        0 => Duration::from_millis(10 * ticks(&read(&format!("/proc/{pid}/stat")))),
        nanos => Duration::from_nanos(nanos),
    }
}

/// Memory of kernel objects, including sockets, in bytes.
pub fn slab_bytes() -> u64 {
    kib(&read("/proc/meminfo"), "Slab:")
}

/// Memory of the buffers of TCP sockets, in bytes. The kernel counts it in pages.
pub fn socket_buffer_bytes() -> u64 {
    let sockstat = read("/proc/net/sockstat");
    let tcp = sockstat.lines().find(|line| line.starts_with("TCP:"));
    let (_, pages) = tcp
        .and_then(|line| line.split_once(" mem "))
        .unwrap_or_default();
    first_number(pages) * rustix::param::page_size() as u64
}

/// A limit of the kernel, `/proc/sys/fs/NAME`.
pub fn kernel_limit(name: &str) -> u64 {
    first_number(&read(&format!("/proc/sys/fs/{name}")))
}

/// Available memory in bytes.
pub fn available_bytes() -> u64 {
    kib(&read("/proc/meminfo"), "MemAvailable:")
}

/// The number of client ports for each pair of addresses and each port of a server.
pub fn client_ports() -> u64 {
    let range = read("/proc/sys/net/ipv4/ip_local_port_range");
    let mut bounds = range.split_whitespace().map(first_number);
    let (first, last) = (bounds.next().unwrap_or(0), bounds.next().unwrap_or(0));
    last + 1 - first
}

/// Open descriptors of a process.
pub fn descriptors(pid: u32) -> usize {
    let directory = fs::read_dir(format!("/proc/{pid}/fd"));
    directory.expect("a process of ours").count()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn first_number(text: &str) -> u64 {
    let word = text.split_whitespace().next().unwrap_or("");
    word.parse().unwrap_or(0)
}

fn kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, first_number) * 1024
}

/// utime and stime of proc_pid_stat(5), whose second field, the name, ends in the last parenthesis.
fn ticks(stat: &str) -> u64 {
    let (_, fields) = stat.rsplit_once(") ").unwrap_or_default();
    fields.split(' ').skip(11).take(2).map(first_number).sum()
}
