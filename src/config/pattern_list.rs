//! A list of patterns, and the search for the first one that matches.

use std::collections::HashMap;

use super::pattern::{Captures, Pattern};

/// Patterns in order. A hash table finds those without a star, because a site that has moved has thousands
/// of them. Patterns with stars are tried one by one.
#[derive(Debug, Default)]
pub struct PatternList {
    patterns: Vec<Pattern>,
    /// The path of each pattern without a star, and the index of the first such pattern.
    exact: HashMap<Box<[u8]>, usize>,
    /// The indices of the patterns with stars, in order.
    starred: Vec<usize>,
}

impl PatternList {
    /// Keeps `patterns` in their order.
    #[must_use]
    pub fn new<'a>(patterns: impl Iterator<Item = &'a Pattern>) -> PatternList {
        let mut pattern_list = PatternList::default();
        for (index, pattern) in patterns.enumerate() {
            match pattern.exact() {
                Some(path) => {
                    let path = path.as_bytes().into();
                    pattern_list.exact.entry(path).or_insert(index);
                }
                None => pattern_list.starred.push(index),
            }
            pattern_list.patterns.push(pattern.clone());
        }
        pattern_list
    }

    /// Whether there is no pattern.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The index of the first pattern that matches `path`, and the text that its stars match.
    #[must_use]
    pub fn find<'p>(&self, path: &'p [u8]) -> Option<(usize, Captures<'p>)> {
        let exact = self.exact.get(path).copied();
        let starred = self.starred.iter().copied();
        let mut candidates = starred
            .take_while(|index| exact.is_none_or(|exact| *index < exact))
            .chain(exact);
        candidates.find_map(|index| {
            let captures = self.patterns.get(index)?.captures(path)?;
            Some((index, captures))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_pattern_that_matches_is_found(
            texts in prop::collection::vec("/(\\*{0,2}[ab]){0,3}", 0..12),
            path in "/[ab/]{0,4}",
        ) {
            let patterns: Vec<Pattern> = texts.iter().filter_map(|text| text.parse().ok()).collect();
            let expected = patterns.iter().position(|pattern| pattern.is_match(path.as_bytes()));
            let found = PatternList::new(patterns.iter()).find(path.as_bytes());
            prop_assert_eq!(found.map(|(index, _)| index), expected);
        }
    }
}
