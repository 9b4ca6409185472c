//! The parts of a multipart/byteranges answer (RFC 9110 section 14.6).

use super::answer::Answer;
use super::notation::shown;

/// Compares the parts of `answer` with `wanted`, each written as `Content-Range value: content`.
pub fn check(answer: &Answer, wanted: &[Vec<u8>]) -> Result<(), String> {
    let content_type = answer.field("Content-Type").unwrap_or("");
    let boundary = content_type
        .strip_prefix("multipart/byteranges; boundary=")
        .ok_or("the type multipart/byteranges with a boundary")?
        .trim_matches('"');
    // RFC 2046 section 5.1.1: at most 70 characters.
    if boundary.is_empty() || boundary.len() > 70 {
        return Err("a boundary of 1 to 70 characters".to_owned());
    }
    let got = split(&answer.body, boundary).ok_or("a body that is well-formed multipart")?;
    if got != wanted {
        let got: Vec<_> = got.iter().map(|part| shown(part)).collect();
        return Err(format!("other parts than {got:?}"));
    }
    Ok(())
}

/// Each part as `Content-Range value: content`. `None` if the syntax is broken, if a part lacks
/// Content-Range or Content-Type, or if there is text before or after the parts.
fn split(body: &[u8], boundary: &str) -> Option<Vec<Vec<u8>>> {
    let delimiter = format!("\r\n--{boundary}");
    // The first delimiter need not have its leading CRLF.
    let body = if body.starts_with(b"\r\n") {
        body.to_vec()
    } else {
        [b"\r\n", body].concat()
    };
    let mut rest = body.strip_prefix(delimiter.as_bytes())?;
    let mut parts = Vec::new();
    loop {
        match rest {
            b"--" | b"--\r\n" => return Some(parts),
            [b'\r', b'\n', part @ ..] => {
                let end = memchr::memmem::find(part, delimiter.as_bytes())?;
                parts.push(normal(&part[..end])?);
                rest = &part[end + delimiter.len()..];
            }
            _ => return None,
        }
    }
}

fn normal(part: &[u8]) -> Option<Vec<u8>> {
    let head_end = memchr::memmem::find(part, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&part[..head_end]).ok()?;
    let field = |name: &str| {
        let mut lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
        let (_, value) = lines.find(|(field, _)| *field == name)?;
        Some(value)
    };
    field("Content-Type")?;
    let range = field("Content-Range")?;
    Some([range.as_bytes(), b": ", &part[head_end + 4..]].concat())
}
