//! The order of a listing: `?sort=name`, `size` or `time`. A minus before the value reverses the order.

use std::cmp::Ordering;

use super::entries::DirectoryEntry;

/// The column that entries are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Column {
    /// Natural order: letters without case, digits by their numeric value.
    Name,
    /// The size in bytes.
    Size,
    /// The modification time.
    Time,
}

impl Column {
    /// The value of `sort`.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Column::Name => "name",
            Column::Size => "size",
            Column::Time => "time",
        }
    }
}

/// A column and a direction. Directories come before files in every order. Equal entries are sorted by
/// name, so the order is always the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SortOrder {
    /// The column.
    pub column: Column,
    /// Whether the largest size, the newest time or the last letter comes first.
    pub is_descending: bool,
}

impl SortOrder {
    /// By name, from A to Z.
    pub const DEFAULT: SortOrder = SortOrder {
        column: Column::Name,
        is_descending: false,
    };

    /// The order in the first `sort=` of a query; the default if its value is unknown or missing.
    #[must_use]
    pub fn of_query(query: Option<&[u8]>) -> SortOrder {
        let Some(value) = query
            .unwrap_or_default()
            .split(|&byte| byte == b'&')
            .find_map(|pair| pair.strip_prefix(b"sort="))
        else {
            return SortOrder::DEFAULT;
        };
        let (is_descending, keyword) = match value {
            [b'-', keyword @ ..] => (true, keyword),
            keyword => (false, keyword),
        };
        [Column::Name, Column::Size, Column::Time]
            .into_iter()
            .find(|column| column.keyword().as_bytes() == keyword)
            .map_or(SortOrder::DEFAULT, |column| SortOrder {
                column,
                is_descending,
            })
    }

    /// Sorts `entries`.
    pub fn sort(self, entries: &mut [DirectoryEntry]) {
        entries.sort_unstable_by(|one, other| self.compare(one, other));
    }

    /// Compares two entries.
    #[must_use]
    pub fn compare(self, one: &DirectoryEntry, other: &DirectoryEntry) -> Ordering {
        let by_column = match self.column {
            Column::Name => by_name(&one.name, &other.name),
            Column::Size => one.size.cmp(&other.size),
            Column::Time => one.modified_unix_secs.cmp(&other.modified_unix_secs),
        };
        let by_column = if self.is_descending {
            by_column.reverse()
        } else {
            by_column
        };
        one.kind
            .cmp(&other.kind)
            .then(by_column)
            .then_with(|| by_name(&one.name, &other.name))
    }
}

/// Compares names in natural order: `file2` before `file10`, `README` beside `readme`. If they are equal,
/// their bytes decide.
fn by_name(one: &[u8], other: &[u8]) -> Ordering {
    let (mut left, mut right) = (one, other);
    loop {
        let (Some(first), Some(second)) = (left.first(), right.first()) else {
            return left.len().cmp(&right.len()).then_with(|| one.cmp(other));
        };
        let ordering = if first.is_ascii_digit() && second.is_ascii_digit() {
            by_number(take_digits(&mut left), take_digits(&mut right))
        } else {
            (left, right) = (&left[1..], &right[1..]);
            first.to_ascii_lowercase().cmp(&second.to_ascii_lowercase())
        };
        if ordering.is_ne() {
            return ordering;
        }
    }
}

fn take_digits<'n>(rest: &mut &'n [u8]) -> &'n [u8] {
    let len = rest
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(rest.len());
    let (digits, after) = rest.split_at(len);
    *rest = after;
    digits
}

/// Compares numbers of any length: without leading zeros, the longer one is larger.
fn by_number(one: &[u8], other: &[u8]) -> Ordering {
    let significant = |digits: &[u8]| digits.iter().take_while(|digit| **digit == b'0').count();
    let (one, other) = (&one[significant(one)..], &other[significant(other)..]);
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use super::super::entries::EntryKind;
    use super::*;
    use proptest::prelude::*;

    fn entry(name: &str, kind: EntryKind, size: u64, modified_unix_secs: i64) -> DirectoryEntry {
        DirectoryEntry {
            name: name.as_bytes().into(),
            kind,
            size,
            modified_unix_secs,
        }
    }

    fn sorted(query: &str) -> Vec<String> {
        let mut entries = vec![
            entry("b10", EntryKind::File, 5, 300),
            entry("zoo", EntryKind::Directory, 1, 100),
            entry("B2", EntryKind::File, 7, 100),
            entry("a", EntryKind::File, 5, 200),
            entry("Art", EntryKind::Directory, 2, 50),
        ];
        SortOrder::of_query(Some(query.as_bytes())).sort(&mut entries);
        entries
            .iter()
            .map(|entry| String::from_utf8_lossy(&entry.name).into_owned())
            .collect()
    }

    #[test]
    fn directories_come_first_and_the_column_decides_among_them() {
        for query in ["", "sort=name", "x=y", "sort=colour", "sort=", "SORT=size"] {
            assert_eq!(sorted(query), ["Art", "zoo", "a", "B2", "b10"], "{query}");
        }
        assert_eq!(sorted("sort=-name"), ["zoo", "Art", "b10", "B2", "a"]);
        assert_eq!(sorted("sort=size"), ["zoo", "Art", "a", "b10", "B2"]);
        assert_eq!(sorted("sort=-size"), ["Art", "zoo", "B2", "a", "b10"]);
        assert_eq!(sorted("a=b&sort=time"), ["Art", "zoo", "B2", "a", "b10"]);
        assert_eq!(
            sorted("sort=-time&sort=name"),
            ["zoo", "Art", "b10", "a", "B2"]
        );
        assert_eq!(SortOrder::of_query(None), SortOrder::DEFAULT);
    }

    #[test]
    fn names_are_compared_as_people_count() {
        let ordered = [
            "1",
            "02",
            "2",
            "10",
            "10a",
            "18446744073709551616",
            "A",
            "a",
            "a1",
            "a1b",
            "a2",
            "a10",
            "B",
            "b",
            "z",
            "\u{e9}",
        ];
        for (index, one) in ordered.iter().enumerate() {
            for other in &ordered[index + 1..] {
                assert_eq!(
                    by_name(one.as_bytes(), other.as_bytes()),
                    Ordering::Less,
                    "{one} {other}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn names_have_one_order(names in prop::collection::vec("[aAb012.]{0,6}", 3)) {
            let compare = |one: usize, other: usize| by_name(names[one].as_bytes(), names[other].as_bytes());
            prop_assert_eq!(compare(0, 1), compare(1, 0).reverse());
            prop_assert_eq!(compare(0, 1).is_eq(), names[0] == names[1]);
            if compare(0, 1).is_le() && compare(1, 2).is_le() {
                prop_assert!(compare(0, 2).is_le());
            }
        }
    }
}
