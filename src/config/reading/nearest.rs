//! Suggestions for unknown names.

/// The name among `names` that is nearest to `leaf` in `section`: at most two edits away, where another
/// section counts as one edit. Names are dotted; `section` is empty outside of a section.
pub(super) fn nearest<'n>(
    names: impl IntoIterator<Item = &'n str>,
    section: &str,
    leaf: &str,
) -> Option<&'n str> {
    names
        .into_iter()
        .map(|name| {
            let (its_section, its_leaf) = name.split_once('.').unwrap_or(("", name));
            let elsewhere = usize::from(its_section != section);
            (edit_distance(its_leaf, leaf) + elsewhere, its_leaf, name)
        })
        .filter(|(distance, its_leaf, _)| is_near(*distance, its_leaf, leaf))
        .min_by_key(|(distance, ..)| *distance)
        .map(|(.., name)| name)
}

/// The message for an unknown key `leaf` of a table `[[label]]` whose keys are `known`.
pub(super) fn no_such_key(label: &str, leaf: &str, known: &[&str]) -> String {
    let hint = match nearest(known.iter().copied(), "", leaf) {
        Some(name) => format!("did you mean {label}.{name}?"),
        None => format!("the keys of [[{label}]] are {}", known.join(", ")),
    };
    format!("there is no such key, {hint}")
}

/// Whether `distance` is at most two, and less than the length of either name.
fn is_near(distance: usize, name: &str, leaf: &str) -> bool {
    distance <= 2 && distance < name.len().min(leaf.len())
}

/// The Levenshtein distance of two texts in characters.
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    // row[j] is the distance between the part of `from` read so far and the first j characters of `to`.
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distance_counts_letters() {
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("abc", ""), 3);
        assert_eq!(edit_distance("timeout", "timeout"), 0);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
    }

    #[test]
    fn an_unknown_key_finds_its_neighbour() {
        let names = [
            "workers",
            "keep_alive.timeout",
            "keep_alive.max_requests",
            "tcp_keep_alive.idle",
            "limits.headers",
        ];
        let meant = |section, leaf| nearest(names, section, leaf);
        assert_eq!(meant("keep_alive", "timout"), Some("keep_alive.timeout"));
        assert_eq!(
            meant("keep_alive", "max-requests"),
            Some("keep_alive.max_requests")
        );
        assert_eq!(meant("", "timeout"), Some("keep_alive.timeout"));
        assert_eq!(meant("", "worker"), Some("workers"));
        assert_eq!(meant("timeouts", "idle"), Some("tcp_keep_alive.idle"));
        assert_eq!(meant("limits", "colour"), None);
        assert_eq!(meant("", "tls"), None);
    }
}
