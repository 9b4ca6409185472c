//! Media types by file name.

use std::collections::HashMap;
use std::path::Path;

/// Types that win over those of `mime_guess`: names registered with IANA since, or what browsers and
/// the other servers agree on. Extensions in lower case, sorted.
const CORRECTIONS: &[(&str, &str)] = &[
    ("adoc", "text/asciidoc"),
    ("avif", "image/avif"),
    ("cjs", "text/javascript"),
    ("cur", "image/x-icon"),
    ("deb", "application/vnd.debian.binary-package"),
    ("diff", "text/x-diff"),
    ("dmg", "application/x-apple-diskimage"),
    ("dtd", "application/xml-dtd"),
    ("go", "text/plain"),
    ("iso", "application/x-iso9660-image"),
    ("java", "text/plain"),
    ("jsonl", "application/x-ndjson"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4a", "audio/mp4"),
    ("map", "application/json"),
    ("mid", "audio/midi"),
    ("midi", "audio/midi"),
    ("mjs", "text/javascript"),
    ("ndjson", "application/x-ndjson"),
    ("opus", "audio/ogg"),
    ("otf", "font/otf"),
    ("patch", "text/x-diff"),
    ("psd", "image/vnd.adobe.photoshop"),
    ("rar", "application/vnd.rar"),
    ("rpm", "application/x-rpm"),
    ("rs", "text/plain"),
    ("rst", "text/x-rst"),
    ("sql", "application/sql"),
    ("tgz", "application/gzip"),
    ("toml", "application/toml"),
    ("ts", "video/mp2t"),
    ("usdz", "model/vnd.usdz+zip"),
    ("vcf", "text/vcard"),
    ("wgsl", "text/wgsl"),
    ("woff", "font/woff"),
    ("xslt", "application/xslt+xml"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("zst", "application/zstd"),
];

/// Types outside `text/` whose content has redundancy that a content coding can take out.
/// Pictures, sound, films and archives have none left.
const COMPRESSIBLE: &[&str] = &[
    "application/dash+xml",
    "application/javascript",
    "application/json",
    "application/json5",
    "application/postscript",
    "application/rtf",
    "application/sql",
    "application/toml",
    "application/vnd.apple.mpegurl",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-httpd-php",
    "application/x-ndjson",
    "application/x-sh",
    "application/x-subrip",
    "application/x-tex",
    "application/xml",
    "application/xml-dtd",
    "application/yaml",
    "font/collection",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/vnd.microsoft.icon",
    "image/x-icon",
    "image/x-ms-bmp",
    "model/gltf-binary",
];

/// The value of Content-Type for a file called `name` (RFC 9110 section 8.3).
///
/// Text is declared as UTF-8, which is what sites are written in; without the parameter browsers
/// guess. JSON is UTF-8 by definition (RFC 8259 section 8.1), and XML says for itself what it is. A
/// name without a known extension is `application/octet-stream`, which no browser renders.
#[must_use]
pub fn content_type(name: &str) -> String {
    match extension(name) {
        Some(extension) => builtin(&extension),
        None => mime_guess::mime::APPLICATION_OCTET_STREAM.to_string(),
    }
}

/// The same, with types of the site's own, which win: by extension in lower case, without the dot.
/// A type of text that is given without parameters is declared as UTF-8 too. The values go into the
/// answer's head as they are, so they must have been checked.
#[must_use]
pub fn content_type_among(name: &str, types: &HashMap<String, String>) -> String {
    let own = extension(name).and_then(|extension| types.get(&extension));
    match own {
        Some(media_type) => with_charset(media_type),
        None => content_type(name),
    }
}

/// Whether content of this type is worth compressing. `content_type` may have parameters.
#[must_use]
pub fn is_compressible(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or("").trim_end();
    let essence = essence.to_ascii_lowercase();
    essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || COMPRESSIBLE.binary_search(&essence.as_str()).is_ok()
}

/// Whether this type says nothing of the content, as that of a name without a known extension.
#[must_use]
pub fn is_opaque(content_type: &str) -> bool {
    content_type == mime_guess::mime::APPLICATION_OCTET_STREAM.as_ref()
}

/// What follows the last dot of a name, in lower case. A name that begins with its only dot has none.
fn extension(name: &str) -> Option<String> {
    Some(Path::new(name).extension()?.to_str()?.to_ascii_lowercase())
}

fn builtin(extension: &str) -> String {
    if let Ok(place) = CORRECTIONS.binary_search_by_key(&extension, |(extension, _)| extension) {
        return with_charset(CORRECTIONS[place].1);
    }
    let guess = mime_guess::from_ext(extension).first_or_octet_stream();
    match guess.essence_str() {
        // RFC 9239 made text/javascript the one name of it.
        "application/javascript" => with_charset("text/javascript"),
        // With a charset text/xml would overrule the document's own declaration.
        "text/xml" => "application/xml".to_owned(),
        essence => with_charset(essence),
    }
}

fn with_charset(media_type: &str) -> String {
    let is_bare_text = media_type
        .get(..5)
        .is_some_and(|main| main.eq_ignore_ascii_case("text/"))
        && !media_type.contains(';');
    if is_bare_text {
        format!("{media_type}; charset=utf-8")
    } else {
        media_type.to_owned()
    }
}

#[cfg(test)]
mod tests;
