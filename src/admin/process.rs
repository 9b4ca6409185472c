//! The process as the operating system sees it (proc_pid_stat(5)).

use std::fs;
use std::os::unix::fs::MetadataExt;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// The figures of this process. A figure that cannot be read, perhaps because a sandbox hides `/proc`, is
/// `None`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ProcessFigures {
    /// CPU time used by all threads, in seconds.
    pub cpu_secs: Option<f64>,
    /// The size of the address space, in bytes.
    pub virtual_bytes: Option<u64>,
    /// Memory in RAM, in bytes.
    pub resident_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Open descriptors.
    pub open_descriptors: Option<u64>,
    /// The limit on descriptors; `None` also if there is none.
    pub most_descriptors: Option<u64>,
}

impl ProcessFigures {
    /// Reads the figures.
    #[must_use]
    pub fn read() -> ProcessFigures {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        ProcessFigures {
            open_descriptors: open_descriptors(),
            most_descriptors: getrlimit(Resource::Nofile).current,
            ..ProcessFigures::parse(&stat)
        }
    }

    fn parse(stat: &str) -> ProcessFigures {
        // The name of the program, in parentheses, may contain anything.
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        // The manual page counts from 1, and the first field here is its third.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ticks = field(14).zip(field(15)).map(|(user, system)| user + system);
        ProcessFigures {
            cpu_secs: ticks.map(|ticks| ticks as f64 / clock_ticks_per_second() as f64),
            threads: field(20),
            virtual_bytes: field(23),
            resident_bytes: field(24).map(|pages| pages * page_size() as u64),
            ..ProcessFigures::default()
        }
    }
}

/// Since Linux 6.2 the size of the directory is the number of descriptors. Before, each one is listed.
fn open_descriptors() -> Option<u64> {
    const DIRECTORY: &str = "/proc/self/fd";
    match fs::metadata(DIRECTORY).ok()?.size() {
        0 => Some(fs::read_dir(DIRECTORY).ok()?.count() as u64),
        size => Some(size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_after_any_name() {
        let stat =
            "7 (a) 1 2 (x)) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 5 0 99 4096000 300 1";
        let figures = ProcessFigures::parse(stat);
        let ticks = clock_ticks_per_second() as f64;
        assert_eq!(figures.cpu_secs, Some(300.0 / ticks));
        assert_eq!(
            (figures.threads, figures.virtual_bytes),
            (Some(5), Some(4_096_000))
        );
        assert_eq!(figures.resident_bytes, Some(300 * page_size() as u64));
        assert_eq!(ProcessFigures::parse(""), ProcessFigures::default());
    }

    #[test]
    fn this_process_has_figures() {
        let figures = ProcessFigures::read();
        assert!(
            figures.resident_bytes.is_some_and(|bytes| bytes > 100_000),
            "{figures:?}"
        );
        assert!(
            figures.open_descriptors.is_some_and(|count| count >= 3),
            "{figures:?}"
        );
    }
}
