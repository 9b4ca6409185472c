//! The one way from a request to a response.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::cache::{Cache, Entry};
use super::pages;
use super::partial::{partial, slice};
use super::representation::{Identity, Representation};
use super::resolve::{OpenError, Resolver};
use super::root::Root;
use crate::clock::{Millis, Now};
use crate::config::Config;
use crate::http::method::Method;
use crate::http::preconditions::{self, Validators, Verdict};
use crate::http::request::{Expectation, RequestHead, Target};
use crate::http::response::{Body, Response};
use crate::http::status::Status;
use crate::http::target::{decode_path, encode_path, encode_query};

/// Served for a directory that is asked for with its slash.
const INDEX: &[u8] = b"index.html";

/// The site's own page for what does not exist, if it has one.
const NOT_FOUND_PAGE: &[u8] = b"/404.html";

/// One static site.
#[derive(Debug)]
pub struct Site {
    root: Root,
    resolver: Resolver,
    cache: Option<Cache>,
    memory_bytes: u64,
    revalidate_millis: u64,
    has_logged_outside_link: AtomicBool,
}

/// Why a path has no representation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absence {
    /// The path names a directory and lacks the slash.
    IsDirectory,
    /// Not a regular file: never read, it might block or have effects.
    IsSpecial,
    Open(OpenError),
}

impl Site {
    /// Opens the site at the configured root.
    ///
    /// # Errors
    /// If the root is not a directory that can be read.
    pub fn open(config: &Config) -> std::io::Result<Site> {
        let cache = &config.cache;
        Ok(Site {
            root: Root::open(&config.site.root)?,
            resolver: Resolver::new(),
            cache: (cache.bytes > 0).then(|| Cache::new(cache.bytes, cache.file_bytes)),
            memory_bytes: cache.file_bytes,
            revalidate_millis: u64::from(cache.revalidate_secs) * 1_000,
            has_logged_outside_link: AtomicBool::new(false),
        })
    }

    /// Answers `head`. `path` is a buffer of the caller's, so that a cached file costs no allocation.
    pub fn respond(&self, head: &RequestHead<'_, '_>, path: &mut Vec<u8>, now: Now) -> Response {
        let query = match &head.target {
            // A malformed path is malformed whatever the method.
            Target::Path { path: raw, query } => match decode_path(raw, path) {
                Ok(()) => Some(query),
                Err(reject) => return pages::rejected(&reject),
            },
            Target::Asterisk | Target::Authority(_) => None,
        };
        if let Some(refusal) = refuse(head) {
            return refusal;
        }
        let Some(query) = query else {
            return options();
        };
        if is_hidden(path) {
            return self.not_found(now);
        }
        match self.find(path, now) {
            Ok(_) if head.method == Method::Options => options(),
            Ok(entry) => represent(&entry.representation, head, now),
            Err(absence) => self.explain(absence, path, *query, now),
        }
    }

    /// The entry for a decoded path, from the cache if it is current there.
    fn find(&self, path: &[u8], now: Now) -> Result<Arc<Entry>, Absence> {
        let Some(cache) = &self.cache else {
            return self.load(path, now).map(Arc::new);
        };
        let generation = self.root.generation(now.monotonic);
        if let Some(entry) = cache.find(path) {
            if entry.generation == generation && self.is_current(&entry, now.monotonic) {
                return Ok(entry);
            }
            cache.drop_stale(path, &entry);
        }
        cache.find_or_load(path, || self.load(path, now))
    }

    fn is_current(&self, entry: &Entry, now: Millis) -> bool {
        if !entry.is_check_due(now, self.revalidate_millis) {
            return true;
        }
        // Following a link out of the root does no harm here: only a file that is the very one that
        // was loaded through the resolver compares equal.
        let directory = self.root.directory();
        let stat = rustix::fs::statat(&directory.fd, entry.path.as_slice(), AtFlags::empty());
        stat.is_ok_and(|stat| entry.representation.is_current(&Identity::of_stat(&stat)))
    }

    fn load(&self, path: &[u8], now: Now) -> Result<Entry, Absence> {
        let mut relative = path.strip_prefix(b"/").unwrap_or(path).to_vec();
        if relative.is_empty() || relative.ends_with(b"/") {
            relative.extend_from_slice(INDEX);
        }
        self.root.generation(now.monotonic);
        let directory = self.root.directory();
        let file = self
            .resolver
            .open(directory.fd.as_fd(), &relative)
            .map_err(Absence::Open)?;
        let kind = file.metadata().map_err(absence_of)?.file_type();
        if kind.is_dir() {
            // `name/` with an index.html that is itself a directory has no index.
            let is_index = path.ends_with(b"/");
            return Err(if is_index {
                Absence::Open(OpenError::NotFound)
            } else {
                Absence::IsDirectory
            });
        }
        if !kind.is_file() {
            return Err(Absence::IsSpecial);
        }
        let name = String::from_utf8_lossy(&relative).into_owned();
        let representation =
            Representation::load(file, &name, self.memory_bytes, now).map_err(absence_of)?;
        Ok(Entry::new(
            representation,
            relative,
            directory.generation,
            now.monotonic,
        ))
    }

