//! `/`: the status page for people.
//!
//! The server renders the whole page, plots included. A small script fetches the page again every two seconds
//! and replaces its content; without scripts the browser reloads the page. `page.html` holds everything that
//! does not change.

use std::fmt::{Display, Write};

use rustix::rand::{GetRandomFlags, getrandom};

use super::figures::Figures;
use super::history::{History, POINTS, Series};
use super::status_json::mode_name;
use crate::config::Admin;
use crate::connection::counters::CloseReason;
use crate::connection::peer::Peer;
use crate::connection::server_context::Mode;
use crate::site::pages::escape;

const PAGE: &str = include_str!("page.html");

/// The height of a plot in its own units; its width is [`POINTS`].
const HEIGHT: f64 = 30.0;

/// A number that no other page can guess, with which this response names its script and style sheet in
/// Content-Security-Policy. If the kernel gives none the result is empty, and the browser runs no script.
#[must_use]
pub fn nonce() -> String {
    let mut random = [0; 16];
    let filled = getrandom(&mut random, GetRandomFlags::empty());
    let is_filled = filled.is_ok_and(|count| count == random.len());
    let random: &[u8] = if is_filled { &random } else { &[] };
    random.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail. The same holds below.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The page.
#[must_use]
pub fn html(figures: &Figures, history: &History, admin: &Admin, nonce: &str) -> String {
    let mut main = String::from("<main>\n");
    heading(&mut main, figures);
    numbers(&mut main, figures, history);
    states(&mut main, figures);
    plots(&mut main, history);
    slowest(&mut main, figures, history, admin);
    closes(&mut main, figures, history);
    inside(&mut main, figures);
    main.push_str(
        "<footer class=\"quiet\">The plots show the last five minutes. As data: \
         <a href=\"/metrics\">metrics</a>, <a href=\"/status.json\">status.json</a>, \
         <a href=\"/connections.json\">connections.json</a>.</footer>\n</main>",
    );
    PAGE.replace("{nonce}", nonce).replace("{main}", &main)
}

fn heading(out: &mut String, figures: &Figures) {
    let class = if figures.mode == Mode::Serving {
        "mode"
    } else {
        "mode leaving"
    };
    let mode = mode_name(figures.mode);
    let version = env!("CARGO_PKG_VERSION");
    let uptime = duration(figures.uptime_secs() * 1_000_000);
    let _ = write!(
        out,
        "<header><h1>abide</h1><span class=\"{class}\">{mode}</span>\
         <span class=\"quiet\">{version}, up {uptime}</span><span class=\"quiet\">"
    );
    let urls = figures.listen.iter().map(|address| address.url());
    escape(out, &urls.collect::<Vec<_>>().join(", "));
    out.push_str("</span></header>\n");
}

fn numbers(out: &mut String, figures: &Figures, history: &History) {
    let (requests, bytes) = history.rates();
    let total = grouped(figures.totals.durations.requests());
    let sent = size(figures.totals.sent_bytes as f64);
    number(
        out,
        "Requests per second",
        decimal(requests),
        format!("{total} in all"),
    );
    number(
        out,
        "Sent per second",
        size(bytes),
        format!("{sent} in all"),
    );
    let bounds = history.quantiles([0.5, 0.99]);
    let [median, p99] = bounds.map(|bound| bound.map_or("\u{2013}".to_owned(), duration));
    let note = format!("half within {median}, last minute");
    number(out, "99 % answered within", p99, note);
    let races = grouped(figures.totals.keep_alive_races);
    let broken = grouped(figures.totals.promises_broken);
    let note = format!("{broken} promises broken, T = {} s", figures.timeout_secs);
    number(out, "Requests lost to a close", races, note);
}

fn number(out: &mut String, title: &str, value: impl Display, note: impl Display) {
    let _ = writeln!(
        out,
        "<section class=\"number\"><h2>{title}</h2><b>{value}</b><small>{note}</small></section>"
    );
}

/// The open connections as a bar that is divided by their states.
fn states(out: &mut String, figures: &Figures) {
    let connections = &figures.connections;
    let open = connections.open();
    let counts = [
        ("active", connections.active),
        ("idle", connections.idle),
        ("lingering", connections.lingering),
    ];
    let _ = write!(
        out,
        "<section class=\"wide states\"><h2>{} open connections <small>of at most {}; {} accepted, \
         {} dropped at a limit</small></h2><svg viewBox=\"0 0 100 1\" preserveAspectRatio=\"none\" \
         aria-hidden=\"true\"><rect class=\"none\" width=\"100\" height=\"1\"/>",
        grouped(open),
        grouped(figures.most_connections as u64),
        grouped(connections.accepted),
        grouped(connections.dropped)
    );
    let mut from = 0.0;
    for (state, count) in counts {
        let width = 100.0 * count as f64 / open.max(1) as f64;
        let _ = write!(
            out,
            "<rect class=\"{state}\" x=\"{from:.2}\" width=\"{width:.2}\" height=\"1\"/>"
        );
        from += width;
    }
    out.push_str("</svg>");
    for (state, count) in counts {
        let _ = write!(
            out,
            "<span><svg viewBox=\"0 0 1 1\" aria-hidden=\"true\"><rect class=\"{state}\" width=\"1\" \
             height=\"1\"/></svg>{} {state}</span>",
            grouped(count)
        );
    }
    out.push_str("</section>\n");
}

fn plots(out: &mut String, history: &History) {
    for (plot, series) in PLOTS {
        plot.draw(out, &history.points(series));
    }
}

/// The plots, with what they show.
const PLOTS: [(Plot, Series); 4] = [
    (
        Plot::new("Requests per second", "", Shape::Area),
        Series::Requests,
    ),
    (Plot::new("Open connections", "", Shape::Area), Series::Open),
    (
        Plot::new("Closes per second", "", Shape::Bars),
        Series::Closes,
    ),
    (
        Plot::new(
            "Requests lost to a close, in five seconds",
            " lost",
            Shape::Bars,
        ),
        Series::Races,
    ),
];

/// How a series is drawn.
#[derive(Debug, Clone, Copy)]
struct Plot {
    title: &'static str,
    /// A further class in the style sheet, with a space before it.
    class: &'static str,
    shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Area,
    Bars,
}

impl Plot {
    const fn new(title: &'static str, class: &'static str, shape: Shape) -> Plot {
        Plot {
            title,
            class,
            shape,
        }
    }

    fn draw(self, out: &mut String, points: &[f64; POINTS]) {
        let Plot {
            title,
            class,
            shape,
        } = self;
        let most = points.iter().copied().fold(0.0, f64::max);
        let (now, top) = (decimal(points[POINTS - 1]), decimal(most));
        let _ = write!(
            out,
            "<figure class=\"plot{class}\"><figcaption><b>{title}</b><small>now {now}, at most {top}\
             </small></figcaption><svg viewBox=\"0 0 {POINTS} {HEIGHT}\" preserveAspectRatio=\"none\" \
             role=\"img\" aria-label=\"{title}, last five minutes: now {now}, at most {top}\">"
        );
        let height = |point: f64| {
            if most > 0.0 {
                (HEIGHT - 1.0) * point / most
            } else {
                0.0
            }
        };
        let mut path = String::new();
        for (index, point) in points.iter().map(|point| height(*point)).enumerate() {
            let _ = match shape {
                // The points are in the middle of their five seconds.
                Shape::Area => write!(path, "L{index}.5 {:.2}", HEIGHT - point),
                Shape::Bars if point == 0.0 => Ok(()),
                Shape::Bars => write!(path, "M{index}.1 {HEIGHT}v-{point:.2}h.8v{point:.2}z"),
            };
        }
        let _ = match shape {
            Shape::Area => write!(
                out,
                "<path class=\"area\" d=\"M.5 {HEIGHT}{path}V{HEIGHT}z\"/><path class=\"stroke\" d=\"M{}\"/>",
                &path[1..]
            ),
            Shape::Bars => write!(out, "<path class=\"bars\" d=\"{path}\"/>"),
        };
        out.push_str("</svg></figure>\n");
    }
}

fn slowest(out: &mut String, figures: &Figures, history: &History, admin: &Admin) {
    out.push_str(
        "<section class=\"wide\"><h2>Slowest requests <small>of the last five minutes</small></h2>",
    );
    if history.slowest().is_empty() {
        return out
            .push_str("<p class=\"quiet\">No request has taken a millisecond.</p></section>\n");
    }
    out.push_str(
        "<table class=\"slow\"><tr><th class=\"right\">Took</th><th>Status</th><th>Request</th>",
    );
    if admin.clients {
        out.push_str("<th>Client</th>");
    }
    out.push_str("<th class=\"right\">Ago</th></tr>");
    let now_micros = figures.now.monotonic.0 * 1_000;
    for slow in history.slowest() {
        let (took, status) = (duration(slow.micros), slow.request.status.code());
        let _ = write!(
            out,
            "<tr><td class=\"right\">{took}</td><td>{status}</td><td class=\"path request\">"
        );
        escape(out, &String::from_utf8_lossy(&slow.request.line));
        out.push_str("</td>");
        if admin.clients {
            let _ = match slow.request.client {
                Peer::Ip(address) => write!(out, "<td class=\"path client\">{address}</td>"),
                Peer::Unix => write!(out, "<td class=\"client\">unix socket</td>"),
            };
        }
        let ago_secs = now_micros.saturating_sub(slow.ended_at_micros) / 1_000_000;
        let _ = write!(
            out,
            "<td class=\"right\">{}</td></tr>",
            duration(ago_secs * 1_000_000)
        );
    }
    out.push_str("</table></section>\n");
}

fn closes(out: &mut String, figures: &Figures, history: &History) {
    out.push_str(
        "<section class=\"half\"><h2>Connections closed</h2><table><tr><th>Reason</th>\
         <th class=\"right\">Five minutes</th><th class=\"right\">In all</th></tr>",
    );
    let recent = history.closes();
    for (reason, name) in CloseReason::ALL {
        let count = figures.totals.closes(reason);
        if count > 0 {
            let _ = write!(
                out,
                "<tr><td>{}</td><td class=\"right\">{}</td><td class=\"right\">{}</td></tr>",
                name.replace('_', " "),
                grouped(recent[reason as usize]),
                grouped(count)
            );
        }
    }
    if figures.totals.closed() == 0 {
        out.push_str("<tr><td colspan=\"3\" class=\"quiet\">None so far.</td></tr>");
    }
    out.push_str("</table></section>\n");
}

fn inside(out: &mut String, figures: &Figures) {
    out.push_str("<section class=\"half\"><h2>Inside</h2><table>");
    let reloads = &figures.reloads;
    let reload = match &reloads.last {
        None => "none so far".to_owned(),
        Some(last) => {
            let ago_secs = figures.now.unix_secs.saturating_sub(last.unix_secs);
            let ago = duration(ago_secs * 1_000_000);
            match &last.refusal {
                None => format!("took effect {ago} ago"),
                Some(refusal) => format!("refused {ago} ago: {refusal}"),
            }
        }
    };
    row(out, "Last reload", &reload, !reloads.is_last_applied());
    let busy = (figures.workers).saturating_sub(figures.parked);
    let threads = format!(
        "event loops: {}, workers: {}, busy: {busy}",
        figures.event_loops, figures.workers
    );
    row(out, "Threads", &threads, false);
    let queues = figures
        .queues
        .map(|(name, length)| format!("{name} {length}"));
    row(out, "Queues", &queues.join(", ").replace('_', " "), false);
    let turn = duration(figures.longest_turn_micros);
    row(
        out,
        "Longest turn, last minute",
        &turn,
        figures.longest_turn_micros > 1_000_000,
    );
    if let Some((lookups, loads)) = &figures.lookups {
        let (hits, misses) = (
            lookups.file_hits + lookups.absence_hits,
            lookups.file_misses + lookups.absence_misses,
        );
        let share = 100.0 * hits as f64 / (hits + misses).max(1) as f64;
        let cache = format!(
            "{share:.1} % from memory, {} loads, {loads} under way",
            grouped(misses)
        );
        row(out, "Cache", &cache, false);
    }
    let dropped = figures.log_lines_dropped;
    row(out, "Log lines dropped", &grouped(dropped), dropped > 0);
    let process = &figures.process;
    if let (Some(resident), Some(cpu)) = (process.resident_bytes, process.cpu_secs) {
        let text = format!("{}, {cpu:.1} s of CPU time", size(resident as f64));
        row(out, "Memory and time", &text, false);
    }
    if let Some(open) = process.open_descriptors {
        let most = process
            .most_descriptors
            .map_or("any number".to_owned(), grouped);
        row(
            out,
            "Descriptors",
            &format!("{} of {most}", grouped(open)),
            false,
        );
    }
    out.push_str("</table></section>\n");
}

fn row(out: &mut String, name: &str, value: &str, is_bad: bool) {
    let class = if is_bad { " class=\"bad\"" } else { "" };
    let _ = write!(out, "<tr><td>{name}</td><td{class}>");
    escape(out, value);
    out.push_str("</td></tr>");
}

/// `n` with commas between groups of three digits.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate or a count of a plot: with a decimal only if it is small.
fn decimal(n: f64) -> String {
    if n >= 10.0 || n == n.trunc() {
        grouped(n.round() as u64)
    } else {
        format!("{n:.1}")
    }
}

/// A number of bytes with a binary unit.
fn size(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        (size, unit) = (size / 1024.0, unit + 1);
    }
    format!("{} {}", decimal(size), UNITS[unit])
}

