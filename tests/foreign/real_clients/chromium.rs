//! Headless Chromium: it keeps a connection for 300 s whatever the hint is, sees an idle close at once,
//! and repeats a GET whose connection ended before a byte of the answer.
//!
//! A small server in the test sends the page that runs the lanes, and receives the page's report.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use percent_encoding::percent_decode_str;

use super::edges::{AROUND_THE_CLOSE, WITHIN_T, assert_kept};
use super::trial::{Load, Outcome, Report, Trial};
use support::browser::Browser;

/// Allows the page to read answers of other origins, and to trust an authority of which the profile knows
/// nothing.
const SWITCHES: [&str; 2] = ["--disable-web-security", "--ignore-certificate-errors"];

pub fn chromium(load: &Load) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let mut browser = Browser::open(&format!("http://{address}/"), &SWITCHES);
    Outcome::parse(&report(&listener, load, &mut browser))
}

/// The page with its parameters.
fn page(load: &Load) -> String {
    // Rust's notation of numbers and plain text is valid JavaScript.
    let task = format!(
        "{{ urls: {:?}, lanes: {}, requests: {}, gaps: {:?}, body: {:?} }}",
        load.urls, load.lanes, load.requests, load.gaps_millis, load.body
    );
    include_str!("chromium.html").replacen("= LOAD;", &format!("= {task};"), 1)
}

/// Serves the page until the report comes.
fn report(listener: &TcpListener, load: &Load, browser: &mut Browser) -> String {
    let (page, limit) = (page(load), load.limit());
    listener.set_nonblocking(true).expect("non-blocking");
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < limit, "no report from the page");
        browser.assert_runs();
        match listener.accept() {
            // The browser may open a connection in advance, and use it late or never.
            Ok((stream, _)) => {
                if let Ok(Some(report)) = serve(stream, &page) {
                    return report;
                }
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Answers one request with the page. If the request is the report, returns it.
fn serve(mut stream: TcpStream, page: &str) -> io::Result<Option<String>> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    // The request ends with its head, since it has no body.
    while !request.ends_with("\r\n\r\n") {
        if reader.read_line(&mut request)? == 0 {
            return Ok(None);
        }
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    )?;
    let report = request.strip_prefix("GET /report?");
    Ok(report.map(|rest| {
        let query = rest.split(' ').next().unwrap_or_default();
        percent_decode_str(query).decode_utf8_lossy().into_owned()
    }))
}

/// Chromium opens no more than 256 connections at a time.
fn trial(name: &str, gaps: &[u64]) -> Report {
    let trial = Trial::of(&format!("Chromium {name}")).gaps(gaps);
    trial.lanes(220, 5).an_origin_each().run_with(chromium)
}

#[test]
#[ignore = "needs chromium"]
fn chromium_loses_nothing_within_t() {
    thread::scope(|scope| {
        scope.spawn(|| assert_kept(&trial("within T", &WITHIN_T)));
        scope.spawn(|| trial("around the close", &AROUND_THE_CLOSE).assert_reused());
    });
}
