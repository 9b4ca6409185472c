//! The settings that each virtual host has for itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::cors_origin::CorsOrigin;
use super::host_name::HostName;
use super::redirect_graph::{CleanUrls, RedirectGraph};
use super::rules::{HeaderRule, Redirect, Rewrite};
use super::single_page_apps::SinglePageApp;

/// The settings of one site.
///
/// Outside of every `[[host]]` these are the settings of the default site, which answers for all names
/// that no host has. A host inherits them, except `root`. The host's own keys replace the inherited ones;
/// its `types`, `encodings` and `error_pages` are added to them. The host's rules have precedence: its
/// header rules come after the inherited ones, because the last rule that sets a field wins; its
/// redirects, rewrites and applications come before, because the first one that matches applies.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteConfig {
    /// The directory that is served. A relative path is relative to the directory the server is
    /// started in. Default: `www`.
    pub root: PathBuf,
    /// The PEM file with the certificate chain for TLS, the site's own certificate first. A host without one
    /// uses that of the default site. Default none.
    pub certificate: Option<PathBuf>,
    /// The PEM file with the private key of `certificate`. Default none; set exactly if `certificate` is.
    pub key: Option<PathBuf>,
    /// Whether requests over plain connections are redirected to https. Default false.
    pub https_redirect: bool,
    /// Seconds of Strict-Transport-Security, which is sent over TLS only (RFC 6797); 0 sends none. Default 0.
    pub hsts_secs: u32,
    /// The names of index files; the first that exists is served for the directory. May be empty.
    /// Default: `index.html`.
    pub index: Vec<String>,
    /// Whether `/about` is answered with `about.html`, and `/about.html` and `/about/` are redirected to
    /// `/about`. Default false.
    pub clean_urls: bool,
    /// The single-page applications. The first that a path belongs to applies. Default none.
    pub spa: Vec<SinglePageApp>,
    /// Whether a directory without an index file is listed. Default false.
    pub listing: bool,
    /// Whether files and directories whose names begin with a dot are served. `/.well-known/` is always
    /// served. Default false.
    pub hidden: bool,
    /// Which symbolic links are followed. Default [`SymlinkPolicy::Inside`].
    pub symlinks: SymlinkPolicy,
    /// Which of the sidecars `name.br`, `name.zst` and `name.gz` are sent in place of `name`, which need
    /// not exist. Default [`Precompressed::Current`].
    pub precompressed: Precompressed,
    /// Whether the server compresses responses. Default true.
    pub compress: bool,
    /// The source of entity tags. Default [`EtagSource::Modified`].
    pub etag: EtagSource,
    /// Whether the fields of the security preset are sent. Default false.
    pub security: bool,
    /// The origins whose pages may read the responses. [`CorsOrigin::Any`] is the only member if it is one.
    /// Default none.
    pub cors: Vec<CorsOrigin>,
    /// The path of the page for each status, 400 to 599. Default: `/404.html` for 404. If the page does not
    /// exist the server sends its built-in one.
    pub error_pages: BTreeMap<u16, String>,
    /// Media types by file name extension, lower case and without the dot. They replace the built-in ones.
    /// Default none.
    pub types: BTreeMap<String, String>,
    /// The media type of files whose names have no extension, or an unknown one. Default
    /// `application/octet-stream`, which no browser renders.
    pub default_type: String,
    /// The content coding of a file's bytes by file name extension, lower case and without the first
    /// dot. An extension may have several parts, and the longest one that matches applies. `None` means
    /// that the bytes have no coding. Default: `svgz` is gzip.
    pub encodings: BTreeMap<String, Option<FileCoding>>,
    /// Header rules. All that match apply, in this order. A Content-Type, and `no-transform` in a
    /// Cache-Control, also decide whether a file is compressed.
    pub headers: Vec<HeaderRule>,
    /// Redirects. The first that matches applies.
    pub redirects: Vec<Redirect>,
    /// Rewrites. The first that matches applies, and its result is not rewritten again.
    pub rewrites: Vec<Rewrite>,
}

/// A virtual host: the settings of a `[[host]]` with those that it inherits.
#[derive(Debug, Clone, PartialEq)]
pub struct HostConfig {
    /// The names of the host; at least one. No two hosts have the same name.
    pub names: Vec<HostName>,
    /// The settings of the host.
    pub site: SiteConfig,
}

/// `symlinks`: which symbolic links are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SymlinkPolicy {
    /// Links that stay within the root, including absolute ones. Written `"inside"`.
    #[default]
    Inside,
    /// No links. Written `"never"`.
    Never,
    /// All links. Written `"anywhere"`.
    Anywhere,
}

/// The content coding of the bytes of a file (RFC 9110 section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileCoding {
    /// Written `"br"`.
    Brotli,
    /// Written `"zstd"`.
    Zstd,
    /// Written `"gzip"`.
    Gzip,
}

/// `etag`: the source of entity tags.
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

    /// The name in `[encodings]`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FileCoding::Brotli => "br",
            FileCoding::Zstd => "zstd",
            FileCoding::Gzip => "gzip",
        }
    }

    /// The coding with this name.
    pub(super) fn named(name: &str) -> Option<FileCoding> {
        let mut all = FileCoding::ALL.into_iter();
        all.find(|coding| coding.name() == name)
    }
}

/// `precompressed`: which sidecars are sent in place of their originals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precompressed {
    /// No sidecars. Written `false`.
    Never,
    /// Sidecars that are newer than the original, or decode to its content. Written `true`.
    #[default]
    Current,
    /// All sidecars. Written `"always"`.
    Always,
}

impl SiteConfig {
    /// The defaults, for the directory `root`.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> SiteConfig {
        SiteConfig {
            root: root.into(),
            certificate: None,
            key: None,
            https_redirect: false,
            hsts_secs: 0,
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

    /// The files of the certificate and of its key, if they are set.
    pub fn certificate_files(&self) -> impl Iterator<Item = &Path> {
        let files = self.certificate.iter().chain(&self.key);
        files.map(PathBuf::as_path)
    }

    /// The graph of the redirects of the site, which shows where a chain of redirects leads.
    #[must_use]
    pub fn redirect_graph(&self) -> RedirectGraph {
        let clean_urls = self.clean_urls.then(|| CleanUrls {
            index: self.index.clone(),
            shows_hidden: self.hidden,
        });
        RedirectGraph::new(&self.redirects, clean_urls)
    }

    /// Adds a warning for each configured page that does not exist. It is no error, because the next
    /// version of the site may have the page.
    pub(super) fn warn_of_missing_pages(&self, warnings: &mut Vec<String>) {
        let error_pages = self.error_pages.iter();
        let pages = error_pages
            .filter(|(status, path)| (**status, path.as_str()) != NOT_FOUND_PAGE)
            .map(|(status, path)| (format!("error_pages.{status}"), path));
        let applications = self.spa.iter();
        let spa = applications.map(|application| ("spa".to_owned(), &application.page));
        for (key, path) in spa.chain(pages) {
            let file = self.root.join(path.trim_start_matches('/'));
            // A sidecar of the page replaces it.
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

/// The error page that is used without being configured.
pub(super) const NOT_FOUND_PAGE: (u16, &str) = (404, "/404.html");
