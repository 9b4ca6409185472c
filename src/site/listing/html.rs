//! A listing as HTML: a table without scripts, which is sorted by links in its headings. It suits small
//! screens, dark mode and screen readers.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::entries::{DirectoryEntry, EntryKind, Summary};
use super::order::{Column, SortOrder};
use super::quantity::{grouped, rounded_size, timestamp};
use crate::site::pages::document;

const STYLE: &str = include_str!("listing.css");

/// The approximate size of a row without its name, in bytes. The name occurs twice.
const ROW_BYTES: usize = 192;

/// The approximate size of the rest of a page, in bytes.
pub const FRAME_BYTES: usize = 8192;

/// The characters escaped in a segment of a relative reference: all but unreserved (RFC 3986 section 2.3).
/// A colon would make a scheme of the text before it (section 4.2). An ampersand or a quote would have a
/// meaning in HTML.
const IN_A_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The approximate size of the page of `path` with the entries of `summary`, in bytes.
#[must_use]
pub fn capacity(path: &[u8], summary: &Summary) -> usize {
    let rows = 2 * summary.name_bytes + ROW_BYTES * summary.entries();
    FRAME_BYTES + 4 * path.len() + rows
}

/// Begins the page for the directory at `path`, which begins and ends with a slash. The rows follow, sorted
/// by `order`. All links are relative, so the page also works behind a proxy that adds a prefix to its
/// path.
pub fn begin(out: &mut String, path: &[u8], summary: &Summary, order: SortOrder) {
    let title = format!("Index of {}", String::from_utf8_lossy(path));
    document::begin(out, &title, STYLE, "listing");
    breadcrumbs(out, path);
    summarise(out, summary);
    table_head(out, order);
    if path != b"/" {
        out.push_str(
            "<tr class=\"up\"><th scope=\"row\"><a href=\"../\" aria-label=\"Parent directory\">..</a></th><td></td><td></td></tr>\n",
        );
    }
    if summary.entries() == 0 {
        out.push_str("<tr><td class=\"empty\" colspan=\"3\">This directory is empty.</td></tr>\n");
    }
}

/// Ends the page.
pub fn end(out: &mut String) {
    out.push_str("</tbody>\n</table>\n");
    out.push_str(document::END);
}

/// Appends the relative reference from a directory to `entry` in it. The name is escaped byte by byte,
/// whatever its encoding.
pub(super) fn reference(out: &mut String, entry: &DirectoryEntry) {
    out.extend(percent_encode(&entry.name, IN_A_SEGMENT));
    if entry.kind == EntryKind::Directory {
        out.push('/');
    }
}

/// Appends the path as a heading in which each parent directory is a link.
fn breadcrumbs(out: &mut String, path: &[u8]) {
    out.push_str("<nav aria-label=\"Path\">\n<h1><span>Index of</span> ");
    let inner = path.strip_prefix(b"/").unwrap_or(path);
    let inner = inner.strip_suffix(b"/").unwrap_or(inner);
    // The root has no name, so the slash is its link.
    let mut names = vec![&b"/"[..]];
    names.extend(
        inner
            .split(|&byte| byte == b'/')
            .filter(|name| !name.is_empty()),
    );
    for (index, name) in names.iter().enumerate() {
        let name = String::from_utf8_lossy(name);
        let above = names.len() - 1 - index;
        if above > 0 {
            out.push_str("<a href=\"");
            out.extend(std::iter::repeat_n("../", above));
            out.push_str("\">");
            document::escape(out, &name);
            out.push_str("</a>");
        } else {
            document::escape(out, &name);
        }
        if index > 0 {
            out.push('/');
        }
    }
    out.push_str("</h1>\n</nav>\n");
}

