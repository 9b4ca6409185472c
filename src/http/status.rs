//! Status codes (RFC 9110 section 15; 431 is RFC 6585 section 5, 451 is RFC 7725 section 3).

/// A status code: one of the constants below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(u16);

/// Defines each status once, by its constant, code and reason phrase.
macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $reason:literal;)*) => {
        impl Status {
            $($(#[$doc])* pub const $name: Status = Status($code);)*

            /// Every status, in the order of the codes.
            pub const ALL: &[Status] = &[$(Status::$name),*];

            /// The reason phrase for the status line.
            #[must_use]
            pub fn reason(self) -> &'static str {
                match self.0 {
                    $($code => $reason,)*
                    _ => "",
                }
            }

            /// The status line with its CRLF (RFC 9112 section 4). It says HTTP/1.1 to HTTP/1.0 clients too:
            /// it states the server's version (RFC 9110 section 2.5).
            #[must_use]
            pub fn line(self) -> &'static str {
                match self.0 {
                    $($code => concat!("HTTP/1.1 ", $code, " ", $reason, "\r\n"),)*
                    _ => "",
                }
            }
        }
    };
}

statuses! {
    /// A whole file, a listing, the health check, or the response to OPTIONS.
    OK = 200, "OK";
    /// A CORS preflight.
    NO_CONTENT = 204, "No Content";
    /// One or more ranges of a file.
    PARTIAL_CONTENT = 206, "Partial Content";
    /// A directory without its slash; or configured: a permanent redirect.
    MOVED_PERMANENTLY = 301, "Moved Permanently";
    /// Configured: a temporary redirect.
    FOUND = 302, "Found";
    /// Configured: a redirect to another document, to be requested by GET.
    SEE_OTHER = 303, "See Other";
    /// The client's copy is current.
    NOT_MODIFIED = 304, "Not Modified";
    /// Configured: a temporary redirect that keeps the method.
    TEMPORARY_REDIRECT = 307, "Temporary Redirect";
    /// Configured: a permanent redirect that keeps the method.
    PERMANENT_REDIRECT = 308, "Permanent Redirect";
    /// The request breaks the grammar or a limit without a status of its own.
    BAD_REQUEST = 400, "Bad Request";
    /// The file exists, but may not be sent; or configured.
    FORBIDDEN = 403, "Forbidden";
    /// No such file; or configured.
    NOT_FOUND = 404, "Not Found";
    /// A registered method that this server does not support.
    METHOD_NOT_ALLOWED = 405, "Method Not Allowed";
    /// A request began, but did not arrive completely in time.
    REQUEST_TIMEOUT = 408, "Request Timeout";
    /// Configured: the document was removed permanently.
    GONE = 410, "Gone";
    /// If-Match or If-Unmodified-Since does not hold.
    PRECONDITION_FAILED = 412, "Precondition Failed";
    /// The body is over the limit.
    CONTENT_TOO_LARGE = 413, "Content Too Large";
    /// The request target is over the limit.
    URI_TOO_LONG = 414, "URI Too Long";
    /// No requested range overlaps the file.
    RANGE_NOT_SATISFIABLE = 416, "Range Not Satisfiable";
    /// An expectation other than 100-continue.
    EXPECTATION_FAILED = 417, "Expectation Failed";
    /// The site is not served here, or the target is an https URI.
    MISDIRECTED_REQUEST = 421, "Misdirected Request";
    /// The head is over the limit, in bytes or in lines.
    HEADER_FIELDS_TOO_LARGE = 431, "Request Header Fields Too Large";
    /// Configured: the document is withheld for legal reasons.
    UNAVAILABLE_FOR_LEGAL_REASONS = 451, "Unavailable For Legal Reasons";
    /// A file could not be read.
    INTERNAL_SERVER_ERROR = 500, "Internal Server Error";
    /// An unknown method or transfer coding.
    NOT_IMPLEMENTED = 501, "Not Implemented";
    /// A limit is reached, a file is being written, a response takes too long, or the server drains.
    SERVICE_UNAVAILABLE = 503, "Service Unavailable";
    /// A major version other than 1.
    VERSION_NOT_SUPPORTED = 505, "HTTP Version Not Supported";
}

impl Status {
    /// The three-digit code, 100 to 599.
    #[must_use]
    pub fn code(self) -> u16 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_a_code_and_a_phrase() {
        assert_eq!(Status::CONTENT_TOO_LARGE.code(), 413);
        assert_eq!(Status::CONTENT_TOO_LARGE.reason(), "Content Too Large");
        assert_eq!(Status::NOT_MODIFIED.reason(), "Not Modified");
        assert_eq!(Status::NOT_FOUND.line(), "HTTP/1.1 404 Not Found\r\n");
    }
}
