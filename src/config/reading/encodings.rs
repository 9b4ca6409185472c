//! The table `[encodings]`: which endings of file names stand for a content coding.

use toml::de::{DeTable, DeValue};

use super::kinds::Given;
use super::mistakes::ConfigError;
use super::site_draft::SiteDraft;
use super::source::{Source, entries};
use crate::config::FileCoding;

impl SiteDraft {
    /// Takes in the table.
    pub fn read_encodings(
        &mut self,
        source: &Source<'_>,
        table: &DeTable<'_>,
    ) -> Result<(), ConfigError> {
        let mut seen = Vec::new();
        for entry in entries(table) {
            let label = self.label(&format!("encodings.{}", entry.leaf.escape_debug()));
            let value = source.value(entry.value, source.origin(entry.offset));
            let blame = |complaint: &str| Err(value.origin.blame(&label, complaint));
            if matches!(entry.value.get_ref(), DeValue::Table(_)) {
                // TOML takes the dot for a level.
                return blame(
                    "an extension with a dot must be in quotes, as in \"wasm.gz\" = \"gzip\"",
                );
            }
            let extension = entry.leaf.to_ascii_lowercase();
            if let Some(flaw) = flaw_of_extension(&extension) {
                return blame(flaw);
            }
            let coding = match value.given {
                Given::Text("") => None,
                Given::Text(word) if FileCoding::named(word).is_some() => FileCoding::named(word),
                _ => {
                    let complaint = format!(
                        "{} was given, it must be \"gzip\", \"br\" or \"zstd\", or \"\" for none",
                        value.described
                    );
                    return blame(&complaint);
                }
            };
            if coding.is_some() && is_archive(&extension) {
                return blame(
                    "it is an archive, which is there to be saved as it is: a browser would decode \
                     it and keep the name",
                );
            }
            if seen.contains(&extension) {
                return blame("it is given twice, upper and lower case make no difference");
            }
            self.settings.encodings.insert(extension.clone(), coding);
            seen.push(extension);
        }
        Ok(())
    }
}

/// One or more parts of a name, with dots between them. `extension` is in lower case.
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
