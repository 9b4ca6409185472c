//! The sites, and how each is made: built by its generator, or unpacked, from files that `.ci/install` has
//! fetched from a package registry.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use support::{Launch, Server, Share};

/// A site that a real tool makes.
pub struct RealSite {
    pub name: &'static str,
    /// The directory where a visit starts.
    pub start: &'static str,
    /// Pages below `start` that no other page links to.
    pub unlinked: &'static [&'static str],
    /// Whether links omit ".html", so that the server has to add it.
    pub has_clean_urls: bool,
    build: fn(&Path),
}

/// An application with hashed assets: scripts, a worker, fonts, pictures, WebAssembly.
pub const VITE: RealSite = RealSite {
    name: "Vite",
    start: "/",
    unlinked: &[],
    has_clean_urls: false,
    build: vite,
};

/// The documentation of Python-Markdown: a directory for each page, and a page for 404.
pub const MKDOCS: RealSite = RealSite {
    name: "MkDocs",
    start: "/",
    // An HTML form leads to the search.
    unlinked: &["404.html", "search.html"],
    has_clean_urls: false,
    build: mkdocs,
};

/// The documentation of Python by Sphinx. Some of its scripts are links into other packages.
pub const DEBIAN: RealSite = RealSite {
    name: "python3.11-doc",
    start: "/doc/python3.11/html/",
    unlinked: &[
        "doc/python3.11/html/distutils/_setuptools_disclaimer.html",
        "doc/python3.11/html/distutils/packageindex.html",
        "doc/python3.11/html/distutils/uploading.html",
        "doc/python3.11/html/includes/wasm-notavail.html",
    ],
    has_clean_urls: false,
    build: debian,
};

/// A documentation by VitePress: pages whose addresses have no suffix. When a link is followed, a script
/// replaces the page by the next one.
pub const VITEPRESS: RealSite = RealSite {
    name: "VitePress",
    start: "/",
    unlinked: &["404.html"],
    has_clean_urls: true,
    build: vitepress,
};

/// All sites.
pub const ALL: [&RealSite; 4] = [&VITE, &MKDOCS, &DEBIAN, &VITEPRESS];

impl RealSite {
    /// Makes the site at `root`, an empty directory.
    pub fn build(&self, root: &Path) {
        let _share = Share::of(3);
        (self.build)(root);
    }

    /// Serves the site at `root` with the settings that its links need.
    pub fn serve(&self, root: &Path) -> Server {
        let config = format!("clean_urls = {}\n", self.has_clean_urls);
        Launch::of(root).config(&config).start()
    }
}

fn vite(root: &Path) {
    run_generator("vite", &["build", "--emptyOutDir", "--outDir"], root);
}

fn vitepress(root: &Path) {
    run_generator("vitepress", &["build", "--outDir"], root);
}

/// Runs a generator of npm, with the project of the same name beside this file.
fn run_generator(name: &str, arguments: &[&str], root: &Path) {
    let project = TempDir::new().expect("a temporary directory");
    copy_of(&beside(name), project.path());
    let modules = fetched(&format!("{name}/node_modules"));
    std::os::unix::fs::symlink(&modules, project.path().join("node_modules")).expect("a link");
    let mut command = Command::new(modules.join(".bin").join(name));
    command.args(arguments).arg(root);
    run(command.current_dir(project.path()));
}

fn mkdocs(root: &Path) {
    let project = TempDir::new().expect("a temporary directory");
    for source in all_in(&fetched("markdown"), "gz") {
        let mut command = Command::new("tar");
        command
            .args(["--strip-components", "1", "-xzf"])
            .arg(source);
        run(command.current_dir(project.path()));
    }
    // The documentation's own configuration would need further plug-ins.
    fs::copy(beside("mkdocs.yml"), project.path().join("mkdocs.yml")).expect("a copy");
    let mut command = Command::new("python3");
    command
        .args(["-m", "mkdocs", "build", "--quiet", "--site-dir"])
        .arg(root)
        .env("PYTHONPATH", fetched("mkdocs"));
    run(command.current_dir(project.path()));
}

fn debian(root: &Path) {
    let place = TempDir::new_in(root.parent().expect("a parent")).expect("a directory");
    for package in all_in(&fetched("debian"), "deb") {
        run(Command::new("dpkg")
            .arg("-x")
            .arg(package)
            .arg(place.path()));
    }
    fs::rename(place.path().join("usr/share"), root).expect("the same file system");
}

/// A source that `.ci/install` has fetched. Fails if `name` is missing.
fn fetched(name: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/sites");
    let path = place.join(name);
    assert!(
        path.exists(),
        "{name} has not been fetched: see .ci/install"
    );
    path
}

/// The path of a file beside this one.
fn beside(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/foreign/real_sites").join(name)
}

/// The files in `directory` with this extension. There must be at least one.
fn all_in(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut found: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|it| it == extension))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "nothing in {}", directory.display());
    found
}

fn copy_of(source: &Path, target: &Path) {
    let mut contents = source.as_os_str().to_owned();
    contents.push("/.");
    run(Command::new("cp").arg("-R").arg(contents).arg(target));
}

/// Runs a program, which must succeed.
fn run(command: &mut Command) {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("{program} is not installed: see .ci/install")
        }
        Err(error) => panic!("{program} does not start: {error}"),
    };
    let said = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    assert!(output.status.success(), "{program}: {}", said.concat());
}
