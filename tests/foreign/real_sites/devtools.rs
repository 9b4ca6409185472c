//! A page in headless Chromium, seen through its developer tools: console messages, answers, and failed
//! requests.
//!
//! The test and the browser exchange JSON messages, each ended by NUL, over two pipes.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use support::browser::Browser;

/// The time limit for starting a browser and loading a page on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The result of loading a page.
#[derive(Default)]
pub struct Visit {
    /// One line for each error and warning, including uncaught exceptions and failed requests.
    pub complaints: Vec<String>,
    /// The URLs and statuses of the answers.
    pub answers: Vec<(String, u64)>,
    /// The value of the expression.
    pub value: Value,
}

/// Loads the page at `url`, and waits until `expression`, a promise, resolves.
pub fn visit(url: &str, expression: &str) -> Visit {
    let mut devtools = DevtoolsClient::start();
    let target = devtools.call("Target.createTarget", json!({ "url": "about:blank" }));
    let target = json!({ "targetId": target["targetId"], "flatten": true });
    devtools.session = Some(devtools.call("Target.attachToTarget", target)["sessionId"].clone());
    for domain in ["Runtime", "Log", "Network", "Page"] {
        devtools.call(&format!("{domain}.enable"), json!({}));
    }
    devtools.call("Page.navigate", json!({ "url": url }));
    while !devtools.has_loaded {
        devtools.listen();
    }
    let question = json!({
        "expression": expression, "awaitPromise": true, "returnByValue": true
    });
    let answer = devtools.call("Runtime.evaluate", question);
    let mut visit = devtools.visit;
    if let Some(exception) = answer.get("exceptionDetails") {
        visit.complaints.push(exception.to_string());
    }
    visit.value = answer["result"]["value"].clone();
    visit
}

/// A connection to a browser.
struct DevtoolsClient {
    to: ChildStdin,
    from: Receiver<Value>,
    last_id: u64,
    /// The attached page, once there is one.
    session: Option<Value>,
    has_loaded: bool,
    visit: Visit,
    start: Instant,
    _browser: Browser,
}

impl DevtoolsClient {
    fn start() -> DevtoolsClient {
        let (browser, to, from) = Browser::piloted();
        let (sender, receiver) = channel();
        // This thread ends with the browser.
        thread::spawn(move || {
            for message in messages(from) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        DevtoolsClient {
            to,
            from: receiver,
            last_id: 0,
            session: None,
            has_loaded: false,
            visit: Visit::default(),
            start: Instant::now(),
            _browser: browser,
        }
    }

    /// Calls a method of the protocol and returns its result. Events before the result are recorded.
    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let mut message = json!({ "id": self.last_id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = session.clone();
        }
        let sent = write!(self.to, "{message}\0");
        sent.expect("chromium is installed and listens: see .ci/install");
        loop {
            let message = self.listen();
            if message["id"] == self.last_id {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
        }
    }

    /// Receives the next message, and records events of the page.
    fn listen(&mut self) -> Value {
        let left = LIMIT.saturating_sub(self.start.elapsed());
        let message = self.from.recv_timeout(left);
        let message = message.expect("chromium is installed and answers in time: see .ci/install");
        let said = &message["params"];
        let complaint = match message["method"].as_str().unwrap_or_default() {
            "Page.loadEventFired" => {
                self.has_loaded = true;
                return message;
            }
            "Network.responseReceived" => {
                let response = &said["response"];
                let url = response["url"].as_str().unwrap_or_default().to_owned();
                let status = response["status"].as_u64().unwrap_or_default();
                self.visit.answers.push((url, status));
                return message;
            }
            "Runtime.consoleAPICalled" => is_grave(&said["type"]),
            "Log.entryAdded" => is_grave(&said["entry"]["level"]),
            "Runtime.exceptionThrown" | "Network.loadingFailed" => true,
            _ => false,
        };
        if complaint {
            self.visit.complaints.push(said.to_string());
        }
        message
    }
}

fn is_grave(level: &Value) -> bool {
    ["error", "warning", "assert"].iter().any(|it| level == it)
}

fn messages(from: ChildStdout) -> impl Iterator<Item = Value> {
    let pieces = BufReader::new(from).split(0);
    pieces
        .map_while(Result::ok)
        .map_while(|piece| serde_json::from_slice(&piece).ok())
}
