//! Finds among thousands of prefixes those with which a path begins.

use std::collections::BTreeMap;

/// Numbered prefixes. Several numbers may have the same prefix.
#[derive(Debug, Default)]
pub struct PrefixIndex {
    /// Each prefix once, in the order of their bytes.
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    prefix: Box<[u8]>,
    /// The numbers with this prefix, in order.
    numbers: Vec<usize>,
    /// The longest other prefix with which this one begins.
    shorter: Option<usize>,
}

impl PrefixIndex {
    /// An index of `prefixes`, whose numbers are in order.
    #[must_use]
    pub fn new<'a>(prefixes: impl Iterator<Item = (usize, &'a str)>) -> PrefixIndex {
        let mut sorted: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
        for (number, prefix) in prefixes {
            sorted.entry(prefix.as_bytes()).or_default().push(number);
        }
        let mut index = PrefixIndex::default();
        for (prefix, numbers) in sorted {
            let shorter = index.longest(index.nodes.len(), prefix);
            index.nodes.push(Node {
                prefix: prefix.into(),
                numbers,
                shorter,
            });
        }
        index
    }

    /// The numbers of the prefixes with which `path` begins: for each prefix, its numbers in order. The longest
    /// prefix comes first.
    pub fn of_path<'i>(&'i self, path: &[u8]) -> impl Iterator<Item = &'i [usize]> + use<'i> {
        let end = self.nodes.partition_point(|node| *node.prefix <= *path);
        let found = std::iter::successors(self.longest(end, path), |at| self.shorter(*at));
        found.filter_map(|at| Some(&*self.nodes.get(at)?.numbers))
    }

    /// The longest prefix of `text` among the first `end`, which are those up to `text` in the order of their bytes.
    ///
    /// Every prefix of `text` is a prefix of the last of them too: between a prefix of `text` and `text` itself all
    /// begin with that prefix.
    fn longest(&self, end: usize, text: &[u8]) -> Option<usize> {
        let is_prefix = |at: &usize| {
            let node = self.nodes.get(*at);
            node.is_some_and(|node| text.starts_with(&node.prefix))
        };
        std::iter::successors(end.checked_sub(1), |at| self.shorter(*at)).find(is_prefix)
    }

    fn shorter(&self, at: usize) -> Option<usize> {
        self.nodes.get(at)?.shorter
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_prefixes_of_a_path_are_found(
            prefixes in prop::collection::vec("[ab/]{0,4}", 0..20),
            path in "[abc/]{0,6}",
        ) {
            let index = PrefixIndex::new(prefixes.iter().map(String::as_str).enumerate());
            let mut found: Vec<usize> = index.of_path(path.as_bytes()).flatten().copied().collect();
            let lens: Vec<usize> = found.iter().map(|number| prefixes[*number].len()).collect();
            prop_assert!(lens.is_sorted_by(|one, next| one >= next));
            found.sort_unstable();
            let expected = (0..prefixes.len()).filter(|number| path.starts_with(&prefixes[*number]));
            prop_assert_eq!(found, expected.collect::<Vec<_>>());
        }
    }
}
