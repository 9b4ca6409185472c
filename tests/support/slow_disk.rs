//! A slow disk for tests: a file system in user space (fuse(4)) that answers when a test wants.
//!
//! Its files need not be created: every valid name of a [`SlowFile`] exists, and says how the file is read.
//! No two files share a page of the kernel's cache, so every first reading goes to the disk.
//!
//! Root can mount it, and other users with fusermount3(1).

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation,
    INodeNo, KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEntry,
    Request, Session,
};
use tempfile::TempDir;

use super::pattern;

/// The files never change, so the kernel may remember them for as long as any test takes.
const FOREVER: Duration = Duration::from_secs(3_600);

/// The start of absent names whose lookups are watched like a [`Pace::Watched`] file.
pub const ABSENT: &str = "absent";

/// Readings that may be under way at once; the kernel queues further ones.
const MOST_READINGS: u16 = 1_000;

/// How long a reading takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pace {
    /// No time.
    Quick,
    /// Until the gate of the disk is open.
    Gated,
    /// The time that was given at the mount.
    Late,
    /// No time, but the file has changed each time its attributes are read.
    Restless,
    /// No time, but every lookup of the name goes to the disk, and a test can hold the lookups up.
    Watched,
}

impl Pace {
    /// In the order of their numbers.
    const ALL: [(Pace, &str); 5] = [
        (Pace::Quick, "quick"),
        (Pace::Gated, "gated"),
        (Pace::Late, "late"),
        (Pace::Restless, "restless"),
        (Pace::Watched, "watched"),
    ];

    fn number(self) -> usize {
        let mut all = Pace::ALL.iter();
        all.position(|(pace, _)| *pace == self).expect("one of all")
    }
}

/// A file of the disk, described completely by its name, and by its inode number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlowFile {
    pub pace: Pace,
    /// Distinguishes it from others, from 1 on.
    pub number: u32,
    /// Its length: at least 8, for the bytes that make its content unique.
    pub bytes: u32,
}

impl SlowFile {
    /// Its path in a request, if the disk is the site's root.
    pub fn target(&self) -> String {
        let SlowFile { number, bytes, .. } = self;
        let (_, name) = Pace::ALL[self.pace.number()];
        format!("/{name}-{number}-{bytes}")
    }

    pub fn content(&self) -> Vec<u8> {
        let own = u64::from(self.number).to_le_bytes();
        [own.to_vec(), pattern(self.bytes as usize - own.len())].concat()
    }

    fn named(name: &str) -> Option<SlowFile> {
        let mut parts = name.split('-');
        let named = parts.next()?;
        let (pace, _) = *Pace::ALL.iter().find(|(_, name)| *name == named)?;
        let number = parts.next()?.parse().ok()?;
        let bytes = parts.next()?.parse().ok()?;
        let is_one = number > 0 && bytes >= 8 && parts.next().is_none();
        is_one.then_some(SlowFile {
            pace,
            number,
            bytes,
        })
    }

    /// The number is in the high half, so that no file has the root's inode number, which is 1.
    fn inode(&self) -> INodeNo {
        let pace = self.pace.number() as u64;
        INodeNo(u64::from(self.number) << 35 | u64::from(self.bytes) << 3 | pace)
    }

    fn of_inode(inode: INodeNo) -> Option<SlowFile> {
        let (pace, _) = *Pace::ALL.get((inode.0 & 7) as usize)?;
        let bytes = (inode.0 >> 3) as u32;
        let number = (inode.0 >> 35) as u32;
        (number > 0).then_some(SlowFile {
            pace,
            number,
            bytes,
        })
    }

    /// How long the kernel may cache its entry and attributes.
    fn lasts(&self) -> &'static Duration {
        match self.pace {
            Pace::Restless => &Duration::ZERO,
            _ => &FOREVER,
        }
    }

    fn attributes(&self) -> FileAttr {
        static LOOKS: AtomicU64 = AtomicU64::new(0);
        let mtime = match self.pace {
            Pace::Restless => {
                UNIX_EPOCH + Duration::from_secs(LOOKS.fetch_add(1, Ordering::Relaxed))
            }
            _ => UNIX_EPOCH,
        };
        FileAttr {
            mtime,
            size: self.bytes.into(),
            blocks: u64::from(self.bytes).div_ceil(512),
            kind: FileType::RegularFile,
            perm: 0o644,
            nlink: 1,
            ..directory(self.inode())
        }
    }
}

