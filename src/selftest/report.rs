//! What came of the self-test, as text: a line for each client, and a sentence.

use std::fmt;

use super::player::Tally;
use super::table::{Client, Keeps, Verification};
use crate::config::{IdleClose, KeepAlive};

/// What came of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    client: &'static Client,
    tally: Tally,
    judgement: Verification,
    is_promised: bool,
}

/// What came of all of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    rows: Vec<Row>,
    configured: KeepAlive,
    played: KeepAlive,
}

impl Row {
    /// What `client` went through, and what `configured` means for it.
    #[must_use]
    pub fn new(client: &'static Client, tally: Tally, configured: &KeepAlive) -> Row {
        Row {
            client,
            tally,
            judgement: client.judge(configured),
            is_promised: client.is_promised(configured),
        }
    }

    /// The client's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.client.name
    }

    /// Requests that it lost, as far as was seen.
    #[must_use]
    pub fn lost(&self) -> u32 {
        self.tally.lost
    }

    /// Whether it can lose nothing: neither by arithmetic nor by what was seen.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        let never = matches!(
            self.judgement,
            Verification::Safe | Verification::NeverReuses
        );
        never && self.tally.lost == 0 && self.tally.retried == 0
    }

    fn verdict(&self, keep_alive: &KeepAlive) -> String {
        let Tally { lost, retried, .. } = self.tally;
        let reaped_after = keep_alive.reaped_after_secs();
        match self.judgement {
            Verification::Safe | Verification::NeverReuses if lost + retried > 0 => {
                format!("no: it should lose nothing and lost {}", lost + retried)
            }
            Verification::Retries if lost > 0 => format!("no: it retried and lost {lost}"),
            Verification::Safe => "yes".to_owned(),
            Verification::NeverReuses => "yes, it never reuses a connection".to_owned(),
            Verification::Retries => "yes, it retries".to_owned(),
            Verification::NoLimit => "no: it has no idle limit and does not retry; \
                 keep_alive.close = \"pressure\" loses nothing"
                .to_owned(),
            Verification::KeepsTooLong { secs } => format!(
                "no: {secs} s is {} our close at T + grace = {reaped_after} s",
                if secs > reaped_after {
                    "beyond"
                } else {
                    "too near to"
                }
            ),
        }
    }

    fn kept(&self, keep_alive: &KeepAlive) -> String {
        match self.client.keeps {
            Keeps::Hint { less_secs: 0 } => format!("T = {} s", keep_alive.timeout_secs),
            Keeps::Hint { less_secs } => format!(
                "T - {less_secs} s = {} s",
                keep_alive.timeout_secs.saturating_sub(less_secs)
            ),
            Keeps::Own { secs } => format!("{secs} s"),
            Keeps::Forever => "no limit".to_owned(),
        }
    }
}

impl Report {
    pub(super) fn new(rows: Vec<Row>, configured: KeepAlive, played: KeepAlive) -> Report {
        Report {
            rows,
            configured,
            played,
        }
    }

    /// A row for each client.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Whether no client that keeps to what is advertised could lose a request.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        self.rows
            .iter()
            .all(|row| !row.is_promised || row.is_safe())
    }

    fn conclude(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
            let whom = match configured.close {
                IdleClose::Timeout => "every client that honours the hint",
                IdleClose::Pressure => "every client, as long as there is room for all",
            };
            return writeln!(f, "safe for {whom}");
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
        let (configured, played) = (&self.configured, &self.played);
        let close = match configured.close {
            IdleClose::Timeout => "",
            IdleClose::Pressure => ", closed under pressure only",
        };
        writeln!(
            f,
            "T = {} s, grace = {} s, max = {}{close}; played with T = {} s, grace = {} s, max = {}\n",
            configured.timeout_secs,
            configured.grace_secs,
            configured.max_requests,
            played.timeout_secs,
            played.grace_secs,
            played.max_requests,
        )?;
        let titles = ["requests", "reused", "retried", "lost"];
        let [requests, reused, retried, lost] = titles;
        writeln!(
            f,
            "{:<24}{:<18}{requests:>8}{reused:>8}{retried:>9}{lost:>6}  safe",
            "client", "keeps idle for"
        )?;
        for row in &self.rows {
            let Tally {
                requests,
                reused,
                retried,
                lost,
            } = row.tally;
            writeln!(
                f,
                "{:<24}{:<18}{requests:>8}{reused:>8}{retried:>9}{lost:>6}  {}",
                row.name(),
                row.kept(configured),
                row.verdict(configured)
            )?;
        }
        writeln!(f)?;
        self.conclude(f)
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::CLIENTS;
    use super::*;
    use crate::config::{Config, Proxy};

    fn report(configured: KeepAlive, spoil: impl Fn(&Client, &mut Tally)) -> Report {
        let rows = CLIENTS.iter().map(|client| {
            let mut tally = Tally {
                requests: 240,
                reused: 200,
                ..Tally::default()
            };
            spoil(client, &mut tally);
            Row::new(client, tally, &configured)
        });
        Report::new(rows.collect(), configured.clone(), configured)
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
        let report = report(Config::default().keep_alive, |client, tally| {
            tally.lost = u32::from(client.name == "Firefox");
        });
        assert!(!report.is_safe());
        let text = report.to_string();
        assert!(line(&text, "Firefox").ends_with("no: it should lose nothing and lost 1"));
        assert!(text.ends_with("for: Firefox\n"), "{text}");
    }

    #[test]
    fn a_retry_of_a_client_that_should_never_need_one_counts() {
        let report = report(Config::default().keep_alive, |client, tally| {
            tally.retried = u32::from(client.name.starts_with("Java Http"));
        });
        assert!(!report.is_safe());
    }

    #[test]
    fn losses_of_those_who_ignore_the_hint_are_told_and_do_not_make_it_unsafe() {
        let report = report(Config::default().keep_alive, |client, tally| {
            tally.lost = u32::from(client.name == "Python requests");
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
