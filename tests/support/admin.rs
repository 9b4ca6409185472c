//! The admin listener of a server, as an operator's programs use it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::Value;

use super::{Client, Response, Server};

/// A configuration with an admin listener on a free port.
pub const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n";

/// The admin listener of a server.
#[derive(Debug, Clone)]
pub enum Admin {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Admin {
    /// The listener that the server has announced.
    pub fn of(server: &Server) -> Admin {
        let said = server.stderr();
        let url = said.lines().find_map(|line| line.strip_prefix("admin on "));
        let url = url.unwrap_or_else(|| panic!("no admin listener: {said}"));
        match url.strip_prefix("unix:") {
            Some(path) => Admin::Unix(path.into()),
            None => Admin::Tcp(
                url.trim_start_matches("http://")
                    .parse()
                    .expect("an address"),
            ),
        }
    }

    pub fn address(&self) -> SocketAddr {
        match self {
            Admin::Tcp(address) => *address,
            Admin::Unix(path) => panic!("{} is no TCP address", path.display()),
        }
    }

    pub fn connect(&self) -> Client {
        match self {
            Admin::Tcp(address) => Client::connect(*address),
            Admin::Unix(path) => Client::connect_unix(path),
        }
    }

    /// The response to a GET, after which the connection has ended.
    pub fn get(&self, target: &str) -> Response {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    /// The response to these bytes, after which the connection has ended.
    pub fn ask(&self, request: &str) -> Response {
        let mut client = self.connect();
        client.send(request);
        let response = client.answer();
        assert!(!response.persists(), "{}", response.head);
        client.expect_end();
        response
    }

    /// The body of a successful GET as JSON.
    pub fn json(&self, target: &str) -> Value {
        let response = self.get(target);
        assert_eq!(response.status, 200, "{target}: {}", response.text());
        serde_json::from_str(response.text()).expect("JSON")
    }

    /// All samples of `/metrics` by their names with labels.
    pub fn metrics(&self) -> Metrics {
        let response = self.get("/metrics");
        let samples = response.text().lines();
        let samples = samples.filter(|line| !line.starts_with('#')).map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a sample");
            (name.to_owned(), value.parse().expect("a number"))
        });
        Metrics(samples.collect())
    }
}

/// The samples of one scrape.
pub struct Metrics(pub BTreeMap<String, f64>);

impl Metrics {
    /// The sample with this name and these labels.
    pub fn value(&self, name: &str) -> f64 {
        let value = self.0.get(name);
        *value.unwrap_or_else(|| panic!("no sample {name}"))
    }

    /// The sum of the samples with this name, whatever their labels.
    pub fn sum(&self, name: &str) -> f64 {
        let has_name = |sample: &&String| sample.split('{').next() == Some(name);
        let names: Vec<&String> = self.0.keys().filter(has_name).collect();
        assert!(!names.is_empty(), "no sample {name}");
        names.into_iter().map(|name| self.0[name]).sum()
    }

    /// Requests of all kinds.
    pub fn requests(&self) -> f64 {
        self.sum("abide_http_request_duration_seconds_count")
    }
}