    fn explain(&self, absence: Absence, path: &[u8], query: Option<&[u8]>, now: Now) -> Response {
        match absence {
            Absence::IsDirectory => redirect_to_slash(path, query),
            Absence::Open(OpenError::NotFound) => self.not_found(now),
            Absence::Open(OpenError::Outside) => {
                if !self.has_logged_outside_link.swap(true, Ordering::Relaxed) {
                    let shown = path.escape_ascii();
                    log::warn!(
                        "{shown}: a link that is absolute or leads out of the root is refused (logged once)"
                    );
                }
                pages::error(Status::FORBIDDEN, "This link leads out of the site.")
            }
            Absence::IsSpecial => pages::error(Status::FORBIDDEN, "This is not a regular file."),
            Absence::Open(OpenError::Forbidden) => {
                pages::error(Status::FORBIDDEN, "The server may not read this file.")
            }
            Absence::Open(OpenError::Exhausted) => pages::error(
                Status::SERVICE_UNAVAILABLE,
                "The server has no file descriptors or memory left at the moment.",
            ),
            Absence::Open(OpenError::Failed) => {
                log::error!("{}: the file cannot be read", path.escape_ascii());
                pages::error(Status::INTERNAL_SERVER_ERROR, "The file could not be read.")
            }
        }
    }

    fn not_found(&self, now: Now) -> Response {
        match self.find(NOT_FOUND_PAGE, now) {
            Ok(entry) => Response {
                status: Status::NOT_FOUND,
                fields: entry.representation.page_fields(),
                length: Some(entry.representation.content.len()),
                body: body(&entry.representation),
            },
            Err(_) => pages::error(Status::NOT_FOUND, "Nothing is here."),
        }
    }
}

/// Refuses what no resource here answers, by method and expectation.
fn refuse(head: &RequestHead<'_, '_>) -> Option<Response> {
    let (status, sentence) = match (head.method, head.expect) {
        // RFC 9110 section 9.1: unknown is 501, known but not allowed is 405.
        (Method::Unknown, _) => (
            Status::NOT_IMPLEMENTED,
            "The server does not know this method.",
        ),
        // RFC 9110 section 10.1.1.
        (_, Expectation::Other) => (
            Status::EXPECTATION_FAILED,
            "The only expectation met here is 100-continue.",
        ),
        (Method::Get | Method::Head | Method::Options, _) => return None,
        _ => (
            Status::METHOD_NOT_ALLOWED,
            "This is a static site: it can be read, not written.",
        ),
    };
    Some(pages::error(status, sentence))
}

/// The answer to OPTIONS (RFC 9110 section 9.3.7).
fn options() -> Response {
    Response {
        status: Status::OK,
        fields: Bytes::from(format!("Allow: {}\r\n", pages::ALLOWED)),
        length: Some(0),
        body: Body::Empty,
    }
}

/// 200, or what the preconditions make of it (RFC 9110 section 13.2.2).
fn represent(representation: &Representation, head: &RequestHead<'_, '_>, now: Now) -> Response {
    let validators = Validators {
        etag: Some(&representation.etag),
        last_modified_unix_secs: Some(representation.last_modified),
    };
    match preconditions::evaluate(head.method, &head.fields, &validators, now.unix_secs) {
        Verdict::Proceed => requested_ranges(head, &validators, now)
            .and_then(|ranges| partial(representation, ranges))
            .unwrap_or_else(|| Response {
                status: Status::OK,
                fields: representation.fields(),
                length: Some(representation.content.len()),
                body: body(representation),
            }),
        Verdict::NotModified => Response {
            status: Status::NOT_MODIFIED,
            fields: representation.not_modified_fields(),
            length: None,
            body: Body::Empty,
        },
        Verdict::Failed => pages::error(
            Status::PRECONDITION_FAILED,
            "The file is not in the state that the request asks for.",
        ),
    }
}

fn body(representation: &Representation) -> Body {
    slice(&representation.content, 0..representation.content.len())
}

/// The Range field, where it counts: on GET only, and only if If-Range holds (RFC 9110 sections
/// 14.2 and 13.1.5). A repeated field is ignored, as its lines cannot be combined.
fn requested_ranges<'b>(
    head: &RequestHead<'b, '_>,
    validators: &Validators<'_>,
    now: Now,
) -> Option<&'b [u8]> {
    let ranges = head
        .fields
        .only("range")
        .filter(|_| head.method == Method::Get)?;
    preconditions::if_range_holds(&head.fields, validators, now.unix_secs).then_some(ranges)
}

/// 301 from a directory to its slash form, the query kept.
fn redirect_to_slash(path: &[u8], query: Option<&[u8]>) -> Response {
    let mut location = Vec::with_capacity(path.len() + 1);
    encode_path(path, &mut location);
    location.push(b'/');
    if let Some(query) = query {
        location.push(b'?');
        encode_query(query, &mut location);
    }
    // Both parts are encoded, so they are ASCII.
    pages::moved_permanently(&String::from_utf8_lossy(&location))
}

/// Dot files are hidden, `/.well-known/` (RFC 8615) is not.
fn is_hidden(path: &[u8]) -> bool {
    let below = match path.strip_prefix(b"/.well-known") {
        Some(rest) if rest.is_empty() || rest.starts_with(b"/") => rest,
        _ => path,
    };
    memchr::memmem::find(below, b"/.").is_some()
}

fn absence_of(error: std::io::Error) -> Absence {
    let errno = match error.raw_os_error() {
        Some(code) => Errno::from_raw_os_error(code),
        // The standard library found it out before the kernel did.
        None if error.kind() == std::io::ErrorKind::OutOfMemory => Errno::NOMEM,
        None => Errno::IO,
    };
    Absence::Open(OpenError::from(errno))
}
