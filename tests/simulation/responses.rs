//! Reads a stream of responses (RFC 9112 section 6.3) without using any code of the server.

/// One response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub status: u16,
    /// Names in lower case.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Received {
    /// The value of a field that may occur at most once.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(other, _)| other == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} comes twice: {self:?}");
        value
    }

    /// The number of further requests that `Keep-Alive` allows; `None` if the connection ends.
    pub fn max(&self) -> Option<u32> {
        let Some(keep_alive) = self.field("keep-alive") else {
            assert_eq!(self.field("connection"), Some("close"), "{self:?}");
            return None;
        };
        assert_eq!(self.field("connection"), Some("keep-alive"), "{self:?}");
        let (timeout, max) = keep_alive.split_once(", ").expect("two parameters");
        assert!(
            timeout.starts_with("timeout="),
            "timeout comes first: {keep_alive}"
        );
        Some(
            max.strip_prefix("max=")
                .expect("max")
                .parse()
                .expect("a number"),
        )
    }
}

/// How to interpret a response without the bytes of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadRequests<'a> {
    /// The n-th final response answers HEAD if the n-th value is true; further ones do not.
    Known(&'a [bool]),
    /// Not known: a response may have no body if its bytes are followed by another response, or by nothing.
    Unknown,
}

/// Reads `bytes` to their end.
///
/// # Errors
/// A description of the fault. An incomplete response is one.
pub fn read_all(bytes: &[u8], head_requests: HeadRequests<'_>) -> Result<Vec<Received>, String> {
    let mut rest = bytes;
    let mut responses: Vec<Received> = Vec::new();
    let mut finals = 0;
    while !rest.is_empty() {
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.ok_or_else(|| format!("a head without an end: {rest:?}"))?;
        let mut response = read_head(&rest[..end])?;
        rest = &rest[end + 4..];
        if response.status >= 200 {
            let len = body_len(&response)?;
            let has_body = match head_requests {
                HeadRequests::Known(heads) => !heads.get(finals).copied().unwrap_or(false),
                HeadRequests::Unknown => !rest.is_empty() && !rest.starts_with(b"HTTP/1.1 "),
            };
            if has_body {
                if len > rest.len() {
                    return Err(format!("{} bytes of a body of {len}", rest.len()));
                }
                response.body = rest[..len].to_vec();
                rest = &rest[len..];
            }
            finals += 1;
        }
        responses.push(response);
    }
    Ok(responses)
}

/// The final responses among those in `bytes`.
pub fn finals(bytes: &[u8], head_requests: HeadRequests<'_>) -> Vec<Received> {
    let responses = read_all(bytes, head_requests).unwrap_or_else(|error| panic!("{error}"));
    responses
        .into_iter()
        .filter(|response| response.status >= 200)
        .collect()
}

/// The only response in `bytes`, to a request other than HEAD.
pub fn only(bytes: &[u8]) -> Received {
    let mut responses = finals(bytes, HeadRequests::Known(&[]));
    assert_eq!(responses.len(), 1, "{responses:?}");
    responses.remove(0)
}

fn read_head(head: &[u8]) -> Result<Received, String> {
    let head = std::str::from_utf8(head).map_err(|error| error.to_string())?;
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.split_once(' '))
        .and_then(|(code, reason)| (code.len() == 3 && !reason.is_empty()).then_some(code))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| format!("no status line: {status_line:?}"))?;
    let fields = lines.map(|line| {
        let (name, value) = line
            .split_once(": ")
            .ok_or_else(|| format!("no field: {line:?}"))?;
        Ok((name.to_ascii_lowercase(), value.to_owned()))
    });
    Ok(Received {
        status,
        fields: fields.collect::<Result<_, String>>()?,
        body: Vec::new(),
    })
}

/// Every answer here declares its length, but for 304, which has none.
fn body_len(response: &Received) -> Result<usize, String> {
    match (response.status, response.field("content-length")) {
        (304, None) => Ok(0),
        (304, Some(_)) => Err("a 304 with a length".into()),
        (_, Some(length)) => length.parse().map_err(|_| format!("no length: {length}")),
        (_, None) => Err(format!("no Content-Length: {response:?}")),
    }
}