/// A time in the unit that suits it.
fn duration(micros: u64) -> String {
    let secs = micros / 1_000_000;
    match micros {
        0 => "0 s".to_owned(),
        1..1_000 => format!("{micros} \u{b5}s"),
        1_000..1_000_000 => format!("{} ms", decimal(micros as f64 / 1e3)),
        1_000_000..120_000_000 => format!("{} s", decimal(micros as f64 / 1e6)),
        _ if secs < 2 * 3_600 => format!("{} min", secs / 60),
        _ if secs < 2 * 86_400 => format!("{} h", secs / 3_600),
        _ => format!("{} days", grouped(secs / 86_400)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let durations = [
            0,
            50,
            1_500,
            250_000,
            1_000_000,
            3_599_000_000,
            200_000_000_000_000,
        ];
        let expected = [
            "0 s",
            "50 \u{b5}s",
            "1.5 ms",
            "250 ms",
            "1 s",
            "59 min",
            "2,314 days",
        ];
        assert_eq!(durations.map(duration), expected);
        let sizes = [0.0, 1023.0, 1536.0, 5e6, 5e15];
        assert_eq!(
            sizes.map(size),
            ["0 B", "1,023 B", "1.5 KiB", "4.8 MiB", "4,547 TiB"]
        );
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
    }

    #[test]
    fn a_nonce_is_used_once() {
        assert_eq!(nonce().len(), 32);
        assert_ne!(nonce(), nonce());
    }

    #[test]
    fn a_plot_reaches_from_the_lowest_to_the_highest_point() {
        let mut points = [0.0; POINTS];
        points[POINTS - 1] = 8.0;
        let mut out = String::new();
        Plot::new("x", "", Shape::Bars).draw(&mut out, &points);
        assert!(out.contains("d=\"M59.1 30v-29.00h.8v29.00z\""), "{out}");
        assert!(out.contains("now 8, at most 8"), "{out}");
        out.clear();
        Plot::new("x", "", Shape::Area).draw(&mut out, &[0.0; POINTS]);
        assert!(out.contains("d=\"M.5 30L0.5 30.00L1.5 30.00"), "{out}");
        assert!(
            out.contains("<path class=\"stroke\" d=\"M0.5 30.00L"),
            "{out}"
        );
    }
}
