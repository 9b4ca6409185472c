//! Tests of the types of common extensions.

use super::*;

fn content_type(name: &str) -> String {
    MediaTypes::new(&BTreeMap::new(), UNKNOWN)
        .of(name)
        .to_string()
}

/// The types that browsers and other servers expect. nginx and Apache httpd agree on most. Where they
/// differ or are older than a registration, the table has the registered name.
const EXPECTED: &[(&str, &str)] = &[
    ("text/html; charset=utf-8", "html htm shtml"),
    ("text/css; charset=utf-8", "css"),
    ("text/javascript; charset=utf-8", "js mjs cjs jsx"),
    (
        "text/plain; charset=utf-8",
        "txt text log conf ini c h py rs go java rb hs scala",
    ),
    ("text/markdown; charset=utf-8", "md markdown"),
    ("text/csv; charset=utf-8", "csv"),
    ("text/tab-separated-values; charset=utf-8", "tsv"),
    ("text/calendar; charset=utf-8", "ics"),
    ("text/vcard; charset=utf-8", "vcf vcard"),
    ("text/vtt; charset=utf-8", "vtt"),
    ("text/cache-manifest; charset=utf-8", "appcache"),
    ("text/x-component; charset=utf-8", "htc"),
    ("text/mathml; charset=utf-8", "mml"),
    ("text/x-diff; charset=utf-8", "diff patch"),
    ("application/json", "json map"),
    ("application/ld+json", "jsonld"),
    ("application/geo+json", "geojson"),
    ("application/x-ndjson", "ndjson jsonl"),
    ("application/manifest+json", "webmanifest"),
    ("application/xml", "xml xsl xsd"),
    ("application/xml-dtd", "dtd"),
    ("application/xslt+xml", "xslt"),
    ("application/xhtml+xml", "xhtml"),
    ("application/atom+xml", "atom"),
    ("application/rss+xml", "rss"),
    ("application/wasm", "wasm"),
    ("application/yaml", "yaml yml"),
    ("application/toml", "toml"),
    ("application/sql", "sql"),
    ("application/pdf", "pdf"),
    ("application/rtf", "rtf"),
    ("application/epub+zip", "epub"),
    ("application/postscript", "ps eps ai"),
    ("application/msword", "doc"),
    ("application/vnd.ms-excel", "xls"),
    ("application/vnd.ms-powerpoint", "ppt"),
    (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "docx",
    ),
    (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "xlsx",
    ),
    (
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "pptx",
    ),
    ("application/vnd.oasis.opendocument.text", "odt"),
    ("application/vnd.oasis.opendocument.spreadsheet", "ods"),
    ("application/vnd.oasis.opendocument.presentation", "odp"),
    ("application/vnd.apple.mpegurl", "m3u8"),
    ("application/dash+xml", "mpd"),
    ("application/vnd.ms-fontobject", "eot"),
    ("application/zip", "zip"),
    ("application/gzip", "gz tgz"),
    ("application/zstd", "zst"),
    ("application/x-bzip2", "bz2"),
    ("application/x-xz", "xz"),
    ("application/x-7z-compressed", "7z"),
    ("application/vnd.rar", "rar"),
    ("application/x-tar", "tar"),
    ("application/java-archive", "jar war ear"),
    ("application/vnd.android.package-archive", "apk"),
    ("application/vnd.debian.binary-package", "deb"),
    ("application/x-rpm", "rpm"),
    ("application/x-apple-diskimage", "dmg"),
    ("application/x-iso9660-image", "iso"),
    ("application/octet-stream", "bin exe img msi frobnicate"),
    ("application/x-x509-ca-cert", "crt pem der"),
    ("application/x-bittorrent", "torrent"),
    ("application/x-sh", "sh"),
    ("application/vnd.google-earth.kml+xml", "kml"),
    ("image/png", "png"),
    ("image/apng", "apng"),
    ("image/jpeg", "jpg jpeg"),
    ("image/gif", "gif"),
    ("image/webp", "webp"),
    ("image/avif", "avif"),
    ("image/jxl", "jxl"),
    ("image/heic", "heic"),
    ("image/svg+xml", "svg svgz"),
    ("image/x-icon", "ico cur"),
    ("image/bmp", "bmp"),
    ("image/tiff", "tif tiff"),
    ("image/vnd.adobe.photoshop", "psd"),
    ("font/woff", "woff"),
    ("font/woff2", "woff2"),
    ("font/ttf", "ttf"),
    ("font/otf", "otf"),
    ("font/collection", "ttc"),
    ("audio/mpeg", "mp3"),
    ("audio/mp4", "m4a m4b"),
    ("audio/aac", "aac"),
    ("audio/ogg", "ogg oga opus"),
    ("audio/flac", "flac"),
    ("audio/wav", "wav"),
    ("audio/webm", "weba"),
    ("audio/midi", "mid midi"),
    ("video/mp4", "mp4"),
    ("video/x-m4v", "m4v"),
    ("video/webm", "webm"),
    ("video/ogg", "ogv"),
    ("video/quicktime", "mov"),
    ("video/x-matroska", "mkv"),
    ("video/x-msvideo", "avi"),
    ("video/mpeg", "mpeg mpg"),
    ("video/mp2t", "ts"),
    ("video/3gpp", "3gp"),
    ("model/obj", "obj"),
    ("model/mtl", "mtl"),
    ("model/stl", "stl"),
    ("model/step", "step stp"),
    ("model/vrml", "wrl vrml"),
    ("application/vnd.ms-3mfdocument", "3mf"),
    ("model/gltf-binary", "glb"),
    ("model/gltf+json", "gltf"),
    ("model/vnd.usdz+zip", "usdz"),
];

