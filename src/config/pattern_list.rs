//! A list of patterns, and the search for the first one that matches.

use std::collections::HashMap;

use super::pattern::{Captures, Pattern};
use super::prefix_index::PrefixIndex;

/// Patterns in order. A site that has moved has thousands of them. A hash table finds those without a star. Of those
/// with stars, only the ones are tried whose text before the first star begins the path.
#[derive(Debug, Default)]
pub struct PatternList {
    patterns: Vec<Pattern>,
    /// The path of each pattern without a star, and the index of the first such pattern.
    exact: HashMap<Box<[u8]>, usize>,
    /// The patterns with stars.
    starred: PrefixIndex,
}

impl PatternList {
    /// Keeps `patterns` in their order.
    #[must_use]
    pub fn new<'a>(patterns: impl Iterator<Item = &'a Pattern>) -> PatternList {
        let patterns: Vec<Pattern> = patterns.cloned().collect();
        let mut exact = HashMap::new();
        let paths = patterns.iter().map(Pattern::exact).enumerate();
        for (index, path) in paths.filter_map(|(index, path)| Some((index, path?))) {
            exact.entry(path.as_bytes().into()).or_insert(index);
        }
        let starred = patterns.iter().enumerate();
        let starred = starred.filter(|(_, pattern)| pattern.exact().is_none());
        let prefixes = starred.map(|(index, pattern)| (index, pattern.literal_prefix()));
        PatternList {
            starred: PrefixIndex::new(prefixes),
            exact,
            patterns,
        }
    }

    /// Whether there is no pattern.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The index of the first pattern that matches `path`, and the text that its stars match.
    #[must_use]
    pub fn find<'p>(&self, path: &'p [u8]) -> Option<(usize, Captures<'p>)> {
        let captures = |index: usize| Some((index, self.patterns.get(index)?.captures(path)?));
        let mut first = self.exact.get(path).and_then(|index| captures(*index));
        for indexes in self.starred.of_path(path) {
            let is_earlier = |index: &&usize| first.is_none_or(|(first, _)| **index < first);
            let mut earlier = indexes.iter().take_while(is_earlier);
            first = earlier.find_map(|index| captures(*index)).or(first);
        }
        first
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
