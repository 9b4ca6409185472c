//! `[access_log]`: a line for each response.

use std::path::PathBuf;

/// The section `[access_log]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccessLogConfig {
    /// Where the lines go; `--access-log` overrides it. Default: none.
    pub target: Option<AccessLogTarget>,
    /// The format of a line. Default [`AccessLogFormat::Common`].
    pub format: AccessLogFormat,
    /// Whether each line contains the requested host: at its beginning, or as a member of the JSON object.
    /// Default false.
    pub host: bool,
}

/// `access_log.format`: the format of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessLogFormat {
    /// The common log format. Written `"common"`.
    #[default]
    Common,
    /// `Common` with Referer and User-Agent. Written `"combined"`.
    Combined,
    /// `Combined` with the properties of the connection. Written `"extended"`.
    Extended,
    /// A JSON object. Written `"json"`.
    Json,
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Standard output, written `-`.
    Stdout,
    /// A file that is appended to, and reopened on SIGUSR1.
    File(PathBuf),
}
