//! The name that was probably meant by an unknown one.

/// The one of `names` that was probably meant by an unknown one.
pub(super) fn nearest_of<'n>(names: &[&'n str], leaf: &str) -> Option<&'n str> {
    names
        .iter()
        .map(|name| (edit_distance(name, leaf), *name))
        .filter(|(distance, name)| is_near(*distance, name, leaf))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// At most two letters away, and not all of them.
pub(super) fn is_near(distance: usize, name: &str, leaf: &str) -> bool {
    distance <= 2 && distance < name.len().min(leaf.len())
}

/// Letters to insert, remove or replace to turn one text into the other.
pub(super) fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    // row[j] is the distance between what was read of `from` and the first j letters of `to`.
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
}
