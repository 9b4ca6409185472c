//! The command line, taken in after the file.

use std::path::PathBuf;

use super::config_draft::ConfigDraft;
use super::keys;
use super::mistakes::Origin;
use super::site_keys::EMPTY_ROOT;
use super::value::{Given, Value};
use crate::config::AccessLogTarget;

/// The values of the command line as they were written: they are checked with the file's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// The positional ROOT.
    pub root: Option<PathBuf>,
    /// `--listen`, each of them. If there are any, they replace the file's list.
    pub listen: Vec<String>,
    /// `--workers`
    pub workers: Option<String>,
    /// `--keep-alive-timeout`, in seconds.
    pub keep_alive_timeout: Option<String>,
    /// `--max-requests`
    pub max_requests: Option<String>,
    /// `--access-log`: a path, or `-` for standard output.
    pub access_log: Option<PathBuf>,
}

impl Flags {
    /// The flags for whole numbers, with their keys.
    fn numbers(&self) -> [(&'static str, &'static str, Option<&str>); 3] {
        let timeout = self.keep_alive_timeout.as_deref();
        let max_requests = self.max_requests.as_deref();
        [
            ("--workers", "workers", self.workers.as_deref()),
            ("--keep-alive-timeout", "keep_alive.timeout", timeout),
            ("--max-requests", "keep_alive.max_requests", max_requests),
        ]
    }
}

impl ConfigDraft {
    /// Lets the command line win over what is there.
    pub fn apply_flags(&mut self, flags: &Flags) {
        for (flag, name, text) in flags.numbers() {
            if let Some(text) = text {
                self.set_integer(name, text, Origin::Flag(flag));
            }
        }
        if let (false, Some(key)) = (flags.listen.is_empty(), keys::named("listen")) {
            let value = |given| Value {
                given,
                written: "",
                origin: Origin::Flag("--listen"),
            };
            let texts = flags.listen.iter();
            let items = texts.map(|text| value(Given::Text(text.into())));
            self.general.set(key, &value(Given::List(items.collect())));
        }
        // The paths do not go through the tables of keys: they need not be UTF-8.
        if let Some(path) = &flags.root {
            self.site.draft.settings.root = path.clone();
            self.site.draft.remember("root", Origin::Flag("ROOT"));
            if path.as_os_str().is_empty() {
                self.site.draft.blame("root", EMPTY_ROOT);
            }
        }
        if let Some(path) = &flags.access_log {
            let name = "access_log.path";
            self.general.settings.access_log.target = Some(match path.to_str() {
                Some("-") => AccessLogTarget::Stdout,
                _ => AccessLogTarget::File(path.clone()),
            });
            self.general.remember(name, Origin::Flag("--access-log"));
            if path.as_os_str().is_empty() {
                let complaint = "the path is empty, it must be a file or - for standard output";
                self.general.blame(name, complaint);
            }
        }
    }

    /// Sets a whole number that was written in decimal.
    fn set_integer(&mut self, name: &str, text: &str, origin: Origin) {
        let Some(key) = keys::named(name) else {
            return;
        };
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let complaint = format!("{text:?} is not a number, it must be {}", key.expectation());
            return self.general.mistakes.push(origin.blame(name, complaint));
        }
        let value = Value {
            given: Given::Integer(text.parse().ok()),
            written: text,
            origin,
        };
        self.general.set(key, &value);
    }
}
