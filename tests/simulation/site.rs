//! The site that the server under simulation serves.

use std::fs;
use std::sync::Arc;

use abide::config::{AccessLogTarget, Config, SiteConfig};
use abide::connection::server_context::ServerContext;
use abide::server::access_log::AccessLog;
use abide::site::Sites;
use tempfile::TempDir;

/// Four files in a temporary directory, and settings so small that every way of sending is used.
pub struct TestSite {
    pub directory: TempDir,
    pub config: Config,
}

pub const SMALL: usize = 100;
pub const MEDIUM: usize = 12_000;
pub const LARGE: usize = 40_000;
pub const HUGE: usize = 300_000;

/// The content of a file of `len` bytes. No part of it looks like a response.
pub fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| b'a' + (i % 23) as u8).collect()
}

impl TestSite {
    pub fn new() -> TestSite {
        let directory = TempDir::new().unwrap();
        let files = [
            ("small", SMALL),
            ("medium", MEDIUM),
            ("large", LARGE),
            ("huge", HUGE),
        ];
        for (name, len) in files {
            fs::write(directory.path().join(name), content(len)).unwrap();
        }
        let mut config = Config {
            site: SiteConfig::at(directory.path()),
            ..Config::default()
        };
        // `small` is copied behind its head, `medium` is sent from memory, the others with sendfile.
        config.cache.bytes = 1 << 20;
        config.cache.file_bytes = 16 * 1024;
        config.limits.body_bytes = 4_096;
        config.access_log.target = Some(AccessLogTarget::Stdout);
        TestSite { directory, config }
    }

    /// Opens the site.
    pub fn stage(self) -> Arc<Stage> {
        let site = Sites::open(&self.config).unwrap();
        let nowhere = AccessLogTarget::File("/dev/null".into());
        Arc::new(Stage {
            access_log: Arc::new(AccessLog::open(&nowhere).unwrap()),
            context: Arc::new(ServerContext::new(self.config, site)),
            directory: self.directory,
        })
    }
}

/// The context and the log that all connections share, and the directory of the site.
pub struct Stage {
    pub context: Arc<ServerContext>,
    pub access_log: Arc<AccessLog>,
    pub directory: TempDir,
}
