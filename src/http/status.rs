//! Status codes (RFC 9110 section 15; 431 is RFC 6585 section 5, 451 is RFC 7725 section 3).

/// A status code; one of the constants below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(u16);

/// Writes each code once: its constant and its reason phrase.
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

            /// The status line with its CRLF (RFC 9112 section 4). It always says HTTP/1.1, to an
            /// HTTP/1.0 client too: it states our own version (RFC 9110 section 2.5).
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
    /// An interim answer: the client may send the body.
    /// The answer to GET, HEAD and OPTIONS.
    OK = 200, "OK";
    /// The answer to a preflight of the CORS protocol.
    NO_CONTENT = 204, "No Content";
    /// One or more ranges of a file.
    PARTIAL_CONTENT = 206, "Partial Content";
    /// A directory without its slash.
    MOVED_PERMANENTLY = 301, "Moved Permanently";
    /// Configured: elsewhere for the time being.
    FOUND = 302, "Found";
    /// Configured: something else to GET.
    SEE_OTHER = 303, "See Other";
    /// The client's copy is current.
    NOT_MODIFIED = 304, "Not Modified";
    /// Configured: elsewhere for the time being, by the same method.
    TEMPORARY_REDIRECT = 307, "Temporary Redirect";
    /// Configured: elsewhere for good, by the same method.
    PERMANENT_REDIRECT = 308, "Permanent Redirect";
    /// The request breaks the grammar.
    BAD_REQUEST = 400, "Bad Request";
    /// The file exists and may not be read.
    FORBIDDEN = 403, "Forbidden";
    /// No such file.
    NOT_FOUND = 404, "Not Found";
    /// A registered method that a static site has no use for.
    METHOD_NOT_ALLOWED = 405, "Method Not Allowed";
    /// A request began and did not end in time.
    REQUEST_TIMEOUT = 408, "Request Timeout";
    /// Configured: the document was here and will not come back.
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
    /// The request is for a site that is not served here.
    MISDIRECTED_REQUEST = 421, "Misdirected Request";
    /// The head is over the limit, in bytes or in lines.
    HEADER_FIELDS_TOO_LARGE = 431, "Request Header Fields Too Large";
    /// Configured: the law forbids to show the document.
    UNAVAILABLE_FOR_LEGAL_REASONS = 451, "Unavailable For Legal Reasons";
    /// The server failed.
    INTERNAL_SERVER_ERROR = 500, "Internal Server Error";
    /// An unknown method or transfer coding.
    NOT_IMPLEMENTED = 501, "Not Implemented";
    /// Too many connections.
    SERVICE_UNAVAILABLE = 503, "ServerContext Unavailable";
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
    fn a_status_knows_its_code_and_its_phrase() {
        assert_eq!(Status::CONTENT_TOO_LARGE.code(), 413);
        assert_eq!(Status::CONTENT_TOO_LARGE.reason(), "Content Too Large");
        assert_eq!(Status::NOT_MODIFIED.reason(), "Not Modified");
        assert_eq!(Status::NOT_FOUND.line(), "HTTP/1.1 404 Not Found\r\n");
    }
}
