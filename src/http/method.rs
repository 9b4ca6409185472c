//! Request methods (RFC 9110 section 9).

/// The request method; methods that a server of static files need not distinguish share a variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET: answered.
    Get,
    /// HEAD: answered like GET, without the body.
    Head,
    /// OPTIONS: answered.
    Options,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
    /// CONNECT: the only method with an authority-form target.
    Connect,
    /// TRACE.
    Trace,
    /// PATCH.
    Patch,
    /// Any other method in the IANA registry: not allowed here (405).
    OtherRegistered,
    /// A well-formed method that is not registered: not implemented (501).
    Unknown,
}

/// The methods of the IANA registry without a variant of their own, sorted for reading.
///
/// `*` and `PRI` are registered so that they never become methods (RFC 9110 section 18.2, RFC 9113 section
/// 3.4). They are answered 405 like the others.
const OTHER_REGISTERED: [&[u8]; 32] = [
    b"*",
    b"ACL",
    b"BASELINE-CONTROL",
    b"BIND",
    b"CHECKIN",
    b"CHECKOUT",
    b"COPY",
    b"LABEL",
    b"LINK",
    b"LOCK",
    b"MERGE",
    b"MKACTIVITY",
    b"MKCALENDAR",
    b"MKCOL",
    b"MKREDIRECTREF",
    b"MKWORKSPACE",
    b"MOVE",
    b"ORDERPATCH",
    b"PRI",
    b"PROPFIND",
    b"PROPPATCH",
    b"QUERY",
    b"REBIND",
    b"REPORT",
    b"SEARCH",
    b"UNBIND",
    b"UNCHECKOUT",
    b"UNLINK",
    b"UNLOCK",
    b"UPDATE",
    b"UPDATEREDIRECTREF",
    b"VERSION-CONTROL",
];

impl Method {
    /// Classifies a method token. Methods are case-sensitive (RFC 9110 section 9.1): `get` is
    /// [`Method::Unknown`].
    #[must_use]
    pub fn parse(token: &[u8]) -> Method {
        match token {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"OPTIONS" => Method::Options,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"CONNECT" => Method::Connect,
            b"TRACE" => Method::Trace,
            b"PATCH" => Method::Patch,
            other if OTHER_REGISTERED.contains(&other) => Method::OtherRegistered,
            _ => Method::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_case_sensitive_rfc9110_9_1() {
        assert_eq!(Method::parse(b"GET"), Method::Get);
        assert_eq!(Method::parse(b"get"), Method::Unknown);
        assert_eq!(Method::parse(b"Head"), Method::Unknown);
    }

    #[test]
    fn a_registered_method_is_distinguished_from_an_unknown_one() {
        assert_eq!(Method::parse(b"PROPFIND"), Method::OtherRegistered);
        assert_eq!(Method::parse(b"VERSION-CONTROL"), Method::OtherRegistered);
        assert_eq!(Method::parse(b"BREW"), Method::Unknown);
        assert_eq!(Method::parse(b""), Method::Unknown);
    }

    #[test]
    fn the_reserved_names_are_registered_too_rfc9113_3_4() {
        assert_eq!(Method::parse(b"PRI"), Method::OtherRegistered);
        assert_eq!(Method::parse(b"*"), Method::OtherRegistered);
    }
}
