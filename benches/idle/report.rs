//! A Markdown table of targets and measurements.

use std::fmt::Display;

/// Prints the head of the table.
pub fn head(title: &str) {
    println!("\n## {title}\n\n| what | target | measured | met |\n|---|---|---|---|");
}

/// Prints a line with a target.
pub fn line(what: &str, target: &str, measured: impl Display, is_met: bool) {
    let met = if is_met { "yes" } else { "NO" };
    println!("| {what} | {target} | {measured} | {met} |");
}

/// Prints a line without a target.
pub fn note(what: &str, measured: impl Display) {
    println!("| {what} | | {measured} | |");
}
