//! The user and the groups that the server changes to, as `user` and `group` name them.
//!
//! The names are looked up in /etc/passwd and /etc/group, and nowhere else. A directory service (NSS) would
//! load its own code into the process, and a static build could not ask it. Its users can be named by number.

use std::fs;
use std::path::Path;

use super::group_database::{Group, groups_in, number};
use super::settings::Config;

/// The database of users (passwd(5)).
const PASSWD: &str = "/etc/passwd";

/// The database of groups (group(5)).
const GROUP: &str = "/etc/group";

/// The rights that the server changes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user; `None` if only the group changes.
    pub uid: Option<u32>,
    /// The group.
    pub gid: u32,
    /// The supplementary groups: `gid`, and all groups that list the user as a member. Sorted.
    pub groups: Vec<u32>,
}

/// The error of a name that nobody has.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownAccount {
    /// The key that names it: `user` or `group`.
    pub key: &'static str,
    /// A sentence without a full stop.
    pub message: String,
}

/// The text of the two databases.
struct Databases {
    passwd: String,
    group: String,
}

/// An entry of /etc/passwd.
struct User<'d> {
    name: &'d str,
    uid: u32,
    gid: u32,
}

impl Account {
    /// Looks up `user` and `group` of `config`. `None` if neither is set.
    ///
    /// # Errors
    /// If there is no such user or group, or if a user that is given by number has no entry that names its
    /// group while `group` is not set.
    pub fn of(config: &Config) -> Result<Option<Account>, UnknownAccount> {
        let (user, group) = (config.user.as_deref(), config.group.as_deref());
        if user.is_none() && group.is_none() {
            return Ok(None);
        }
        let databases = Databases {
            passwd: text_of(PASSWD),
            group: text_of(GROUP),
        };
        databases.account(user, group).map(Some)
    }
}

/// The text of a database. A container may have none, and is then one without names.
fn text_of(path: &str) -> String {
    let bytes = fs::read(Path::new(path)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Databases {
    fn account(&self, user: Option<&str>, group: Option<&str>) -> Result<Account, UnknownAccount> {
        let found = user.map(|user| self.user(user)).transpose()?;
        let gid = match (group, &found) {
            (Some(group), _) => self.gid(group)?,
            (None, Some((_, Some(entry)))) => entry.gid,
            (None, _) => {
                let user = user.unwrap_or_default();
                let message = format!(
                    "the user {user} has no entry in {PASSWD} that names its group, so set group too"
                );
                return Err(UnknownAccount {
                    key: "user",
                    message,
                });
            }
        };
        let mut groups = vec![gid];
        if let Some((_, Some(entry))) = &found {
            let is_member = |group: &Group<'_>| group.members.split(',').any(|it| it == entry.name);
            groups.extend(self.groups().filter(is_member).map(|group| group.gid));
        }
        groups.sort_unstable();
        groups.dedup();
        Ok(Account {
            uid: found.map(|(uid, _)| uid),
            gid,
            groups,
        })
    }

    /// Finds a user by name or number. A number needs no entry.
    fn user(&self, user: &str) -> Result<(u32, Option<User<'_>>), UnknownAccount> {
        if let Some(entry) = self.users().find(|entry| entry.name == user) {
            return Ok((entry.uid, Some(entry)));
        }
        let uid = number(user).ok_or_else(|| UnknownAccount {
            key: "user",
            message: no_entry("user", user, PASSWD),
        })?;
        Ok((uid, self.users().find(|entry| entry.uid == uid)))
    }

    /// Finds a group by name or number. A number needs no entry.
    fn gid(&self, group: &str) -> Result<u32, UnknownAccount> {
        let entry = self.groups().find(|entry| entry.name == group);
        let gid = entry.map(|entry| entry.gid).or_else(|| number(group));
        gid.ok_or_else(|| UnknownAccount {
            key: "group",
            message: no_entry("group", group, GROUP),
        })
    }

    /// The users, without malformed lines.
    fn users(&self) -> impl Iterator<Item = User<'_>> {
        self.passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, _password) = (fields.next()?, fields.next()?);
            let (uid, gid) = (number(fields.next()?)?, number(fields.next()?)?);
            Some(User { name, uid, gid })
        })
    }

    fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        groups_in(&self.group)
    }
}

fn no_entry(kind: &str, name: &str, database: &str) -> String {
    format!(
        "there is no {kind} {name:?} in {database}; one of a directory service can be named by its number"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn databases() -> Databases {
        Databases {
            passwd: "root:x:0:0:root:/root:/bin/sh\n# a comment\nbroken:x:many:1\n\
                     web:x:990:980::/:/none\n7:x:991:981::/:/none\n"
                .to_owned(),
            group: "root:x:0:\nweb:x:980:\ncerts:x:985:adm,web\nweb-adm:x:70:webber\n\
                    logs:x:60:web\nbroken:x:99\n7:x:77:\n"
                .to_owned(),
        }
    }

    /// The account of a user and a group. An empty name is not set.
    fn account(user: &str, group: &str) -> Result<Account, UnknownAccount> {
        let [user, group] = [user, group].map(|name| Some(name).filter(|name| !name.is_empty()));
        databases().account(user, group)
    }

    fn found(uid: Option<u32>, gid: u32, groups: &[u32]) -> Result<Account, UnknownAccount> {
        Ok(Account {
            uid,
            gid,
            groups: groups.to_vec(),
        })
    }

    #[test]
    fn a_user_has_the_groups_that_list_it() {
        assert_eq!(account("web", ""), found(Some(990), 980, &[60, 980, 985]));
        assert_eq!(account("990", ""), found(Some(990), 980, &[60, 980, 985]));
        assert_eq!(account("root", ""), found(Some(0), 0, &[0]));
    }

    #[test]
    fn a_group_replaces_that_of_the_user() {
        let groups = [0, 60, 985];
        assert_eq!(account("web", "root"), found(Some(990), 0, &groups));
        assert_eq!(account("", "certs"), found(None, 985, &[985]));
    }

    #[test]
    fn a_number_needs_no_entry() {
        assert_eq!(account("4000", "4001"), found(Some(4000), 4001, &[4001]));
        let error = account("4000", "").unwrap_err();
        assert_eq!(
            (error.key, error.message.as_str()),
            (
                "user",
                "the user 4000 has no entry in /etc/passwd that names its group, so set group too"
            )
        );
    }

    #[test]
    fn a_name_of_digits_has_precedence_over_the_number() {
        assert_eq!(account("7", "7"), found(Some(991), 77, &[77]));
    }

    #[test]
    fn a_name_without_an_entry_is_refused() {
        for (user, group, key) in [
            ("no-one", "", "user"),
            ("web", "no-such", "group"),
            ("+7", "", "user"),
            ("-1", "", "user"),
            ("broken", "", "user"),
            ("web", "broken", "group"),
            ("4294967295", "0", "user"),
            ("0", "4294967295", "group"),
            ("4294967296", "0", "user"),
        ] {
            let error = account(user, group).unwrap_err();
            assert_eq!(error.key, key, "{user} {group}");
            assert!(error.message.starts_with("there is no "), "{error:?}");
        }
    }
}
