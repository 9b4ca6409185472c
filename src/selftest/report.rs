//! The results of the self-test as text: a line for each client, and a concluding sentence.

use std::fmt;

use super::simulated_client::RequestCounts;
use super::table::{Client, IdleLimit, Prediction};
use crate::config::{IdleClose, KeepAlive};

/// The result of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    client: &'static Client,
    counts: RequestCounts,
    prediction: Prediction,
    is_promised: bool,
}

/// The results of all clients.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    rows: Vec<Row>,
    over_tls: bool,
    configured: KeepAlive,
    tested: KeepAlive,
}

impl Row {
    /// The counts of `client`, and the prediction for the configuration `configured`.
    #[must_use]
    pub fn new(client: &'static Client, counts: RequestCounts, configured: &KeepAlive) -> Row {
        Row {
            client,
            counts,
            prediction: client.predict(configured),
            is_promised: client.is_promised(configured),
        }
    }

    /// The client's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.client.name
    }

    /// Requests that the client lost in the test.
    #[must_use]
    pub fn lost(&self) -> u32 {
        self.counts.lost
    }

    /// Whether the client loses no request, both by prediction and in the test.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        let never = matches!(self.prediction, Prediction::Safe | Prediction::NeverReuses);
        never && self.counts.lost == 0 && self.counts.retried == 0
    }

    fn verdict(&self, keep_alive: &KeepAlive) -> String {
        let RequestCounts { lost, retried, .. } = self.counts;
        let idle_close_after = keep_alive.idle_close_after_secs();
        match self.prediction {
            Prediction::Safe | Prediction::NeverReuses if lost + retried > 0 => {
                format!("no: it should lose nothing and lost {}", lost + retried)
            }
            Prediction::Retries if lost > 0 => format!("no: it retried and lost {lost}"),
            Prediction::Safe => "yes".to_owned(),
            Prediction::NeverReuses => "yes, it never reuses a connection".to_owned(),
            Prediction::Retries => "yes, it retries".to_owned(),
            Prediction::NoLimit => "no: it has no idle limit and does not retry; \
                 keep_alive.close = \"pressure\" loses nothing"
                .to_owned(),
            Prediction::KeepsTooLong { secs } => format!(
                "no: {secs} s is {} our close at T + grace = {idle_close_after} s",
                if secs > idle_close_after {
                    "beyond"
                } else {
                    "too near to"
                }
            ),
        }
    }

    fn kept(&self, keep_alive: &KeepAlive) -> String {
        match self.client.idle_limit {
            IdleLimit::Hint { less_secs: 0 } => format!("T = {} s", keep_alive.timeout_secs),
            IdleLimit::Hint { less_secs } => format!(
                "T - {less_secs} s = {} s",
                keep_alive.timeout_secs.saturating_sub(less_secs)
            ),
            IdleLimit::Fixed { secs } => format!("{secs} s"),
            IdleLimit::Unlimited => "no limit".to_owned(),
        }
    }
}

impl Report {
    pub(super) fn new(
        rows: Vec<Row>,
        over_tls: bool,
        configured: KeepAlive,
        tested: KeepAlive,
    ) -> Report {
        Report {
            rows,
            over_tls,
            configured,
            tested,
        }
    }