fn directory(inode: INodeNo) -> FileAttr {
    FileAttr {
        ino: inode,
        size: 0,
        blocks: 0,
        // Long ago: no cache keeps a file that has just changed.
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::Directory,
        perm: 0o755,
        nlink: 2,
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

/// A mounted disk whose gate is closed at first. Drop unmounts it, so its readers must have ended.
pub struct SlowDisk {
    session: Option<BackgroundSession>,
    place: PathBuf,
    /// The mount point, unless a test has chosen one.
    own_place: Option<TempDir>,
    gate: Arc<Gate>,
    looks: Arc<Looks>,
    quick_readings: Arc<AtomicUsize>,
}

impl SlowDisk {
    /// A disk on which a reading of a [`Pace::Late`] file takes `lateness`.
    pub fn mount(lateness: Duration) -> SlowDisk {
        let place = TempDir::new().expect("a temporary directory");
        let mut disk = SlowDisk::mount_at(place.path(), lateness);
        disk.own_place = Some(place);
        disk
    }

    /// As [`mount`](SlowDisk::mount), on the directory at `place`.
    pub fn mount_at(place: &Path, lateness: Duration) -> SlowDisk {
        let gate = Arc::new(Gate::default());
        let looks = Arc::new(Looks::default());
        let quick_readings = Arc::new(AtomicUsize::new(0));
        let (late, late_readings) = mpsc::channel();
        thread::spawn(move || answer_late(&late_readings));
        let files = Files {
            gate: Arc::clone(&gate),
            looks: Arc::clone(&looks),
            quick_readings: Arc::clone(&quick_readings),
            lateness,
            late,
        };
        let mut config = Config::default();
        config.mount_options = vec![MountOption::RO, MountOption::FSName("slow".into())];
        let session = Session::new(files, place, &config);
        let session = session.unwrap_or_else(|error| {
            panic!("no FUSE: {error}; it takes /dev/fuse, and root or fusermount3")
        });
        SlowDisk {
            session: Some(session.spawn().expect("a thread")),
            place: place.to_owned(),
            own_place: None,
            gate,
            looks,
            quick_readings,
        }
    }

    /// The mount point.
    pub fn root(&self) -> &Path {
        &self.place
    }

    /// Gated files with a reading that waits at the gate.
    pub fn waiting_files(&self) -> usize {
        let held = self.gate.held.lock().expect("no thread panics");
        let files = held.iter().flatten().map(|reading| reading.file);
        files.collect::<HashSet<SlowFile>>().len()
    }

    /// Readings of [`Pace::Quick`] files so far.
    pub fn quick_readings(&self) -> usize {
        self.quick_readings.load(Ordering::Relaxed)
    }

    /// Answers the readings that wait, and from now on all others at once.
    pub fn open_gate(&self) {
        let held = self.gate.held.lock().expect("no thread panics").take();
        held.into_iter().flatten().for_each(Reading::answer);
    }

    /// Readings of [`Pace::Gated`] files so far.
    pub fn gated_readings(&self) -> usize {
        self.gate.readings.load(Ordering::Relaxed)
    }

    /// Holds up the lookups of [`Pace::Watched`] files, and of [`ABSENT`] names, from now on.
    pub fn hold_looks(&self) {
        *self.looks.held.lock().expect("no thread panics") = Some(Vec::new());
    }

    /// Lookups of [`Pace::Watched`] files that are held up.
    pub fn held_looks(&self) -> usize {
        let held = self.looks.held.lock().expect("no thread panics");
        held.as_ref().map_or(0, Vec::len)
    }

    /// Answers the lookups that are held up, and from now on all others at once.
    pub fn release_looks(&self) {
        let held = self.looks.held.lock().expect("no thread panics").take();
        for (file, reply) in held.into_iter().flatten() {
            answer_look(file, reply);
        }
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        self.open_gate();
        self.release_looks();
        let Some(session) = self.session.take() else {
            return;
        };
        let unmounted = session.umount_and_join();
        if !thread::panicking() {
            unmounted.expect("the disk is not in use");
        }
    }
}

struct Gate {
    /// The readings that wait for it; `None` when it is open.
    held: Mutex<Option<Vec<Reading>>>,
    readings: AtomicUsize,
}

/// A lookup and the way to answer it. `None` means that there is no such file.
type HeldLook = (Option<SlowFile>, ReplyEntry);

/// The lookups of watched files.
#[derive(Default)]
struct Looks {
    /// The lookups that are held up; `None` if none are to be.
    held: Mutex<Option<Vec<HeldLook>>>,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate {
            held: Mutex::new(Some(Vec::new())),
            readings: AtomicUsize::new(0),
        }
    }
}

/// A part of a file that the kernel reads, and the way to answer.
struct Reading {
    file: SlowFile,
    offset: usize,
    count: usize,
    reply: ReplyData,
}

impl Reading {
    fn answer(self) {
        let content = self.file.content();
        let begin = self.offset.min(content.len());
        let end = content.len().min(begin + self.count);
        self.reply.data(&content[begin..end]);
    }
}

/// Answers each reading when it is due. All take equally long, so they become due in order.
fn answer_late(readings: &Receiver<(Instant, Reading)>) {
    for (due, reading) in readings {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        reading.answer();
    }
}

/// Answers that `file` exists, or that there is none; the kernel is to ask again each time.
fn answer_look(file: Option<SlowFile>, reply: ReplyEntry) {
    match file {
        Some(file) => reply.entry(&Duration::ZERO, &file.attributes(), Generation(0)),
        None => reply.error(Errno::ENOENT),
    }
}

/// The callbacks of the kernel. None of them waits, so only the reader of a slow file finds it slow.
struct Files {
    gate: Arc<Gate>,
    looks: Arc<Looks>,
    quick_readings: Arc<AtomicUsize>,
    lateness: Duration,
    late: Sender<(Instant, Reading)>,
}

impl Filesystem for Files {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let set = config.set_max_background(MOST_READINGS);
        set.map(drop)
            .map_err(|_| io::ErrorKind::InvalidInput.into())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let is_in_root = parent == INodeNo::ROOT;
        let file = name.to_str().and_then(SlowFile::named);
        let is_watched = match file {
            Some(file) => file.pace == Pace::Watched,
            None => name.to_str().is_some_and(|name| name.starts_with(ABSENT)),
        };
        match file.filter(|_| is_in_root) {
            file if is_watched => {
                let mut held = self.looks.held.lock().expect("no thread panics");
                match &mut *held {
                    Some(held) => held.push((file, reply)),
                    None => answer_look(file, reply),
                }
            }
            Some(file) => reply.entry(file.lasts(), &file.attributes(), Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match SlowFile::of_inode(inode) {
            Some(file) => reply.attr(file.lasts(), &file.attributes()),
            None if inode == INodeNo::ROOT => reply.attr(&FOREVER, &directory(inode)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        count: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(file) = SlowFile::of_inode(inode) else {
            return reply.error(Errno::EISDIR);
        };
        let reading = Reading {
            file,
            offset: usize::try_from(offset).unwrap_or(usize::MAX),
            count: count as usize,
            reply,
        };
        match file.pace {
            Pace::Quick => {
                self.quick_readings.fetch_add(1, Ordering::Relaxed);
                reading.answer();
            }
            Pace::Gated => {
                self.gate.readings.fetch_add(1, Ordering::Relaxed);
                match &mut *self.gate.held.lock().expect("no thread panics") {
                    Some(held) => held.push(reading),
                    None => reading.answer(),
                }
            }
            Pace::Restless | Pace::Watched => reading.answer(),
            Pace::Late => {
                let due = Instant::now() + self.lateness;
                let sent = self.late.send((due, reading));
                sent.expect("the thread lives as long as this");
            }
        }
    }
}
