//! The settings that each virtual host has for itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::cors_origin::CorsOrigin;
use super::host_name::HostName;
use super::redirect_graph::RedirectGraph;
use super::rules::{HeaderRule, Redirect, Rewrite};
use super::single_page_apps::SinglePageApp;

/// One site: what is served, and what is said about it.
///
/// Outside of every `[[host]]` these are the settings of the default site, which answers for all
/// names that no host has. A host inherits them, `root` excepted: its own keys win, its `types`,
/// `encodings` and `error_pages` are added, and of its rules and the general ones the host's have the last
/// word. Its header rules come after the general ones, because a later one wins; its redirects, rewrites
/// and applications come before, because the first one that matches counts.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteConfig {
    /// The directory that is served. A relative path is relative to the directory the server is
    /// started in. Default: `www`.
    pub root: PathBuf,
    /// The files that stand for a directory; the first that exists counts. Names, not paths; may be
    /// empty. Default: `index.html`.
    pub index: Vec<String>,
    /// Whether `/about` is answered with `about.html`, and `/about.html` and `/about/` lead to
    /// `/about`. Default false.
    pub clean_urls: bool,
    /// The applications of one page. The first that is for a path counts. Default none.
    pub spa: Vec<SinglePageApp>,
    /// Whether a directory without an index is listed. Default false.
    pub listing: bool,
    /// Whether files and directories whose names begin with a dot are served. `/.well-known/` always
    /// is. Default false.
    pub hidden: bool,
    /// Which symbolic links are followed. Default [`SymlinkPolicy::Inside`].
    pub symlinks: SymlinkPolicy,
    /// Whether `name.br`, `name.zst` and `name.gz` are sent in place of `name`, which need not exist
    /// itself. Default [`Precompressed::Current`].
    pub precompressed: Precompressed,
    /// Whether answers are compressed by the server. Default true.
    pub compress: bool,
    /// What entity-tags are made from. Default [`EtagSource::Modified`].
    pub etag: EtagSource,
    /// Whether the fields of the security preset are sent. Default false.
    pub security: bool,
    /// The origins whose pages may read the answers. [`CorsOrigin::Any`] only alone. Default none.
    pub cors: Vec<CorsOrigin>,
    /// By status, 400 to 599: the path of the page that is sent with it. Default: `/404.html` with
    /// 404. A page that does not exist is no error: the server has one for every status.
    pub error_pages: BTreeMap<u16, String>,
    /// Media types by file name extension, lower case and without the dot. They win over the built-in
    /// ones. Default none.
    pub types: BTreeMap<String, String>,
    /// The media type of files whose name has no extension, or one that is unknown. Default
    /// `application/octet-stream`, which no browser renders.
    pub default_type: String,
    /// The content coding of a file's bytes by file name extension, lower case and without the first
    /// dot; an extension may have several parts, and the longest that fits counts. `None`: the bytes
    /// are the content itself. Default: `svgz` is gzip.
    pub encodings: BTreeMap<String, Option<FileCoding>>,
    /// Rules for fields. All that match apply, in this order. A Content-Type, and `no-transform` in a
    /// Cache-Control, also decide whether a file is compressed.
    pub headers: Vec<HeaderRule>,
    /// The first that matches counts.
    pub redirects: Vec<Redirect>,
    /// The first that matches counts, and what it makes of a path is not looked at again.
    pub rewrites: Vec<Rewrite>,
}

/// A virtual host: a `[[host]]` with what it inherits.
#[derive(Debug, Clone, PartialEq)]
pub struct HostConfig {
    /// The names it answers to; at least one. No name is another host's too.
    pub names: Vec<HostName>,
    /// Its settings.
    pub site: SiteConfig,
}

/// `symlinks`: which symbolic links are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SymlinkPolicy {
    /// Those that stay within the root, absolute ones too. Written `"inside"`.
    #[default]
    Inside,
    /// None. Written `"never"`.
    Never,
    /// All, wherever they lead. Written `"anywhere"`.
    Anywhere,
}

