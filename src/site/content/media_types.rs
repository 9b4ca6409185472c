//! Media types by file name.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, LazyLock, PoisonError, RwLock, RwLockReadGuard};

/// Types that take precedence over those of `mime_guess`: newer registrations with IANA, and types on which
/// browsers and other servers agree. Extensions in lower case, sorted.
const CORRECTIONS: &[(&str, &str)] = &[
    ("adoc", "text/asciidoc"),
    ("afp", "application/vnd.afpc.modca"),
    ("avif", "image/avif"),
    ("bib", "text/plain"),
    ("boo", "text/plain"),
    ("br", "application/octet-stream"),
    ("c++", "text/plain"),
    ("cab", "application/vnd.ms-cab-compressed"),
    ("car", "application/vnd.ipld.car"),
    ("cbr", "application/vnd.comicbook-rar"),
    ("cbz", "application/vnd.comicbook+zip"),
    ("cer", "application/pkix-cert"),
    ("cjs", "text/javascript"),
    ("class", "application/java-vm"),
    ("cls", "text/plain"),
    ("cod", "application/vnd.rim.cod"),
    ("cst", "application/vnd.commonspace"),
    ("cur", "image/x-icon"),
    ("d", "text/plain"),
    ("deb", "application/vnd.debian.binary-package"),
    ("dif", "video/dv"),
    ("diff", "text/x-diff"),
    ("dmg", "application/x-apple-diskimage"),
    ("dtd", "application/xml-dtd"),
    ("dv", "video/dv"),
    ("dwf", "model/vnd.dwf"),
    ("dwg", "image/vnd.dwg"),
    ("dxf", "image/vnd.dxf"),
    ("emf", "image/emf"),
    ("fdf", "application/fdf"),
    ("go", "text/plain"),
    ("h++", "text/plain"),
    ("hs", "text/plain"),
    ("iso", "application/x-iso9660-image"),
    ("java", "text/plain"),
    ("jsonl", "application/x-ndjson"),
    ("lhs", "text/plain"),
    ("list3820", "application/vnd.afpc.modca"),
    ("listafp", "application/vnd.afpc.modca"),
    ("ltx", "text/plain"),
    ("ly", "text/plain"),
    ("m3u", "audio/mpegurl"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4a", "audio/mp4"),
    ("m4b", "audio/mp4"),
    ("map", "application/json"),
    ("mid", "audio/midi"),
    ("midi", "audio/midi"),
    ("mjs", "text/javascript"),
    ("mlp", "audio/vnd.dolby.mlp"),
    ("mmf", "application/vnd.smaf"),
    ("moc", "text/plain"),
    ("mpf", "text/vnd.ms-mediapackage"),
    ("nb", "application/vnd.wolfram.mathematica"),
    ("ndjson", "application/x-ndjson"),
    ("obj", "model/obj"),
    ("odb", "application/vnd.oasis.opendocument.base"),
    ("opus", "audio/ogg"),
    ("otf", "font/otf"),
    ("p12", "application/pkcs12"),
    ("patch", "text/x-diff"),
    ("pcx", "image/vnd.zbrush.pcx"),
    ("pfx", "application/pkcs12"),
    ("pgn", "application/vnd.chess-pgn"),
    ("pls", "audio/x-scpls"),
    ("pml", "application/vnd.ctc-posml"),
    ("psd", "image/vnd.adobe.photoshop"),
    ("qxd", "application/vnd.quark.quarkxpress"),
    ("rar", "application/vnd.rar"),
    ("rb", "text/plain"),
    ("roff", "text/troff"),
    ("rpm", "application/x-rpm"),
    ("rs", "text/plain"),
    ("rst", "text/x-rst"),
    ("scala", "text/plain"),
    ("scd", "application/vnd.scribus"),
    ("scr", "application/octet-stream"),
    ("sid", "audio/prs.sid"),
    ("skp", "application/vnd.koan"),
    ("smv", "audio/SMV"),
    ("sql", "application/sql"),
    ("step", "model/step"),
    ("stl", "model/stl"),
    ("stp", "model/step"),
    ("sty", "text/plain"),
    ("t", "text/troff"),
    ("tgz", "application/gzip"),
    ("toml", "application/toml"),
    ("tr", "text/troff"),
    ("ts", "video/mp2t"),
    ("udeb", "application/vnd.debian.binary-package"),
    ("usdz", "model/vnd.usdz+zip"),
    ("uvu", "video/vnd.dece.mp4"),
    ("uvvu", "video/vnd.dece.mp4"),
    ("vbk", "audio/vnd.nortel.vbk"),
    ("vcf", "text/vcard"),
    ("vcs", "text/x-vcalendar"),
    ("wgsl", "text/wgsl"),
    ("wmf", "image/wmf"),
    ("woff", "font/woff"),
    ("wrl", "model/vrml"),
    ("wsdl", "application/wsdl+xml"),
    ("x3db", "model/x3d+fastinfoset"),
    ("x3dv", "model/x3d-vrml"),
    ("x3dvz", "model/x3d-vrml"),
    ("xfdf", "application/xfdf"),
    ("xlf", "application/xliff+xml"),
    ("xsf", "application/prs.xsf+xml"),
    ("xslt", "application/xslt+xml"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("zst", "application/zstd"),
];

/// Types outside `text/` whose content compresses well. Pictures, sound, films and archives are compressed
/// already.
const COMPRESSIBLE: &[&str] = &[
    "application/cwl",
    "application/dash+xml",
    "application/express",
    "application/javascript",
    "application/json",
    "application/json5",
    "application/p21",
    "application/postscript",
    "application/rtf",
    "application/sql",
    "application/toml",
    "application/vnd.apple.mpegurl",
    "application/vnd.chess-pgn",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-csh",
    "application/x-httpd-php",
    "application/x-ndjson",
    "application/x-perl",
    "application/x-sh",
    "application/x-subrip",
    "application/x-tcl",
    "application/x-tex",
    "application/xml",
    "application/xml-dtd",
    "application/yaml",
    "audio/mpegurl",
    "font/collection",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/emf",
    "image/vnd.dxf",
    "image/vnd.microsoft.icon",
    "image/wmf",
    "image/x-icon",
    "image/x-ms-bmp",
    "model/gltf-binary",
    "model/mtl",
    "model/obj",
    "model/step",
    "model/stl",
    "model/vnd.usda",
    "model/vrml",
    "model/x3d-vrml",
];

/// File names whose type does not follow from an extension. Apple's devices accept the file of that name,
/// in the root or in `/.well-known/`, only as JSON.
const NAMES: &[(&str, &str)] = &[("apple-app-site-association", "application/json")];

/// Types that are registered with IANA and unknown to `mime_guess`. Each line has an extension in lower
/// case, a space and a type; the lines are sorted.
const REGISTERED: &str = include_str!("media_types/registered.types");
static REGISTERED_TYPES: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| {
    let lines = REGISTERED.lines();
    lines.filter_map(|line| line.split_once(' ')).collect()
});

/// The type of unknown content. No browser renders it.
const UNKNOWN: &str = "application/octet-stream";

/// The largest number of extensions that are remembered for a site. Few sites have so many.
const MAX_ASKED: usize = 256;

/// The media types of the files of one site.
///
/// The values go into the head of a response unchanged, so the configuration must have checked them.
#[derive(Debug)]
pub struct MediaTypes {
    /// The site's own types, which take precedence: by extension in lower case, without the dot.
    own: HashMap<String, String>,
    /// The type of a name without a known extension.
    default: Arc<str>,
    /// The types of extensions that were asked for, as they are spelt.
    asked: RwLock<HashMap<Box<str>, Arc<str>>>,
}

impl MediaTypes {
    /// The types of a site with these `types` and this `default_type`.
    #[must_use]
    pub fn new(types: &BTreeMap<String, String>, default_type: &str) -> MediaTypes {
        let own = types.iter();
        MediaTypes {
            own: own
                .map(|(extension, media_type)| (extension.clone(), media_type.clone()))
                .collect(),
            default: with_charset(default_type),
            asked: RwLock::default(),
        }
    }

    /// The value of Content-Type for a file called `name` (RFC 9110 section 8.3).
    ///
    /// Text without parameters is declared as UTF-8, which sites are written in; otherwise browsers guess.
    /// JSON is UTF-8 by definition (RFC 8259 section 8.1), and XML documents declare their encoding
    /// themselves.
    #[must_use]
    pub fn of(&self, name: &str) -> Arc<str> {
        let asked = spelt_extension(name);
        if let Some(extension) = asked
            && let Some(known) = self.read_asked().get(extension)
        {
            return Arc::clone(known);
        }
        let Some(known) = self.known(name) else {
            return Arc::clone(&self.default);
        };
        if let Some(extension) = asked {
            let mut asked = self.asked.write().unwrap_or_else(PoisonError::into_inner);
            if asked.len() < MAX_ASKED {
                asked.insert(extension.into(), Arc::clone(&known));
            }
        }
        known
    }

    fn read_asked(&self) -> RwLockReadGuard<'_, HashMap<Box<str>, Arc<str>>> {
        self.asked.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Like [`of`](MediaTypes::of), but `None` if the name has no extension or an unknown one.
    #[must_use]
    pub fn known(&self, name: &str) -> Option<Arc<str>> {
        let extension = extension(name);
        let own = extension.as_deref().and_then(|it| self.own.get(it));
        let media_type = own
            .map(String::as_str)
            .or_else(|| by_name(name))
            .or_else(|| extension.as_deref().and_then(builtin));
        media_type.map(with_charset)
    }
}

/// Whether content compresses well, according to its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compressibility {
    /// The content compresses well.
    High,
    /// The content is compressed already.
    Low,
    /// The type says nothing about the content, like the type of an unknown extension.
    Unknown,
}

