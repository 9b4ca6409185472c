//! The local database of groups, /etc/group (group(5)).

/// The number that system calls take as "no change" (setresuid(2)), so that no account can have it.
const NO_ID: u32 = u32::MAX;

/// An entry of /etc/group.
pub(super) struct Group<'d> {
    pub(super) name: &'d str,
    pub(super) gid: u32,
    /// The names of its members, with commas.
    pub(super) members: &'d str,
}

/// The number of the group `name` in the text of /etc/group.
pub(super) fn group_number(database: &str, name: &str) -> Option<u32> {
    let found = groups_in(database).find(|group| group.name == name);
    found.map(|group| group.gid)
}

/// The groups in the text of /etc/group, without malformed lines.
pub(super) fn groups_in(database: &str) -> impl Iterator<Item = Group<'_>> {
    database.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let gid = number(fields.next()?)?;
        let members = fields.next()?;
        Some(Group { name, gid, members })
    })
}

/// Reads the number of a user or group.
pub(super) fn number(text: &str) -> Option<u32> {
    // `parse` accepts a plus sign.
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_decimal);
    number.filter(|number| *number != NO_ID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_looked_up_by_its_name_in_the_first_field() {
        let database = "root:x:0:\n# a comment\nweb:x:980:adm\nbroken:x:99\nweb:x:34:\n";
        let number = |name| group_number(database, name);
        assert_eq!(number("root"), Some(0));
        assert_eq!(number("web"), Some(980), "the first of two");
        for name in ["we", "broken", "x", "980", "adm"] {
            assert_eq!(number(name), None, "{name}");
        }
    }
}