#[test]
fn every_common_extension_has_the_type_that_is_expected() {
    let mut count = 0;
    for (expected, extensions) in EXPECTED {
        for extension in extensions.split(' ') {
            assert_eq!(
                content_type(&format!("a/b.{extension}")),
                *expected,
                "{extension}"
            );
            count += 1;
        }
    }
    assert!(count >= 100, "{count}");
}

#[test]
fn case_does_not_matter_and_only_the_last_extension_counts() {
    assert_eq!(content_type("a/B.CSS"), "text/css; charset=utf-8");
    assert_eq!(content_type("x.MJS"), "text/javascript; charset=utf-8");
    assert_eq!(content_type("jquery.min.js.map"), "application/json");
    assert_eq!(content_type("site.tar.gz"), "application/gzip");
}

#[test]
fn an_unknown_name_is_octets() {
    for name in ["LICENSE", "archive.", ".css", "a.css/b", "", "Ж.Ж"] {
        assert_eq!(content_type(name), "application/octet-stream", "{name}");
    }
}

#[test]
fn a_name_without_a_known_extension_has_the_default_type() {
    let types = BTreeMap::from([("own".to_owned(), "image/png".to_owned())]);
    let types = MediaTypes::new(&types, "text/plain");
    for name in ["LICENSE", "a.frobnicate", ".profile", "a.html/b", "Ж.Ж"] {
        assert_eq!(&*types.of(name), "text/plain; charset=utf-8", "{name}");
    }
    assert_eq!(&*types.of("a.css"), "text/css; charset=utf-8");
    assert_eq!(&*types.of("a.own"), "image/png");
    // These files really have this type; it is not a default.
    for name in ["a.br", "a.bin", "a.exe", "a.dll", "a.img", "a.msi", "a.msu"] {
        assert!(types.of(name).starts_with("application/"), "{name}");
    }
}

#[test]
fn a_file_that_apple_asks_for_is_json() {
    let types = MediaTypes::new(&BTreeMap::new(), "text/plain");
    let name = "apple-app-site-association";
    assert_eq!(&*types.of(name), "application/json");
    assert_eq!(
        &*types.of(&format!(".well-known/{name}")),
        "application/json"
    );
    assert_ne!(&*types.of(&format!("{name}s")), "application/json");
    assert_ne!(&*types.of(&format!("{name}/a")), "application/json");
}

#[test]
fn a_registered_type_is_known_too() {
    assert_eq!(content_type("a.DXF"), "image/vnd.dxf");
    assert_eq!(content_type("subtitles.ttml"), "application/ttml+xml");
    assert_eq!(content_type("a.m4s"), "video/iso.segment");
    assert_eq!(content_type("a.cql"), "text/cql; charset=utf-8");
}

#[test]
fn a_type_of_the_sites_own_wins() {
    let types: BTreeMap<String, String> = [
        ("js", "application/x-own"),
        ("nfo", "text/plain"),
        ("asc", "text/plain; charset=iso-8859-1"),
        ("md", "TEXT/html"),
    ]
    .into_iter()
    .map(|(extension, media_type)| (extension.to_owned(), media_type.to_owned()))
    .collect();
    let types = MediaTypes::new(&types, UNKNOWN);
    let own = |name| types.of(name).to_string();
    assert_eq!(own("a.JS"), "application/x-own");
    assert_eq!(own("a.nfo"), "text/plain; charset=utf-8");
    assert_eq!(own("a.asc"), "text/plain; charset=iso-8859-1");
    assert_eq!(own("a.md"), "TEXT/html; charset=utf-8");
    assert_eq!(own("a.css"), "text/css; charset=utf-8");
    assert_eq!(own("js"), "application/octet-stream");
}

#[test]
fn types_with_redundancy_are_compressible() {
    let extensions = "html css js mjs json map xml svg wasm webmanifest txt md csv ttf otf eot ico bmp \
         xhtml rss geojson yaml m3u8 gltf obj mtl stl step wrl m3u";
    for extension in extensions.split_whitespace() {
        let media_type = content_type(&format!("a.{extension}"));
        assert_eq!(
            Compressibility::of(&media_type),
            Compressibility::High,
            "{media_type}"
        );
    }
    assert_eq!(
        Compressibility::of("Application/JSON ; a=b"),
        Compressibility::High
    );
    let extensions =
        "png jpg webp avif gif woff woff2 mp4 webm mp3 m4b ogg zip gz zst pdf docx epub 7z 3mf";
    for extension in extensions.split_whitespace() {
        let media_type = content_type(&format!("a.{extension}"));
        assert_eq!(
            Compressibility::of(&media_type),
            Compressibility::Low,
            "{media_type}"
        );
    }
    assert_eq!(Compressibility::of(""), Compressibility::Low);
    for media_type in [UNKNOWN, "Application/Octet-Stream; a=b"] {
        assert_eq!(Compressibility::of(media_type), Compressibility::Unknown);
    }
}

#[test]
fn the_tables_are_sorted_for_their_search() {
    assert!(CORRECTIONS.is_sorted_by(|(one, _), (next, _)| one < next));
    assert!(COMPRESSIBLE.is_sorted_by(|one, next| one < next));
    assert!(REGISTERED_TYPES.is_sorted_by(|(one, _), (next, _)| one < next));
    assert_eq!(REGISTERED_TYPES.len(), REGISTERED.lines().count());
    for (extension, media_type) in REGISTERED_TYPES.iter() {
        assert_eq!(*extension, extension.to_ascii_lowercase());
        // A type that the crate or a correction knows would never be looked up here.
        assert_eq!(builtin(extension), Some(*media_type), "{extension}");
    }
}