fn summarise(out: &mut String, summary: &Summary) {
    out.push_str("<p>");
    let mut separator = "";
    for (count, one, many) in [
        (summary.directories, "directory", "directories"),
        (summary.files, "file", "files"),
    ] {
        if count > 0 {
            let noun = if count == 1 { one } else { many };
            out.extend([separator, &grouped(count as u64), " ", noun]);
            separator = ", ";
        }
    }
    if summary.files > 0 {
        out.extend([", ", &rounded_size(summary.bytes)]);
    }
    if !summary.is_complete {
        let shown = grouped(summary.entries() as u64);
        out.extend([". There are more: the first ", &shown, " are listed."]);
    }
    out.push_str("</p>\n");
}

fn table_head(out: &mut String, order: SortOrder) {
    let direction = if order.is_descending {
        "descending"
    } else {
        "ascending"
    };
    out.extend([
        "<table>\n<caption>Entries, sorted by ",
        order.column.keyword(),
        ", ",
        direction,
        "</caption>\n<thead>\n<tr>",
    ]);
    for (column, text) in [
        (Column::Name, "Name"),
        (Column::Size, "Size"),
        (Column::Time, "Modified<i> (UTC)</i>"),
    ] {
        let is_current = column == order.column;
        out.push_str("<th scope=\"col\"");
        if is_current {
            out.extend([" aria-sort=\"", direction, "\""]);
        }
        // The link of the current column reverses its direction. Other columns start with the usual
        // direction: names from A, the largest size, the newest time.
        let turns = if is_current {
            !order.is_descending
        } else {
            column != Column::Name
        };
        let minus = if turns { "-" } else { "" };
        let keyword = column.keyword();
        out.extend([
            "><a href=\"?sort=",
            minus,
            keyword,
            "\">",
            text,
            "</a></th>",
        ]);
    }
    out.push_str("</tr>\n</thead>\n<tbody>\n");
}

