//! The permissions and the group of a unix socket's file, which decide which users may connect.
//!
//! To connect, a process needs write permission on the file (unix(7)). A server and the proxy in front of it
//! mostly run as different users, so the two share a group.

use std::fmt;
use std::fs;
use std::io;
use std::str::FromStr;

use super::group_database::group_number;
use super::invalid_text::InvalidText;

/// The permission bits of owner, group and others.
const MODE_MAX: u32 = 0o777;

/// The largest number of a group. The next one, -1, means "no change" in chown(2).
const GROUP_MAX: u32 = u32::MAX - 1;

/// The local database of groups (group(5)).
const GROUPS: &str = "/etc/group";

/// `socket_mode`: the permissions of the files of unix sockets; 0 to 0o777. The umask has no effect on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketMode(u32);

impl SocketMode {
    /// The permission bits, as chmod(2) takes them.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }
}

/// The owner and the group may connect.
impl Default for SocketMode {
    fn default() -> SocketMode {
        SocketMode(0o660)
    }
}

impl FromStr for SocketMode {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<SocketMode, InvalidText> {
        // A sign would be parsed as well.
        let are_digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let bits = match text.len() {
            3 | 4 if are_digits => u32::from_str_radix(text, 8).ok(),
            _ => None,
        };
        let mode = bits.filter(|bits| *bits <= MODE_MAX).map(SocketMode);
        mode.ok_or_else(|| {
            InvalidText::new(
                text,
                "is no file mode, write three octal digits after a 0, as in 0660",
            )
        })
    }
}

/// Writes the form that [`FromStr`] reads, with the 0.
impl fmt::Display for SocketMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// `socket_group`: the group of the files of unix sockets. Two are equal if they are written alike.
#[derive(Debug, Clone)]
pub enum SocketGroup {
    /// A name in `/etc/group`; not empty, without colons. Its number, once it was looked up.
    Named(String, Option<u32>),
    /// A number, which need not have a name; 0 to 2^32-2.
    Numbered(u32),
}

impl PartialEq for SocketGroup {
    fn eq(&self, other: &SocketGroup) -> bool {
        self.to_string() == other.to_string()
    }
}

impl SocketGroup {
    /// The number of the group; `None` if its name was not looked up.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        match self {
            SocketGroup::Named(_, id) => *id,
            SocketGroup::Numbered(id) => Some(*id),
        }
    }

    /// Looks the name up in `/etc/group`, and in no other source of groups. A name that was looked up before keeps
    /// its number.
    ///
    /// # Errors
    /// If there is no group of that name, or the file cannot be read.
    pub fn look_up(&mut self) -> io::Result<()> {
        let SocketGroup::Named(name, id @ None) = self else {
            return Ok(());
        };
        let groups = fs::read(GROUPS).map_err(|error| unreadable(name, &error))?;
        let found = group_number(&String::from_utf8_lossy(&groups), name).ok_or_else(|| {
            let complaint = format!("{GROUPS} has no group {name:?}");
            io::Error::new(io::ErrorKind::NotFound, complaint)
        })?;
        *id = Some(found);
        Ok(())
    }
}

/// The error of a database that cannot be read. Usually everybody may read it, but not a reload within the sandbox.
fn unreadable(name: &str, error: &io::Error) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "; within the sandbox a new name such as {name:?} needs a restart, or write the number of the group"
        ),
        _ => String::new(),
    };
    io::Error::new(error.kind(), format!("{GROUPS}: {error}{advice}"))
}

impl FromStr for SocketGroup {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<SocketGroup, InvalidText> {
        if text.is_empty() || text.contains([':', '\n', '\0']) {
            return Err(InvalidText::new(text, "is no name of a group"));
        }
        let digits = text.strip_prefix('-').unwrap_or(text);
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(SocketGroup::Named(text.to_owned(), None));
        }
        let id = text.parse().ok().filter(|id| *id <= GROUP_MAX);
        id.map(SocketGroup::Numbered).ok_or_else(|| {
            let reason = format!("is no number of a group, it must be 0 to {GROUP_MAX}");
            InvalidText::new(text, reason)
        })
    }
}

/// Writes the form that [`FromStr`] reads.
impl fmt::Display for SocketGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SocketGroup::Named(name, _) => f.write_str(name),
            SocketGroup::Numbered(id) => id.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_octal_and_displayed_with_its_zero() {
        for (text, bits, displayed) in [
            ("0660", 0o660, "0660"),
            ("660", 0o660, "0660"),
            ("0000", 0, "0000"),
            ("777", 0o777, "0777"),
        ] {
            let mode: SocketMode = text.parse().unwrap();
            assert_eq!((mode.bits(), mode.to_string().as_str()), (bits, displayed));
        }
        for text in [
            "", "6", "66", "0o660", "0680", "1777", "00660", "+660", "rw-",
        ] {
            assert!(text.parse::<SocketMode>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_group_is_a_name_or_a_number() {
        let group = |text: &str| text.parse::<SocketGroup>();
        assert_eq!(group("33"), Ok(SocketGroup::Numbered(33)));
        assert_eq!(group("33a"), Ok(SocketGroup::Named("33a".to_owned(), None)));
        assert_eq!(
            group("4294967294"),
            Ok(SocketGroup::Numbered(4_294_967_294))
        );
        for text in ["", "4294967295", "-1", "-", "a:b", "a\nb", "a\0"] {
            assert!(group(text).is_err(), "{text:?}");
        }
        assert_eq!(group("www-data").unwrap().to_string(), "www-data");
        assert_eq!(group("033").unwrap().to_string(), "33");
    }

    #[test]
    fn every_system_has_the_group_of_root() {
        let id = |text: &str| {
            let mut group: SocketGroup = text.parse().unwrap();
            group.look_up().map(|()| group.id())
        };
        assert_eq!(id("root").unwrap(), Some(0));
        assert_eq!(id("4711").unwrap(), Some(4711));
        let error = id("no-such-group").unwrap_err().to_string();
        assert_eq!(error, "/etc/group has no group \"no-such-group\"");
    }
}
