//! A listing as JSON.

use serde_json::Value;

use super::entries::{DirectoryEntry, EntryKind, Summary};
use super::html::reference;
use super::quantity::timestamp;

/// The approximate size of a row without its name, in bytes.
const ROW_BYTES: usize = 80;

/// The first bytes of an array.
const OPENING: &str = "[";

/// The approximate size of an array with the entries of `summary`, in bytes.
#[must_use]
pub fn capacity(summary: &Summary) -> usize {
    summary.name_bytes + ROW_BYTES * summary.entries() + 4
}

/// Begins an array of objects, one on each line, in the order of the rows:
///
/// - `name`: text. Bytes that are not UTF-8 become U+FFFD. Such an object has one more member, `href`: the
///   escaped relative reference of the entry.
/// - `type`: `"directory"` or `"file"`.
/// - `size`: bytes; `null` for a directory.
/// - `mtime`: RFC 3339 in UTC, to the second; `null` if RFC 3339 cannot express the time.
pub fn begin(out: &mut String) {
    out.push_str(OPENING);
}

/// Appends an object.
pub fn row(out: &mut String, entry: &DirectoryEntry) {
    let is_first = out.len() == OPENING.len();
    out.push_str(if is_first { "\n" } else { ",\n" });
    object(out, entry);
}

/// Ends the array.
pub fn end(out: &mut String) {
    out.push_str("\n]\n");
}

fn object(out: &mut String, entry: &DirectoryEntry) {
    let name = String::from_utf8_lossy(&entry.name);
    let name = Value::from(name).to_string();
    let (kind, size) = match entry.kind {
        EntryKind::Directory => ("directory", Value::Null),
        EntryKind::File => ("file", Value::from(entry.size)),
    };
    let time = Value::from(timestamp(entry.modified_unix_secs));
    let (size, time) = (size.to_string(), time.to_string());
    out.extend(["{\"name\":", &name, ",\"type\":\"", kind, "\",\"size\":"]);
    out.extend([&size, ",\"mtime\":", &time]);
    if std::str::from_utf8(&entry.name).is_err() {
        // A reference is ASCII without quotes.
        out.push_str(",\"href\":\"");
        reference(out, entry);
        out.push('"');
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(list: &[DirectoryEntry]) -> String {
        let mut out = String::new();
        begin(&mut out);
        list.iter().for_each(|entry| row(&mut out, entry));
        end(&mut out);
        out
    }

    fn entry(name: &[u8], kind: EntryKind) -> DirectoryEntry {
        DirectoryEntry {
            name: name.into(),
            kind,
            size: 7,
            modified_unix_secs: 0,
        }
    }

    #[test]
    fn every_entry_is_an_object_of_four_members() {
        let list = vec![
            entry(b"sub", EntryKind::Directory),
            entry(b"a.txt", EntryKind::File),
        ];
        assert_eq!(
            array(&list),
            "[\n{\"name\":\"sub\",\"type\":\"directory\",\"size\":null,\"mtime\":\"1970-01-01T00:00:00Z\"},\n\
             {\"name\":\"a.txt\",\"type\":\"file\",\"size\":7,\"mtime\":\"1970-01-01T00:00:00Z\"}\n]\n"
        );
        let empty = serde_json::from_str::<Value>(&array(&[]));
        assert_eq!(empty.expect("JSON"), Value::Array(vec![]));
    }

    #[test]
    fn any_name_can_be_read_back() {
        let names = [
            "\"quoted\"",
            "new\nline",
            "tab\t\u{1}",
            "Ж\u{2028}",
            "</script>",
        ];
        let list = names
            .map(|name| entry(name.as_bytes(), EntryKind::File))
            .to_vec();
        let parsed: Value = serde_json::from_str(&array(&list)).expect("JSON");
        for (index, name) in names.iter().enumerate() {
            assert_eq!(parsed[index]["name"], *name);
            assert_eq!(parsed[index].get("href"), None);
        }
    }

    #[test]
    fn a_name_that_is_not_utf_8_comes_with_its_reference() {
        let list = vec![
            entry(b"caf\xE9 1", EntryKind::Directory),
            DirectoryEntry {
                modified_unix_secs: i64::MAX,
                ..entry(b"\xFF", EntryKind::File)
            },
        ];
        let parsed: Value = serde_json::from_str(&array(&list)).expect("JSON");
        assert_eq!(parsed[0]["name"], "caf\u{FFFD} 1");
        assert_eq!(parsed[0]["href"], "caf%E9%201/");
        assert_eq!(parsed[1]["href"], "%FF");
        assert_eq!(parsed[1]["mtime"], Value::Null);
    }
}