/// A content coding that the bytes of a file are in (RFC 9110 section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileCoding {
    /// Written `"br"`.
    Brotli,
    /// Written `"zstd"`.
    Zstd,
    /// Written `"gzip"`.
    Gzip,
}

/// `etag`: what an entity-tag is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EtagSource {
    /// The size and the time of the last change. Written `"mtime"`.
    #[default]
    Modified,
    /// The content. Written `"content"`.
    Content,
}

impl FileCoding {
    const ALL: [FileCoding; 3] = [FileCoding::Brotli, FileCoding::Zstd, FileCoding::Gzip];

    /// As it is written in `[encodings]`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FileCoding::Brotli => "br",
            FileCoding::Zstd => "zstd",
            FileCoding::Gzip => "gzip",
        }
    }

    /// The coding of that name.
    pub(super) fn named(name: &str) -> Option<FileCoding> {
        let mut all = FileCoding::ALL.into_iter();
        all.find(|coding| coding.name() == name)
    }
}

/// `precompressed`: which files are sent in place of the one that they lie beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precompressed {
    /// None. Written `false`.
    Never,
    /// Those that are newer than it, or decode to its content. Written `true`.
    #[default]
    Current,
    /// All. Written `"always"`.
    Always,
}

impl SiteConfig {
    /// The defaults, for the directory `root`.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> SiteConfig {
        SiteConfig {
            root: root.into(),
            index: vec!["index.html".to_owned()],
            clean_urls: false,
            spa: Vec::new(),
            listing: false,
            hidden: false,
            symlinks: SymlinkPolicy::default(),
            precompressed: Precompressed::default(),
            compress: true,
            etag: EtagSource::default(),
            security: false,
            cors: Vec::new(),
            error_pages: BTreeMap::from([(NOT_FOUND_PAGE.0, NOT_FOUND_PAGE.1.to_owned())]),
            types: BTreeMap::new(),
            default_type: "application/octet-stream".to_owned(),
            encodings: BTreeMap::from([("svgz".to_owned(), Some(FileCoding::Gzip))]),
            headers: Vec::new(),
            redirects: Vec::new(),
            rewrites: Vec::new(),
        }
    }
}

impl SiteConfig {
    /// The way that its redirects lead a client along.
    #[must_use]
    pub fn redirect_graph(&self) -> RedirectGraph {
        let index = self.clean_urls.then_some(self.index.as_slice());
        RedirectGraph::new(&self.redirects, index)
    }

    /// Adds a sentence for each page that is configured and does not exist. It can still come, with
    /// the next version of the site, so it is no error.
    pub(super) fn warn_of_missing_pages(&self, warnings: &mut Vec<String>) {
        let error_pages = self.error_pages.iter();
        let pages = error_pages
            .filter(|(status, path)| (**status, path.as_str()) != NOT_FOUND_PAGE)
            .map(|(status, path)| (format!("error_pages.{status}"), path));
        let applications = self.spa.iter();
        let spa = applications.map(|application| ("spa".to_owned(), &application.page));
        for (key, path) in spa.chain(pages) {
            let file = self.root.join(path.trim_start_matches('/'));
            // A form of the page stands for it.
            let endings = match self.precompressed {
                Precompressed::Never => &[""][..],
                Precompressed::Current | Precompressed::Always => &["", ".br", ".zst", ".gz"],
            };
            let is_there = |ending: &&str| {
                let mut name = file.clone().into_os_string();
                name.push(ending);
                Path::new(&name).is_file()
            };
            if !endings.iter().any(is_there) {
                let instead = if key == "spa" {
                    "404 is the answer"
                } else {
                    "the server's own page is sent"
                };
                warnings.push(format!(
                    "{key}: {} does not exist, {instead} until it does",
                    file.display()
                ));
            }
        }
    }
}

impl Default for SiteConfig {
    fn default() -> SiteConfig {
        SiteConfig::at("www")
    }
}

/// The error page that is looked for without being configured.
pub(super) const NOT_FOUND_PAGE: (u16, &str) = (404, "/404.html");