    /// A row for each client.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Whether every client that keeps to what is advertised is safe.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        self.rows
            .iter()
            .all(|row| !row.is_promised || row.is_safe())
    }

    fn write_conclusion(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let configured = &self.configured;
        if let Some(limit) = configured.behind.idle_limit_secs() {
            let timeout = configured.timeout_secs;
            let verdict = if limit <= timeout { "safe" } else { "not safe" };
            writeln!(
                f,
                "{verdict} behind this proxy: it keeps a connection for {limit} s, and T is {timeout} s"
            )?;
        }
        if self.is_safe() {
            let clients = match configured.close {
                IdleClose::Timeout => "every client that honours the hint",
                IdleClose::Pressure => "every client, as long as there is room for all",
            };
            return writeln!(f, "safe for {clients}");
        }
        let unsafe_rows = self.rows.iter();
        let unsafe_rows = unsafe_rows.filter(|row| row.is_promised && !row.is_safe());
        let names: Vec<&str> = unsafe_rows.map(Row::name).collect();
        writeln!(
            f,
            "not safe, against what is promised to them, for: {}",
            names.join("; ")
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (configured, tested) = (&self.configured, &self.tested);
        let close = match configured.close {
            IdleClose::Timeout => "",
            IdleClose::Pressure => ", closed under pressure only",
        };
        let over = if self.over_tls { "over TLS: " } else { "" };
        writeln!(
            f,
            "{over}T = {} s, grace = {} s, max = {}{close}; tested with T = {} s, grace = {} s, max = {}\n",
            configured.timeout_secs,
            configured.grace_secs,
            configured.max_requests,
            tested.timeout_secs,
            tested.grace_secs,
            tested.max_requests,
        )?;
        let titles = ["requests", "reused", "retried", "lost"];
        let [requests, reused, retried, lost] = titles;
        writeln!(
            f,
            "{:<24}{:<18}{requests:>8}{reused:>8}{retried:>9}{lost:>6}  safe",
            "client", "keeps idle for"
        )?;
        for row in &self.rows {
            let RequestCounts {
                requests,
                reused,
                retried,
                lost,
            } = row.counts;
            writeln!(
                f,
                "{:<24}{:<18}{requests:>8}{reused:>8}{retried:>9}{lost:>6}  {}",
                row.name(),
                row.kept(configured),
                row.verdict(configured)
            )?;
        }
        writeln!(f)?;
        self.write_conclusion(f)
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::CLIENTS;
    use super::*;
    use crate::config::{Config, Proxy};

    fn report(configured: KeepAlive, spoil: impl Fn(&Client, &mut RequestCounts)) -> Report {
        let rows = CLIENTS.iter().map(|client| {
            let mut counts = RequestCounts {
                requests: 240,
                reused: 200,
                ..RequestCounts::default()
            };
            spoil(client, &mut counts);
            Row::new(client, counts, &configured)
        });
        Report::new(rows.collect(), false, configured.clone(), configured)
    }

    fn line<'a>(text: &'a str, name: &str) -> &'a str {
        text.lines().find(|line| line.starts_with(name)).unwrap()
    }

    #[test]
    fn the_defaults_are_safe() {
        let report = report(Config::default().keep_alive, |_, _| {});
        assert!(report.is_safe());
        let text = report.to_string();
        assert!(
            text.ends_with("\nsafe for every client that honours the hint\n"),
            "{text}"
        );
        assert!(line(&text, "Firefox").ends_with("   0  yes"), "{text}");
        assert!(line(&text, "Python requests").contains("  no: it has no idle limit"));
        assert!(
            line(&text, "Google").ends_with("no: 600 s is beyond our close at T + grace = 130 s")
        );
    }

    #[test]
    fn a_loss_that_arithmetic_did_not_foresee_counts() {
        let report = report(Config::default().keep_alive, |client, counts| {
            counts.lost = u32::from(client.name == "Firefox");
        });
        assert!(!report.is_safe());
        let text = report.to_string();
        assert!(line(&text, "Firefox").ends_with("no: it should lose nothing and lost 1"));
        assert!(text.ends_with("for: Firefox\n"), "{text}");
    }

    #[test]
    fn a_retry_of_a_client_that_should_never_need_one_counts() {
        let report = report(Config::default().keep_alive, |client, counts| {
            counts.retried = u32::from(client.name.starts_with("Java Http"));
        });
        assert!(!report.is_safe());
    }

    #[test]
    fn losses_of_clients_that_ignore_the_hint_are_reported_but_not_unsafe() {
        let report = report(Config::default().keep_alive, |client, counts| {
            counts.lost = u32::from(client.name == "Python requests");
        });
        assert!(report.is_safe());
    }

    #[test]
    fn the_proxy_in_front_is_named() {
        let keep_alive = KeepAlive {
            behind: Proxy::Alb,
            ..Config::default().keep_alive
        };
        let text = report(keep_alive, |_, _| {}).to_string();
        let sentence = "safe behind this proxy: it keeps a connection for 60 s, and T is 120 s";
        assert_eq!(text.lines().nth_back(1), Some(sentence));
    }
}
