//! Sites with files precompressed by real tools and copied by real tools: every sidecar is used.
//!
//! `brotli -k`, `pigz -k` and `zstd -k` give their output about the time of the original, and every way
//! to copy a directory sets other times. A crawl requests each file in each coding, and compares the
//! answer with the sidecar. `.ci/install` installs the tools; if one is missing the test fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::{Server, Site, accepting, decoded, encoding, pattern, text, until};

/// The codings, the suffixes of their files, and the commands that make them.
const CODINGS: [(&str, &str, &[&str]); 3] = [
    ("br", "br", &["brotli", "-k"]),
    ("zstd", "zst", &["zstd", "-q", "-k"]),
    ("gzip", "gz", &["pigz", "-k"]),
];

/// Shell commands that copy the site from `$FROM` to `$TO`, which does not exist.
const WAYS: [(&str, &str); 10] = [
    ("cp -r", "cp -r $FROM $TO"),
    ("cp -a", "cp -a $FROM $TO"),
    (
        "sidecars first",
        "mkdir $TO && cd $FROM && find . -type d -exec mkdir -p $TO/{} \\; \
         && for name in br zst gz; do find . -name \"*.$name\" -exec cp {} $TO/{} \\; ; done \
         && find . -type f ! -name '*.br' ! -name '*.zst' ! -name '*.gz' -exec cp {} $TO/{} \\;",
    ),
    ("tar", "mkdir $TO && tar -C $FROM -c . | tar -C $TO -x"),
    (
        "tar -m",
        "mkdir $TO && tar -C $FROM -c . | tar -C $TO -x -m",
    ),
    ("rsync -a", "rsync -a $FROM/ $TO/"),
    ("rsync without -t", "rsync -r $FROM/ $TO/"),
    ("git clone", "$COMMIT && git clone -q $FROM $TO"),
    (
        "git checkout",
        "$COMMIT && git clone -q $FROM $TO && cd $TO && git rm -rq . && git checkout -q HEAD -- .",
    ),
    (
        "zip",
        "cd $FROM && zip -q -r $TO.zip . -x '.git/*' && unzip -q $TO.zip -d $TO",
    ),
];

const COMMIT: &str = "(cd $FROM && (test -e .git || (git init -q && git add . && \
     git -c user.name=a -c user.email=a@site.example commit -q -m all)))";

/// Writes some fifty files of many types, large and small, without sidecars.
fn write_originals(site: &Site) -> Vec<String> {
    let types = [
        "html", "css", "js", "mjs", "json", "svg", "xml", "txt", "wasm", "map", "pdf", "woff2",
        "tar", "stl", "ico", "csv",
    ];
    let mut names = Vec::new();
    for (at, suffix) in types.into_iter().enumerate() {
        for (directory, bytes) in [("", 700), ("assets/", 20_000), ("assets/deep/", 90_000)] {
            let name = format!("{directory}file{at}.{suffix}");
            let content = match suffix {
                "woff2" => pattern(bytes),
                _ => text(bytes + 37 * at),
            };
            site.write(&name, content);
            names.push(name);
        }
    }
    // One file too large for memory, and one of a byte.
    site.write("large.js", text(400_000));
    site.write("byte.txt", "x");
    names.extend(["large.js".to_owned(), "byte.txt".to_owned()]);
    names
}

fn run(program: &str, arguments: &[&str], from: &Path, to: &Path) {
    let output = Command::new(program)
        .args(arguments)
        .envs([("FROM", from), ("TO", to), ("HOME", from)])
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

/// Runs the tools that make a sidecar in each coding for each file.
fn compress(root: &Path, names: &[String]) {
    for (_, _, command) in CODINGS {
        let paths = names.iter().map(|name| root.join(name));
        let paths: Vec<PathBuf> = paths.collect();
        let mut arguments = command[1..].to_vec();
        arguments.extend(paths.iter().map(|path| path.to_str().expect("UTF-8")));
        run(command[0], &arguments, root, root);
    }
}

/// Requests each file in each coding, until its sidecar has been sent.
fn crawl(way: &str, root: &Path, names: &[String]) {
    let server = Server::of(root);
    let mut client = server.connect();
    let mut ask = |target: &str, coding: &str| {
        let response = client.ask_with("GET", target, &accepting(coding));
        assert_eq!(response.status, 200, "{way}: {target}");
        if !response.persists() {
            client = server.connect();
        }
        response
    };
    for name in names {
        let content = fs::read(root.join(name)).expect("a file");
        for (coding, suffix, _) in CODINGS {
            let target = format!("/{name}");
            let beside = fs::read(root.join(format!("{name}.{suffix}"))).expect("a sidecar");
            until(&format!("{way}: {target} is sent in {coding}"), || {
                let response = ask(&target, coding);
                let is_sent = encoding(&response) == Some(coding) && response.body == beside;
                assert!(is_sent || decoded(&response) == content, "{way}: {target}");
                is_sent
            });
        }
    }
    let said = server.stderr();
    assert!(!said.contains("not sent"), "{way}: {said}");
}

#[test]
#[ignore = "needs brotli, pigz, zstd, rsync, git, zip and unzip"]
fn what_tools_lay_beside_a_file_is_sent_however_it_came_there() {
    let site = Site::empty();
    let names = write_originals(&site);
    compress(&site.root(), &names);
    crawl("in place", &site.root(), &names);
    for (at, (way, script)) in WAYS.into_iter().enumerate() {
        let to = site.beside(&format!("copy{at}"));
        let script = script.replace("$COMMIT", COMMIT);
        run("sh", &["-e", "-c", &script], &site.root(), &to);
        crawl(way, &to, &names);
    }
}

/// An editor, or a tool that builds a part of the site, leaves the sidecars of the last version behind.
#[test]
#[ignore = "needs brotli, pigz and zstd"]
fn what_is_left_of_an_earlier_version_is_not_sent() {
    let site = Site::empty();
    let names = write_originals(&site);
    compress(&site.root(), &names);
    for name in &names {
        let mut content = fs::read(site.path(name)).expect("a file");
        content[0] ^= 1;
        site.replace(name, content);
    }
    let server = Server::of(site.root());
    let mut client = server.connect();
    // Before the sidecars are verified, and after that.
    for _ in 0..3 {
        for name in &names {
            let content = fs::read(site.path(name)).expect("a file");
            for (coding, _, _) in CODINGS {
                let response = client.ask_with("GET", &format!("/{name}"), &accepting(coding));
                assert!(decoded(&response) == content, "{name} in {coding}");
                if !response.persists() {
                    client = server.connect();
                }
            }
        }
    }
    until("the log names all of them", || {
        let said = server.stderr();
        let named = said.lines().filter(|line| line.contains("not sent"));
        named.count() == names.len() * CODINGS.len()
    });
}
