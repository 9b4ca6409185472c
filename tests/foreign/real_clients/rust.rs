//! Rust's reqwest (hyper) and ureq, in threads of the test. Their own limits are 90 s and 15 s. hyper reads
//! from an idle connection and so sees its close; ureq checks before it sends. Neither repeats a GET that
//! was lost on the way.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustls::crypto::aws_lc_rs::default_provider;
use ureq::tls::{RootCerts, TlsConfig};

use super::edges::assert_nothing_lost_within_t;
use super::trial::{Load, Outcome, Report, STAGGER_MILLIS, Trial};

const TIMEOUT: Duration = Duration::from_secs(20);

/// Status and body.
type Answer = Result<(u16, String), Box<dyn Error>>;

/// A thread for each lane, with its own client.
fn lanes<C>(
    load: &Load,
    client: impl Fn() -> C + Sync,
    fetch: impl Fn(&C, &str) -> Answer + Sync,
) -> Outcome {
    let outcome = Mutex::new(Outcome::default());
    thread::scope(|scope| {
        for lane in 0..load.lanes {
            let (client, fetch, outcome) = (&client, &fetch, &outcome);
            scope.spawn(move || {
                let client = client();
                for request in 0..load.requests {
                    let start = Instant::now();
                    let gap = load.gap_before(lane, request);
                    thread::sleep(gap);
                    let late = start.elapsed().saturating_sub(gap);
                    let answer = fetch(&client, &load.urls[lane % load.urls.len()]);
                    let answer = check_answer(answer, load.body);
                    let mut outcome = outcome.lock().expect("no lane panics");
                    outcome.add(answer);
                    outcome.late = outcome.late.max(late);
                }
            });
            thread::sleep(Duration::from_millis(STAGGER_MILLIS));
        }
    });
    outcome.into_inner().expect("no lane panics")
}

fn check_answer(answer: Answer, expected: &str) -> Result<(), String> {
    match answer {
        Ok((200, body)) if body == expected => Ok(()),
        Ok((200, _)) => Err("another body".to_owned()),
        Ok((status, _)) => Err(format!("status {status}")),
        Err(error) => Err(chain(error.as_ref())),
    }
}

/// An error with its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Runs the lanes of reqwest, with this idle limit instead of its own, if any.
pub fn reqwest_lanes(load: &Load, idle_limit_secs: Option<u64>) -> Outcome {
    let authority = load.authority.as_ref().map(|path| {
        let pem = std::fs::read(path).expect("the authority");
        reqwest::Certificate::from_pem(&pem).expect("a certificate")
    });
    let client = || {
        let mut builder = reqwest::blocking::Client::builder()
            .no_proxy()
            .timeout(TIMEOUT);
        if let Some(limit) = idle_limit_secs {
            builder = builder.pool_idle_timeout(Duration::from_secs(limit));
        }
        if let Some(authority) = &authority {
            builder = builder.tls_certs_only([authority.clone()]);
        }
        builder.build().expect("a client")
    };
    let fetch = |client: &reqwest::blocking::Client, url: &str| -> Answer {
        let response = client.get(url).send()?;
        Ok((response.status().as_u16(), response.text()?))
    };
    Outcome {
        version: locked_version("reqwest"),
        ..lanes(load, client, fetch)
    }
}

/// Tries reqwest, with this idle limit instead of its own, if any.
fn reqwest(idle_limit_secs: Option<u64>, gaps: &[u64]) -> Report {
    trial("reqwest", idle_limit_secs, gaps, |load| {
        reqwest_lanes(load, idle_limit_secs)
    })
}

/// Tries ureq, with this idle limit instead of its own, if any.
fn ureq(idle_limit_secs: Option<u64>, gaps: &[u64]) -> Report {
    trial("ureq", idle_limit_secs, gaps, |load| {
        ureq_lanes(load, idle_limit_secs)
    })
}

/// Runs the lanes of ureq, with this idle limit instead of its own, if any.
pub fn ureq_lanes(load: &Load, idle_limit_secs: Option<u64>) -> Outcome {
    let tls = TlsConfig::builder().unversioned_rustls_crypto_provider(Arc::new(default_provider()));
    let tls = match &load.authority {
        Some(path) => {
            let pem = std::fs::read(path).expect("the authority");
            let authority = ureq::tls::Certificate::from_pem(&pem).expect("a certificate");
            tls.root_certs(RootCerts::from(vec![authority]))
        }
        None => tls,
    };
    let tls = tls.build();
    let client = || {
        let mut builder = ureq::Agent::config_builder()
            .proxy(None)
            .tls_config(tls.clone())
            .timeout_global(Some(TIMEOUT));
        if let Some(limit) = idle_limit_secs {
            builder = builder.max_idle_age(Duration::from_secs(limit));
        }
        builder.build().new_agent()
    };
    let fetch = |agent: &ureq::Agent, url: &str| -> Answer {
        let mut response = agent.get(url).call()?;
        let body = response.body_mut().read_to_string()?;
        Ok((response.status().as_u16(), body))
    };
    Outcome {
        version: locked_version("ureq"),
        ..lanes(load, client, fetch)
    }
}

fn trial(
    name: &str,
    idle_limit_secs: Option<u64>,
    gaps: &[u64],
    client: impl Fn(&Load) -> Outcome,
) -> Report {
    let name = match idle_limit_secs {
        None => name.to_owned(),
        Some(limit) => format!("{name}, idle limit {limit} s"),
    };
    Trial::of(&name).gaps(gaps).run_with(client)
}

/// The version of a crate in the lock file.
fn locked_version(name: &str) -> String {
    let locked = include_str!("../../../Cargo.lock");
    let start = format!("name = \"{name}\"\nversion = \"");
    let (_, rest) = locked.split_once(&start).expect("a locked crate");
    rest.split('"').next().unwrap_or_default().to_owned()
}

#[test]
#[ignore = "takes half a minute"]
fn reqwest_loses_nothing_within_t() {
    assert_nothing_lost_within_t(reqwest);
}

#[test]
#[ignore = "takes half a minute"]
fn ureq_loses_nothing_within_t() {
    assert_nothing_lost_within_t(ureq);
}
