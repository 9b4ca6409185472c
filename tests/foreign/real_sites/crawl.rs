//! wget: it follows the links of pages and style sheets, and saves what it is answered.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// wget's status when all went well but for answers that were errors.
const SOME_REFUSED: i32 = 8;

/// A crawl that is over. It displays as one line.
pub struct Crawl {
    pub saved: Vec<Saved>,
    pub refused: Vec<Refused>,
}

/// An answer with a body.
pub struct Saved {
    /// Of the URL, with its query; after a redirect, of the last one.
    pub path: String,
    /// The body.
    pub copy: PathBuf,
}

/// An answer that was an error.
pub struct Refused {
    pub path: String,
    pub status: u16,
}

impl Crawl {
    /// Saves all that is linked to from `start` and not above it, and what pages are made of, below
    /// `mirror`.
    pub fn of(server: SocketAddr, start: &str, mirror: &Path) -> Crawl {
        fs::create_dir(mirror).expect("a directory");
        let origin = format!("http://{server}");
        let mut command = Command::new("wget");
        command
            .args(["--recursive", "--level=inf", "--page-requisites"])
            .args(["--no-parent", "--no-host-directories", "--no-verbose"])
            // A redirect to the slash form would save a directory's page in the directory's place.
            .args(["--trust-server-names", "--restrict-file-names=nocontrol"])
            .args(["--tries=1", "--timeout=20", "--no-proxy", "--no-config"])
            .arg("--output-file=log")
            .arg(format!("{origin}{start}"))
            .env("LC_ALL", "C")
            .current_dir(mirror);
        let status = match command.status() {
            Ok(status) => status,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("wget is not installed: see .ci/run")
            }
            Err(error) => panic!("wget does not start: {error}"),
        };
        let log = fs::read(mirror.join("log")).expect("wget's log");
        let log = String::from_utf8_lossy(&log);
        assert!(
            status.success() || status.code() == Some(SOME_REFUSED),
            "wget ends with {status}: {log}"
        );
        let crawl = Crawl::parse(&log, &origin, mirror);
        assert!(log.contains("\nFINISHED "), "wget has not finished: {log}");
        // A missing robots.txt is no error to wget, all others are.
        assert!(status.success() || !crawl.refused.is_empty(), "{log}");
        crawl
    }

    /// Reads wget's log. What was saved is one line, what was refused is two, the URL first.
    fn parse(log: &str, origin: &str, mirror: &Path) -> Crawl {
        let path = |url: &str| {
            let path = url.strip_prefix(origin);
            path.unwrap_or_else(|| panic!("{url} is elsewhere"))
                .to_owned()
        };
        let (mut saved, mut refused) = (Vec::new(), Vec::new());
        let mut last_url = "";
        for line in log
            .lines()
            .take_while(|line| !line.starts_with("FINISHED "))
        {
            if let Some((_, rest)) = line.split_once(" URL:") {
                let (url, rest) = rest.split_once(' ').expect("a URL and what became of it");
                let name = rest.split('"').nth(1).expect("a name in quotes");
                saved.push(Saved {
                    path: path(url),
                    copy: mirror.join(name),
                });
            } else if let Some((_, error)) = line.split_once(" ERROR ") {
                refused.push(Refused {
                    path: path(last_url),
                    status: error[..3].parse().expect("a status"),
                });
            } else if let Some(url) = line.strip_suffix(':') {
                last_url = url;
            } else {
                panic!("wget says: {line}");
            }
        }
        Crawl { saved, refused }
    }
}

impl fmt::Display for Crawl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (saved, refused) = (self.saved.len(), self.refused.len());
        write!(f, "{saved} saved, {refused} links broken on disk too")?;
        self.refused
            .iter()
            .try_for_each(|refused| write!(f, ", {}", refused.path))
    }
}
