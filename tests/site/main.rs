//! A site and its configuration: which paths lead where, the fields of the answers, and virtual hosts.

mod addresses;
mod applications;
mod changing_files;
mod coding_rules;
mod encoded_names;
mod fields;
mod file_times;
mod hosts;
mod hung_mount;
mod listing;
mod media_types;
mod paths;
mod replacements;
mod sidecars;
mod slow_disk;
mod statuses;
mod variants;
mod withdrawn;

use support::{Launch, Response, Server, Site};

/// The Accept field of a browser that navigates to a page.
const PAGE: &str = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n";

/// A server for the site with this configuration.
fn serve(site: &Site, config: &str) -> Server {
    Launch::of(site.root()).config(config).start()
}

/// The status of a GET, and its Location or body.
fn outcome(server: &Server, target: &str) -> (u16, String) {
    let response = server.connect().get(target);
    let text = match response.field("location") {
        Some(location) => location.to_owned(),
        None => String::from_utf8_lossy(&response.body).into_owned(),
    };
    (response.status, text)
}

/// Compares the outcomes of several requests, each sent twice: from the disk, then from memory.
fn expect(server: &Server, outcomes: &[(&str, u16, &str)]) {
    for (target, status, text) in outcomes.iter().chain(outcomes) {
        let outcome = outcome(server, target);
        assert_eq!(outcome, (*status, (*text).to_owned()), "{target}");
    }
}

/// Compares only the status of each request.
fn expect_status(server: &Server, outcomes: &[(&str, u16)]) {
    for (target, status) in outcomes.iter().chain(outcomes) {
        assert_eq!(outcome(server, target).0, *status, "{target}");
    }
}

/// All values of a field that may occur several times.
fn all<'r>(response: &'r Response, name: &str) -> Vec<&'r str> {
    let fields = response.fields.iter();
    fields
        .filter(|(field, _)| field == name)
        .map(|(_, value)| value.as_str())
        .collect()
}