impl Compressibility {
    /// All values.
    pub const ALL: [Compressibility; 3] = [
        Compressibility::High,
        Compressibility::Low,
        Compressibility::Unknown,
    ];

    /// The compressibility of content with this Content-Type, which may have parameters.
    #[must_use]
    pub fn of(content_type: &str) -> Compressibility {
        let essence = content_type.split(';').next().unwrap_or("").trim_end();
        let essence = essence.to_ascii_lowercase();
        let is_compressible = essence.starts_with("text/")
            || essence.ends_with("+json")
            || essence.ends_with("+xml")
            || COMPRESSIBLE.binary_search(&essence.as_str()).is_ok();
        if is_compressible {
            Compressibility::High
        } else if essence == UNKNOWN {
            Compressibility::Unknown
        } else {
            Compressibility::Low
        }
    }
}

/// The part of a name after its last dot, in lower case. A name that begins with its only dot has none.
fn extension(name: &str) -> Option<String> {
    Some(Path::new(name).extension()?.to_str()?.to_ascii_lowercase())
}

/// The extension of a name as it is spelt. `None` also for some names that have one.
fn spelt_extension(name: &str) -> Option<&str> {
    let (stem, extension) = name.rsplit_once('.')?;
    let is_plain = extension.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_plain && stem.ends_with(|last: char| last.is_ascii_alphanumeric())).then_some(extension)
}

