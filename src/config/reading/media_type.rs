//! Media types as they are written in a configuration.

/// Revalidator that `text` is a media type.
///
/// # Errors
/// A sentence that says how to write one.
pub(super) fn check_media_type(text: &str) -> Result<(), String> {
    if is_media_type(text) {
        return Ok(());
    }
    Err(format!(
        "{text:?} is no media type, write it as in \"application/json\" or \"text/plain; \
         charset=utf-8\""
    ))
}

/// type "/" subtype with parameters (RFC 9110 section 8.3.1), one line of ASCII.
fn is_media_type(text: &str) -> bool {
    let is_token = |text: &str| {
        let is_letter =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !text.is_empty() && text.bytes().all(is_letter)
    };
    let mut parts = text.split(';');
    let essence = parts.next().and_then(|essence| essence.split_once('/'));
    let has_type = essence
        .is_some_and(|(first, second)| is_token(first) && is_token(second.trim_end_matches(' ')));
    has_type
        && parts.all(|parameter| {
            let Some((name, value)) = parameter.trim_matches(' ').split_once('=') else {
                return false;
            };
            let quoted = value
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'));
            let is_quoted = quoted.is_some_and(|inside| {
                inside
                    .bytes()
                    .all(|byte| matches!(byte, b' '..=b'~') && !b"\"\\".contains(&byte))
            });
            is_token(name) && (is_token(value) || is_quoted)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_have_a_type_a_subtype_and_parameters() {
        for text in [
            "text/html",
            "application/manifest+json",
            "text/plain; charset=utf-8",
            "text/plain ; charset=utf-8",
            "text/plain;charset=\"utf 8\";a=b",
        ] {
            assert!(is_media_type(text), "{text}");
        }
        for text in [
            "",
            "text",
            "text/",
            "/html",
            "text/html;",
            "text/html; charset",
            "text/html; charset=",
            "text/html\r\nX: y",
            "text/html\r\n",
            "a b/c",
            "text/html; a=\"b\"c\"",
        ] {
            assert!(!is_media_type(text), "{text}");
        }
    }
}
