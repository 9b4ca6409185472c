//! Separate CPUs for the servers and the clients, if asked for.

use std::io;
use std::process::Command;
use std::sync::OnceLock;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The CPUs of the servers, as taskset(1) takes them. Not set if they share all CPUs with the clients.
static SERVER_CPUS: OnceLock<Vec<String>> = OnceLock::new();

/// Pins the clients, which are this process and its children, to one half of the CPUs, and leaves the other
/// half to the servers.
pub fn separate() -> io::Result<()> {
    let allowed = sched_getaffinity(None)?;
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU)
        .filter(|cpu| allowed.is_set(*cpu))
        .collect();
    let (servers, clients) = cpus.split_at(cpus.len() / 2);
    if servers.is_empty() {
        return Err(io::Error::other("there is only one CPU"));
    }
    let mut own = CpuSet::new();
    clients.iter().for_each(|cpu| own.set(*cpu));
    sched_setaffinity(None, &own)?;
    let servers = servers.iter().map(ToString::to_string).collect();
    // Called once.
    let _ = SERVER_CPUS.set(servers);
    Ok(())
}

/// The number of CPUs that the servers may use.
pub fn server_cpus() -> usize {
    SERVER_CPUS.get().map_or_else(num_cpus::get, Vec::len)
}

/// A command for a server, on the CPUs of the servers.
pub fn on_server_cpus(command: Command) -> Command {
    let Some(cpus) = SERVER_CPUS.get() else {
        return command;
    };
    let mut pinned = Command::new("taskset");
    pinned
        .args(["--cpu-list", &cpus.join(",")])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            pinned.env(name, value);
        }
    }
    pinned
}

/// How the CPUs are shared, for the heading of the tables.
pub fn description() -> String {
    match SERVER_CPUS.get() {
        None => "the clients share all CPUs with the servers".to_owned(),
        Some(cpus) => format!(
            "the servers have CPU {}, the clients the others",
            cpus.join(",")
        ),
    }
}