fn by_name(name: &str) -> Option<&'static str> {
    let name = Path::new(name).file_name()?;
    let mut names = NAMES.iter();
    names.find_map(|(other, media_type)| (name == *other).then_some(*media_type))
}

fn builtin(extension: &str) -> Option<&'static str> {
    if let Some(media_type) = find(CORRECTIONS, extension) {
        return Some(media_type);
    }
    match mime_guess::from_ext(extension).first_raw() {
        // RFC 9239 made text/javascript the only name of this type.
        Some("application/javascript") => Some("text/javascript"),
        // With a charset, text/xml would override the declaration of the document.
        Some("text/xml") => Some("application/xml"),
        None => find(&REGISTERED_TYPES, extension),
        known => known,
    }
}

fn find(table: &[(&'static str, &'static str)], extension: &str) -> Option<&'static str> {
    let index = table.binary_search_by_key(&extension, |(extension, _)| extension);
    Some(table.get(index.ok()?)?.1)
}

fn with_charset(media_type: &str) -> Arc<str> {
    let is_bare_text = media_type
        .get(..5)
        .is_some_and(|main| main.eq_ignore_ascii_case("text/"))
        && !media_type.contains(';');
    if is_bare_text {
        [media_type, "; charset=utf-8"].concat().into()
    } else {
        media_type.into()
    }
}

#[cfg(test)]
mod tests;
