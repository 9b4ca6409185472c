//! The process as the operating system sees it (proc_pid_stat(5)).

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{CWD, Mode, OFlags, RawDir, SeekFrom, fstat, openat, seek};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// Room for `/proc/self/stat`: some fifty numbers and the name of the program.
const STAT_BYTES: usize = 2048;

/// The open files of `/proc` that tell about this process.
///
/// The sandbox ([`confinement`](crate::server::confinement)) forbids to open them, and so may a change of the
/// user. Neither forbids to read what is open. `/proc/self` is the process, so any thread may open and read them.
#[derive(Debug)]
pub struct ProcessFiles {
    /// `None` if it cannot be opened.
    stat: Option<File>,
    /// The directory of the descriptors; `None` if it cannot be opened.
    descriptors: Option<OwnedFd>,
}

impl ProcessFiles {
    /// Opens the files that can be opened.
    #[must_use]
    pub fn open() -> ProcessFiles {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        ProcessFiles {
            stat: File::open("/proc/self/stat").ok(),
            descriptors: openat(CWD, "/proc/self/fd", flags, Mode::empty()).ok(),
        }
    }

    /// Reads the figures as they are now.
    #[must_use]
    pub fn read(&self) -> ProcessFigures {
        let stat = self.stat.as_ref().and_then(|stat| read_start(stat).ok());
        ProcessFigures {
            open_descriptors: self.descriptors.as_ref().and_then(count_descriptors),
            most_descriptors: getrlimit(Resource::Nofile).current,
            ..ProcessFigures::parse(&stat.unwrap_or_default())
        }
    }
}

/// The kernel makes the text anew for each read at offset 0.
fn read_start(file: &File) -> io::Result<String> {
    let mut buffer = [0; STAT_BYTES];
    let count = file.read_at(&mut buffer, 0)?;
    // The name of the program may be no UTF-8.
    Ok(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

/// Since Linux 6.2 the size of the directory is the number of descriptors. Before, each one is listed.
fn count_descriptors(directory: &OwnedFd) -> Option<u64> {
    match fstat(directory).ok()?.st_size {
        0 => listed(directory).ok(),
        size => u64::try_from(size).ok(),
    }
}

/// The number of entries of `directory`, which is read from its start.
fn listed(directory: &OwnedFd) -> rustix::io::Result<u64> {
    seek(directory, SeekFrom::Start(0))?;
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(directory, &mut buffer);
    let mut count = 0;
    while let Some(entry) = entries.next() {
        let is_descriptor = !entry?.file_name().to_bytes().starts_with(b".");
        count += u64::from(is_descriptor);
    }
    Ok(count)
}

/// The figures of this process. A figure that cannot be read is `None`.
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
    fn the_open_files_tell_any_thread_the_figures_of_now() {
        let files = ProcessFiles::open();
        let before = files.read();
        assert!(
            before.resident_bytes.is_some_and(|bytes| bytes > 100_000),
            "{before:?}"
        );
        let held: Vec<File> = (0..100)
            .map(|_| File::open("/dev/null").expect("/dev/null"))
            .collect();
        let after = std::thread::scope(|scope| scope.spawn(|| files.read()).join());
        let after = after.expect("no panic");
        // Other tests open and close descriptors at the same time.
        let opened = after.open_descriptors >= before.open_descriptors.map(|count| count + 50);
        assert!(opened, "{before:?} {after:?}");
        assert!(after.cpu_secs >= before.cpu_secs && after.threads >= Some(2));
        drop(held);
    }

    /// The count of kernels before 6.2.
    #[test]
    fn descriptors_can_be_listed_again_and_again() {
        let files = ProcessFiles::open();
        let directory = files.descriptors.as_ref().expect("/proc");
        for _ in 0..2 {
            let held = File::open("/dev/null").expect("/dev/null");
            let count = listed(directory).expect("a list");
            assert!((4..10_000).contains(&count), "{count}");
            drop(held);
        }
    }
}
