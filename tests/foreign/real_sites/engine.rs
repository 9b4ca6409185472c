//! Games in headless Chromium: like Unity's and Godot's, a loader requests compressed files by their own
//! names, and the browser decodes them.

use serde_json::json;

use super::devtools::visit;
use support::{Launch, Site};

/// A module with one function, `answer`, which returns 42.
const WASM: &[u8] = b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0\
    \x07\x0a\x01\x06answer\0\0\x0a\x06\x01\x04\0\x41\x2a\x0b";

const PAGE: &str = "<!doctype html><link rel=icon href=data:,><link rel=stylesheet href=style.css>\
    <img id=logo src=logo.svgz><script src=Build/x.loader.js></script>";

/// Like Unity's loader: the framework as a script, the data and the module as streams.
const LOADER: &str = "
    const script = (src) => new Promise((resolve, reject) => {
        const element = document.createElement('script');
        element.src = src;
        element.onload = resolve;
        element.onerror = reject;
        document.head.append(element);
    });
    const run = async (response) =>
        (await WebAssembly.instantiateStreaming(response)).instance.exports.answer();
    window.loaded = (async () => {
        await script('Build/x.framework.js.br');
        const data = await (await fetch('Build/x.data.br')).text();
        const answers = [await run(fetch('Build/x.wasm.br')), await run(fetch('Build/y.wasm.gz'))];
        const logo = document.getElementById('logo');
        await logo.decode();
        const color = getComputedStyle(document.body).color;
        return { framework: window.framework, data, answers, logo: logo.naturalWidth, color };
    })();";

fn brotli(content: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    let parameters = brotli::enc::BrotliEncoderParams::default();
    brotli::BrotliCompress(&mut &content[..], &mut encoded, &parameters).expect("brotli");
    encoded
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    let mut encoder = flate2::read::GzEncoder::new(content, flate2::Compression::best());
    std::io::Read::read_to_end(&mut encoder, &mut encoded).expect("gzip");
    encoded
}

#[test]
#[ignore = "needs chromium"]
fn a_game_loads_its_compressed_files_by_name() {
    let site = Site::empty();
    site.write("index.html", PAGE);
    site.write("Build/x.loader.js", LOADER);
    site.write(
        "Build/x.framework.js.br",
        brotli(b"window.framework = 'ready';"),
    );
    site.write("Build/x.data.br", brotli(b"levels"));
    site.write("Build/x.wasm.br", brotli(WASM));
    site.write("Build/y.wasm.gz", gzip(WASM));
    site.write("style.css.br", brotli(b"body { color: rgb(1, 2, 3) }"));
    let picture = b"<svg xmlns='http://www.w3.org/2000/svg' width='24' height='24'/>";
    site.write("logo.svgz", gzip(picture));
    let config = "[encodings]\nbr = \"br\"\ngz = \"gzip\"\n";
    let server = Launch::of(site.root()).config(config).start();
    let visit = visit(&format!("http://{}/", server.address()), "window.loaded");
    assert!(visit.complaints.is_empty(), "{:#?}", visit.complaints);
    let done = json!({
        "framework": "ready", "data": "levels", "answers": [42, 42], "logo": 24,
        "color": "rgb(1, 2, 3)",
    });
    assert_eq!(visit.value, done);
    for (url, status) in &visit.answers {
        assert_eq!(*status, 200, "{url}");
    }
}
