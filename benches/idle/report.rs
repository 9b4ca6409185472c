//! A Markdown table of what was asked for and what was found.

use std::fmt::Display;

/// The head of the table, once.
pub fn head(title: &str) {
    println!("\n## {title}\n\n| what | target | measured | met |\n|---|---|---|---|");
}

/// A line with a target.
pub fn line(what: &str, target: &str, measured: impl Display, is_met: bool) {
    let met = if is_met { "yes" } else { "NO" };
    println!("| {what} | {target} | {measured} | {met} |");
}

/// A line without one.
pub fn note(what: &str, measured: impl Display) {
    println!("| {what} | | {measured} | |");
}
