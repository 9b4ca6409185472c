//! The table `[encodings]`: the extensions of file names that stand for a content coding.

use super::value::{Value, ValueData};
use crate::config::{FileCoding, SiteConfig};

/// Reads the coding of an extension, which is in lower case.
///
/// # Errors
/// The extension or the coding is invalid. The error is a message.
pub(super) fn read(
    site: &mut SiteConfig,
    extension: &str,
    value: &Value<'_>,
) -> Result<(), String> {
    if matches!(value.data, ValueData::Table(_)) {
        // TOML reads the dot as a nested table.
        let reason = "an extension with a dot must be in quotes, as in \"wasm.gz\" = \"gzip\"";
        return Err(reason.to_owned());
    }
    if let Some(flaw) = flaw_of_extension(extension) {
        return Err(flaw.to_owned());
    }
    let coding = match value.text() {
        Some("") => None,
        word => {
            let coding = word.and_then(FileCoding::named);
            let meaning = "\"gzip\", \"br\" or \"zstd\", or \"\" for none";
            Some(coding.ok_or_else(|| value.must_be(meaning))?)
        }
    };
    if coding.is_some() && is_archive(extension) {
        let reason = "it is an archive, which clients save as it is: with a coding, a browser \
                      would decode it and keep the name";
        return Err(reason.to_owned());
    }
    site.encodings.insert(extension.to_owned(), coding);
    Ok(())
}

/// The reason why `extension`, in lower case, is not one or more parts of a name with dots between them.
fn flaw_of_extension(extension: &str) -> Option<&'static str> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte);
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(is_letter);
    (!extension.split('.').all(is_part)).then_some(
        "it must be what follows a dot of a file name, without that dot, as in \"gz\" or \"wasm.gz\"",
    )
}

/// Whether files with this extension are compressed archives.
fn is_archive(extension: &str) -> bool {
    let parts: Vec<&str> = extension.split('.').collect();
    matches!(parts[..], [.., "tar", _] | [.., "tgz"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_has_one_or_more_parts() {
        for extension in ["gz", "wasm.gz", "symbols.json.br", "x-gz", "7"] {
            assert_eq!(flaw_of_extension(extension), None, "{extension}");
        }
        for extension in ["", ".gz", "gz.", "a..b", "a/b", "a b", "*"] {
            assert!(flaw_of_extension(extension).is_some(), "{extension}");
        }
    }

    #[test]
    fn an_archive_is_one_by_its_last_two_parts() {
        for (extension, expected) in [
            ("tar.gz", true),
            ("x.tar.br", true),
            ("tgz", true),
            ("gz", false),
            ("tar.js.gz", false),
        ] {
            assert_eq!(is_archive(extension), expected, "{extension}");
        }
    }
}
