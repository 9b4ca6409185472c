//! The effect of some clients on others: `cargo bench --bench fairness`. It prints tables of latencies, after
//! five minutes.
//!
//! The first part has greedy and slow clients ([`neighbours`]), the second floods of TLS handshakes
//! ([`flood`]). `-- neighbours` or `-- flood` runs one of the two.

mod flood;
mod neighbours;

fn main() {
    let parts: Vec<String> = std::env::args()
        .skip(1)
        // Cargo adds this argument.
        .filter(|argument| argument != "--bench")
        .collect();
    let is_wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    if is_wanted("neighbours") {
        neighbours::run();
    }
    if is_wanted("flood") {
        flood::run();
    }
}