/// Appends the row of `entry`.
pub fn row(out: &mut String, entry: &DirectoryEntry) {
    let name = String::from_utf8_lossy(&entry.name);
    let (opening, slash) = match entry.kind {
        EntryKind::Directory => ("<tr class=\"d\">", "/"),
        EntryKind::File => ("<tr>", ""),
    };
    out.extend([opening, "<th scope=\"row\"><a href=\""]);
    reference(out, entry);
    out.push_str("\">");
    document::escape(out, &name);
    out.extend([slash, "</a></th>"]);
    match entry.kind {
        EntryKind::Directory => out.push_str("<td></td>"),
        EntryKind::File => {
            let (exact, rounded) = (grouped(entry.size), rounded_size(entry.size));
            out.extend(["<td title=\"", &exact, " bytes\">", &rounded, "</td>"]);
        }
    }
    let time = timestamp(entry.modified_unix_secs).unwrap_or_default();
    match time.split_once('T') {
        Some((date, clock)) => {
            let minutes = clock.get(..5).unwrap_or(clock);
            out.extend(["<td><time datetime=\"", &time, "\">", date, "<i> "]);
            out.extend([minutes, "</i></time></td></tr>\n"]);
        }
        None => out.push_str("<td></td></tr>\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &[u8], kind: EntryKind, size: u64) -> DirectoryEntry {
        DirectoryEntry {
            name: name.into(),
            kind,
            size,
            modified_unix_secs: 1_709_210_096,
        }
    }

    fn page_of(path: &str, list: Vec<DirectoryEntry>, query: &str) -> String {
        page(path.as_bytes(), &list, query, true)
    }

    fn page(path: &[u8], list: &[DirectoryEntry], query: &str, is_complete: bool) -> String {
        let mut summary = Summary {
            is_complete,
            ..Summary::default()
        };
        list.iter().for_each(|entry| summary.add(entry));
        let mut out = String::new();
        let order = SortOrder::of_query(Some(query.as_bytes()));
        begin(&mut out, path, &summary, order);
        list.iter().for_each(|entry| row(&mut out, entry));
        end(&mut out);
        out
    }

    #[track_caller]
    fn assert_has(page: &str, part: &str) {
        assert!(page.contains(part), "{part}\nis not in\n{page}");
    }

    #[test]
    fn a_row_has_a_link_a_size_and_a_time() {
        let list = vec![
            entry(b"sub", EntryKind::Directory, 4096),
            entry(b"a.txt", EntryKind::File, 1_234_567),
        ];
        let page = page_of("/x/", list, "");
        assert_has(
            &page,
            "<tr class=\"d\"><th scope=\"row\"><a href=\"sub/\">sub/</a></th><td></td>",
        );
        assert_has(&page, "<a href=\"a.txt\">a.txt</a></th>");
        assert_has(&page, "<td title=\"1,234,567 bytes\">1.2 MB</td>");
        assert_has(
            &page,
            "<time datetime=\"2024-02-29T12:34:56Z\">2024-02-29<i> 12:34</i></time>",
        );
        assert_has(&page, "<p>1 directory, 1 file, 1.2 MB</p>");
    }

    #[test]
    fn the_path_leads_back_step_by_step() {
        let page = page_of("/a/b c/d/", vec![], "");
        assert_has(
            &page,
            "</span> <a href=\"../../../\">/</a><a href=\"../../\">a</a>/<a href=\"../\">b c</a>/d/</h1>",
        );
        assert_has(&page, "<a href=\"../\" aria-label=\"Parent directory\">");
        let root = page_of("/", vec![], "");
        assert_has(&root, "</span> /</h1>");
        assert!(!root.contains("href=\"../"), "nothing is above the root");
    }

    #[test]
    fn the_headings_sort_and_say_how_it_is_sorted() {
        let by_name = page_of("/", vec![], "");
        assert_has(
            &by_name,
            "<th scope=\"col\" aria-sort=\"ascending\"><a href=\"?sort=-name\">Name",
        );
        assert_has(&by_name, "<th scope=\"col\"><a href=\"?sort=-size\">Size");
        assert_has(
            &by_name,
            "<th scope=\"col\"><a href=\"?sort=-time\">Modified",
        );
        let by_size = page_of("/", vec![], "sort=-size");
        assert_has(
            &by_size,
            "<th scope=\"col\" aria-sort=\"descending\"><a href=\"?sort=size\">Size",
        );
        assert_has(&by_size, "<th scope=\"col\"><a href=\"?sort=name\">Name");
    }

    #[test]
    fn no_name_can_become_markup_or_another_reference() {
        let cases: [(&[u8], &str); 7] = [
            (
                b"<script>\"&'",
                "<a href=\"%3Cscript%3E%22%26%27\">&lt;script&gt;&quot;&amp;&#39;</a>",
            ),
            (
                b"javascript:x",
                "<a href=\"javascript%3Ax\">javascript:x</a>",
            ),
            (b"a?b#c", "<a href=\"a%3Fb%23c\">a?b#c</a>"),
            (b"100%", "<a href=\"100%25\">100%</a>"),
            ("Ж é".as_bytes(), "<a href=\"%D0%96%20%C3%A9\">Ж é</a>"),
            (b"caf\xE9", "<a href=\"caf%E9\">caf\u{FFFD}</a>"),
            (b"new\nline", "<a href=\"new%0Aline\">new\u{FFFD}line</a>"),
        ];
        for (name, link) in cases {
            assert_has(
                &page_of("/", vec![entry(name, EntryKind::File, 0)], ""),
                link,
            );
        }
        let page = page_of("/<b>/", vec![], "");
        assert!(!page.contains("<b>"), "{page}");
    }

    #[test]
    fn an_empty_directory_says_so_and_a_cut_off_list_too() {
        assert_has(&page_of("/", vec![], ""), "This directory is empty.");
        let list = [entry(b"a", EntryKind::File, 1)];
        assert_has(&page(b"/", &list, "", false), "the first 1 are listed");
    }

    #[test]
    fn a_time_out_of_range_is_left_out() {
        let strange = DirectoryEntry {
            modified_unix_secs: i64::MAX,
            ..entry(b"a", EntryKind::File, 1)
        };
        assert!(!page_of("/", vec![strange], "").contains("<time"));
    }
}
