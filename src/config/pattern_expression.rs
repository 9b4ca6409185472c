//! Patterns with several stars, as regular expressions.

use regex_automata::meta::{BuildError, Regex};
use regex_syntax::hir::{Capture, Class, ClassBytes, ClassBytesRange, Dot, Hir, Look, Repetition};

/// Compiles a pattern with several stars. The engines that simulate the expression need no automaton, so that thousands
/// of patterns are compiled in the time of the start.
pub(super) fn compile(pattern: &str) -> Result<Regex, Box<BuildError>> {
    let config = Regex::config();
    let config = config.onepass(false).dfa(false).hybrid(false);
    let config = config.utf8_empty(false).auto_prefilter(false);
    Regex::builder()
        .configure(config)
        .build_from_hir(&expression(pattern))
        .map_err(Box::new)
}

/// The pattern as a regular expression over bytes, because names need not be UTF-8.
fn expression(pattern: &str) -> Hir {
    let mut parts = vec![Hir::look(Look::Start)];
    let mut stars = 1..;
    let mut capture = |run: Hir| {
        Hir::capture(Capture {
            index: stars.next().unwrap_or_default(),
            name: None,
            sub: Box::new(run),
        })
    };
    let mut rest = pattern;
    let mut is_after_slash = false;
    while let Some(star) = rest.find('*') {
        let literal = &rest[..star];
        parts.push(Hir::literal(literal.as_bytes()));
        is_after_slash = literal.ends_with('/') || (is_after_slash && literal.is_empty());
        let (part, len) = match &rest[star..] {
            // The slash after `**` belongs to the directories.
            stars if is_after_slash && stars.starts_with("**/") => {
                let directories = capture(any_number(Hir::dot(Dot::AnyByte)));
                (
                    optional(Hir::concat(vec![directories, Hir::literal(*b"/")])),
                    3,
                )
            }
            stars if stars.starts_with("**") => (capture(any_number(Hir::dot(Dot::AnyByte))), 2),
            _ => (capture(any_number(no_slash())), 1),
        };
        parts.push(part);
        is_after_slash = len == 3;
        rest = &rest[star + len..];
    }
    parts.push(Hir::literal(rest.as_bytes()));
    parts.push(Hir::look(Look::End));
    Hir::concat(parts)
}

fn no_slash() -> Hir {
    let others = [(0, b'/' - 1), (b'/' + 1, u8::MAX)];
    let others = others.map(|(first, last)| ClassBytesRange::new(first, last));
    Hir::class(Class::Bytes(ClassBytes::new(others)))
}

fn any_number(run: Hir) -> Hir {
    repeated(run, None)
}

fn optional(part: Hir) -> Hir {
    repeated(part, Some(1))
}

/// `sub` at most `max` times, and as often as possible.
fn repeated(sub: Hir, max: Option<u32>) -> Hir {
    Hir::repetition(Repetition {
        min: 0,
        max,
        greedy: true,
        sub: Box::new(sub),
    })
}
