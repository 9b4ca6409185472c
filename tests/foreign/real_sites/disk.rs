//! The expected file for a URL, determined from the file system alone.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// The characters of file names that a path in a URL must escape.
const ESCAPED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The file for the path of a URL, which may have a query. If the site `has_clean_urls`, the path of a page
/// may lack its suffix. A compressed file may replace a missing one: Debian compresses some pages, and
/// links to their uncompressed names.
pub fn file_at(root: &Path, path: &str, has_clean_urls: bool) -> Option<PathBuf> {
    let path = path.split('?').next().unwrap_or_default();
    let name: Vec<u8> = percent_decode_str(path.trim_start_matches('/')).collect();
    let file = root.join(std::ffi::OsString::from_vec(name));
    let page = || {
        let mut page = file.clone().into_os_string();
        page.push(".html");
        PathBuf::from(page)
    };
    let file = match file.is_dir() {
        true => file.join("index.html"),
        false if has_clean_urls && !file.exists() => page(),
        false => file,
    };
    let mut compressed = file.clone().into_os_string();
    compressed.push(".gz");
    let compressed = PathBuf::from(compressed);
    [file, compressed].into_iter().find(|file| file.is_file())
}

/// The content that is expected for a path, where `file` is the result of [`file_at`].
pub fn content(path: &str, file: &Path) -> Vec<u8> {
    let bytes = fs::read(file).expect("a file");
    let is_encoded = file.extension().is_some_and(|it| it == "gz") && !path.ends_with(".gz");
    if !is_encoded {
        return bytes;
    }
    let mut content = Vec::new();
    let mut decoder = flate2::read::MultiGzDecoder::new(&bytes[..]);
    decoder.read_to_end(&mut content).expect("gzip");
    content
}

/// The URL path of the file `name` below the root.
pub fn target(name: &Path) -> String {
    format!("/{}", percent_encode(name.as_os_str().as_bytes(), &ESCAPED))
}

/// Whether the name of the file, or of a directory above it, begins with a dot.
pub fn is_hidden(name: &Path) -> bool {
    name.iter().any(|part| part.as_bytes().starts_with(b"."))
}

/// All HTML files below `directory`.
pub fn pages(directory: &Path) -> BTreeSet<PathBuf> {
    let files = files(directory).into_iter();
    files
        .filter(|name| name.extension().is_some_and(|it| it == "html"))
        .map(|name| directory.join(name))
        .collect()
}

/// The names of all files below `root`, sorted, with links to files. Links to directories are not
/// followed, since they lead to files that are listed already.
pub fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(root, Path::new(""), &mut found);
    found.sort();
    found
}

fn collect(root: &Path, below: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root.join(below)).expect("a directory") {
        let entry = entry.expect("an entry");
        let name = below.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            collect(root, &name, found);
        } else if root.join(&name).is_file() {
            found.push(name);
        }
    }
}
