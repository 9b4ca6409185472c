//! The tables, in Markdown.

use std::fmt::Write;
use std::fs;

use super::floor::FLOOR_NAME;
use super::load::{MEDIAN, P99};
use super::results::{Measure, Outcome, Row};

/// A description of this machine, which has `cpus` CPUs: processor, memory, kernel.
pub fn machine(cpus: usize) -> String {
    let value = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or_else(String::new, |(_, value)| value.trim().to_owned())
    };
    let model = value("/proc/cpuinfo", "model name");
    let memory = value("/proc/meminfo", "MemTotal");
    let kilobytes: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{} CPUs ({model}), {} GB of memory, Linux {}",
        cpus,
        (kilobytes + (1 << 19)) >> 20,
        kernel.trim()
    )
}

/// Formats three significant digits, and all digits before the decimal point.
pub fn digits(value: f64) -> String {
    match value {
        v if v >= 99.95 => grouped(v.round() as u64),
        v if v >= 9.995 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// Formats a number with commas between thousands.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The table of one cell.
pub fn cell(outcome: &Outcome) -> String {
    let mut text = format!("### {} (`{}`)\n\n", outcome.cell.title, outcome.cell.name);
    text += "| server | requests/s | CPU µs per request | p50 µs | p99 µs | memory MB | CPU, abide = 1 |\n";
    text += "|---|--:|--:|--:|--:|--:|--:|\n";
    let abide = outcome.abide().map(|row| row.sample.cpu_micros);
    for Row { name, sample, .. } in &outcome.rows {
        let ratio = abide.map_or_else(String::new, |abide| digits(sample.cpu_micros / abide));
        let _ = writeln!(
            text,
            "| {name}{} | {} | {} | {} | {} | {} | {ratio} |",
            wrong(sample.wrong),
            grouped(sample.rate as u64),
            digits(sample.cpu_micros),
            digits(sample.latency_micros[MEDIAN]),
            digits(sample.latency_micros[P99]),
            digits(sample.memory_bytes / f64::from(1 << 20)),
        );
    }
    text.push('\n');
    if let Some(asked) = outcome.asked {
        let asked = grouped(asked as u64);
        let _ = writeln!(text, "The client means to send {asked} requests/s.\n");
    }
    let names = ["CPU", "requests/s", "p50", "p99"];
    let ratios = Measure::ALL
        .iter()
        .zip(names)
        .filter_map(|(measure, name)| {
            let comparison = outcome.comparison(*measure)?;
            Some(format!(
                "{name} {} ({})",
                digits(comparison.ratio),
                comparison.best.name
            ))
        });
    let ratios: Vec<String> = ratios.collect();
    if !ratios.is_empty() {
        let _ = writeln!(text, "abide / best: {}\n", ratios.join(", "));
    }
    if let Some(ratio) = outcome.floor_ratio() {
        let _ = writeln!(text, "floor / best: CPU {}\n", digits(ratio));
    }
    text
}

fn wrong(part: f64) -> String {
    if part == 0.0 {
        return String::new();
    }
    format!(" ({:.1} % wrong or lost)", part * 100.0)
}

/// The summary, with a line for each cell: CPU time of all servers, and the ratios of abide and the floor.
pub fn summary(outcomes: &[Outcome], names: &[String]) -> String {
    let mut text = "## Server CPU, µs per request\n\n".to_owned();
    let has_floor = names.iter().any(|name| name == FLOOR_NAME);
    if has_floor {
        text += "The floor makes the system calls of each request, and nothing else. Its cost is the \
                 kernel's part, which no server with an event loop can save.\n\n";
    }
    let floor = |column: &'static str| if has_floor { column } else { "" };
    let names_line = names.join(" | ");
    let _ = writeln!(
        text,
        "| cell | {names_line} | abide / best |{}",
        floor(" floor / best |")
    );
    let _ = writeln!(
        text,
        "|---|{}--:|{}",
        "--:|".repeat(names.len()),
        floor("--:|")
    );
    for outcome in outcomes {
        let _ = write!(text, "| {} |", outcome.cell.title);
        for name in names {
            let row = outcome.row(name);
            let value = row.map_or_else(String::new, |row| digits(row.sample.cpu_micros));
            let _ = write!(text, " {value} |");
        }
        let ratio = outcome.comparison(Measure::Cpu);
        let ratio = ratio.map_or_else(String::new, |comparison| digits(comparison.ratio));
        let _ = write!(text, " {ratio} |");
        if has_floor {
            let ratio = outcome.floor_ratio().map_or_else(String::new, digits);
            let _ = write!(text, " {ratio} |");
        }
        text.push('\n');
    }
    text.push('\n');
    text
}

/// The table of targets and results.
pub fn targets(outcomes: &[Outcome]) -> String {
    let mut text = "## Targets: abide / best of nginx, lighttpd, h2o and Caddy\n\n".to_owned();
    text += "| cell | CPU per request | requests/s | p50 | p99 |\n|---|---|---|---|---|\n";
    for outcome in outcomes {
        let _ = write!(text, "| {} |", outcome.cell.title);
        for measure in Measure::ALL {
            let comparison = outcome.comparison(measure);
            let with_target = comparison.and_then(|found| Some((found.target?, found)));
            let Some((target, comparison)) = with_target else {
                text += " |";
                continue;
            };
            let sign = if matches!(measure, Measure::Rate) {
                "≥"
            } else {
                "≤"
            };
            let ratio = digits(comparison.ratio);
            let verdict = if comparison.is_met {
                "met"
            } else {
                "**missed**"
            };
            let _ = write!(text, " {ratio} ({sign} {target:.2}: {verdict}) |");
        }
        text.push('\n');
    }
    text.push('\n');
    text
}

/// The table of throughput by number of connections.
pub fn series(outcomes: &[Outcome], names: &[String]) -> String {
    let mut text = "## Requests/s, 1 KB, over connections\n\n".to_owned();
    let _ = writeln!(text, "| connections | {} |", names.join(" | "));
    let _ = writeln!(text, "|--:|{}", "--:|".repeat(names.len()));
    for outcome in outcomes {
        let connections = grouped(outcome.cell.connections.into());
        let _ = write!(text, "| {connections} |");
        for name in names {
            let row = outcome.row(name);
            let value = row.map_or_else(String::new, |row| {
                grouped(row.sample.rate as u64) + &wrong(row.sample.wrong)
            });
            let _ = write!(text, " {value} |");
        }
        text.push('\n');
    }
    text.push('\n');
    text
}
