//! Files that are not TOML, or cannot be read.

use std::fs;
use std::path::Path;

use abide::config::Config;

use super::{ConfigFile, refusal};

#[test]
fn a_key_that_is_given_twice_is_refused() {
    assert_eq!(
        refusal("workers = 1\n[keep_alive]\ntimeout = 5\ngrace = 1\ntimeout = 6\n"),
        "abide.toml:5: keep_alive.timeout: it is given twice"
    );
    assert_eq!(
        refusal("workers = 1\nworkers = 2"),
        "abide.toml:2: workers: it is given twice"
    );
    assert_eq!(
        refusal("[cache]\nbytes = 0\n[limits]\n[cache]\nrevalidate = 1"),
        "abide.toml:4: cache: it is given twice"
    );
}

#[test]
fn what_is_not_toml_is_refused_with_its_line() {
    for text in [
        "workers = 1\nworkers 4\n",
        "\n[keep_alive\n",
        "a = 1\nroot = www\n",
    ] {
        let error = refusal(text);
        assert!(
            error.starts_with("abide.toml:2: this is not TOML: "),
            "{error}"
        );
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let file = ConfigFile::new("");
    fs::write(file.path(), b"root = \"\xff\"").unwrap();
    let error = Config::load(&file.path()).unwrap_err().to_string();
    assert!(
        error.ends_with("abide.toml: it is not UTF-8 text"),
        "{error}"
    );
    let error = Config::load(Path::new("no/such.toml"))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("no/such.toml: cannot be read: "),
        "{error}"
    );
    let error = Config::load(file.directory.path()).unwrap_err().to_string();
    assert!(error.contains(": cannot be read: "), "{error}");
}
