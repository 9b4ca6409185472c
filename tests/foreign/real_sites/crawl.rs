//! wget, which follows the links of pages and style sheets and saves the answers.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// wget's exit status if the only errors were refused requests.
const SOME_REFUSED: i32 = 8;

/// A finished crawl. It displays as one line.
pub struct Crawl {
    pub saved: Vec<Saved>,
    pub refused: Vec<Refused>,
}

/// An answer with a body.
pub struct Saved {
    /// The path of the URL, with its query. After a redirect, that of the last URL.
    pub path: String,
    /// The file that holds the body.
    pub copy: PathBuf,
}

/// An error status.
pub struct Refused {
    pub path: String,
    pub status: u16,
}

impl Crawl {
    /// Saves below `mirror` all pages that are linked from `start` and not above it, with the files that they
    /// need.
    pub fn of(server: SocketAddr, start: &str, mirror: &Path) -> Crawl {
        fs::create_dir(mirror).expect("a directory");
        let origin = format!("http://{server}");
        let mut command = Command::new("wget");
        command
            .args(["--recursive", "--level=inf", "--page-requisites"])
            .args(["--no-parent", "--no-host-directories", "--no-verbose"])
            // Otherwise a redirect to the slash form would save a directory's page as a file named like it.
            .args(["--trust-server-names", "--restrict-file-names=nocontrol"])
            .args(["--tries=1", "--timeout=20", "--no-proxy", "--no-config"])
            .arg("--output-file=log")
            .arg(format!("{origin}{start}"))
            .env("LC_ALL", "C")
            .current_dir(mirror);
        let status = match command.status() {
            Ok(status) => status,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("wget is not installed: see .ci/install")
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
        // A missing robots.txt is not an error for wget. All others are.
        assert!(status.success() || !crawl.refused.is_empty(), "{log}");
        crawl
    }

    /// Parses wget's log: one line for a saved answer, two for a refused one with the URL first.
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
                let (url, rest) = rest.split_once(' ').expect("a URL and its result");
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
