//! Warnings about certificates that can be used, but that clients will refuse, and about keys that are no secrets.

use std::path::Path;
use std::sync::Arc;

use super::certificate::address_of;
use super::pair::Pair;
use super::sni::CertificateByName;
use crate::config::{Config, HostName, SiteConfig};
use crate::http::date::http_date;

const DAY_SECS: u64 = 24 * 60 * 60;

/// A certificate with less than this is reported.
const SOON_SECS: u64 = 14 * DAY_SECS;

/// The most names that one warning lists.
const MOST_NAMES: usize = 5;

/// A warning if the certificate is not valid at the time `unix_now`, or not for long any more. A certificate made in
/// memory is always valid.
pub(super) fn of_dates(pair: &Pair, unix_now: u64) -> Option<String> {
    let path = pair.paths()?.certificate.display();
    let in_use = pair.in_use();
    let (start, end) = (http_date(in_use.not_before), http_date(in_use.not_after));
    if in_use.not_after < unix_now {
        return Some(format!(
            "certificate: {path} expired on {end}, so clients refuse it"
        ));
    }
    if in_use.not_before > unix_now {
        return Some(format!(
            "certificate: {path} is not valid before {start}, so clients refuse it until then"
        ));
    }
    let left = in_use.not_after - unix_now;
    (left < SOON_SECS).then(|| {
        let days = left / DAY_SECS;
        let days = match days {
            0 => "less than a day".to_owned(),
            1 => "1 day".to_owned(),
            _ => format!("{days} days"),
        };
        format!("certificate: {path} expires on {end}, in {days}")
    })
}

/// A warning for each certificate that clients get for a host whose names it does not cover. Certificates made in memory
/// have none, because no client trusts them in any case.
pub(super) fn of_names(config: &Config, by_name: &CertificateByName) -> Vec<String> {
    let mut uncovered: Vec<(&Arc<Pair>, Vec<&HostName>)> = Vec::new();
    for name in config.hosts.iter().flat_map(|host| &host.names) {
        let Some(pair) = by_name.of_host_name(name) else {
            continue;
        };
        if pair.paths().is_none() || pair.in_use().covers(name) {
            continue;
        }
        match uncovered
            .iter_mut()
            .find(|(other, _)| Arc::ptr_eq(other, pair))
        {
            Some((_, names)) => names.push(name),
            None => uncovered.push((pair, vec![name])),
        }
    }
    let warning = |(pair, names): (&Arc<Pair>, Vec<&HostName>)| {
        let path = pair.paths()?.certificate.display();
        let listed: Vec<_> = names
            .iter()
            .take(MOST_NAMES)
            .map(ToString::to_string)
            .collect();
        let mut listed = listed.join(", ");
        if let Some(more @ 1..) = names.len().checked_sub(MOST_NAMES) {
            listed = format!("{listed} and {more} more");
        }
        let why = match names.iter().any(|name| address_of(name).is_some()) {
            true => {
                " (clients of an address send no name and get the certificate of the default site)"
            }
            false => "",
        };
        Some(format!(
            "certificate: {path} does not cover {listed}, so clients refuse it there{why}"
        ))
    };
    uncovered.into_iter().filter_map(warning).collect()
}

/// A warning for each key that is a file of a site, so that clients may download it.
pub(super) fn of_keys(config: &Config, pairs: &[&Arc<Pair>]) -> Vec<String> {
    let hosts = config.hosts.iter().map(|host| &host.site);
    let sites: Vec<_> = std::iter::once(&config.site).chain(hosts).collect();
    let warning = |pair: &&Arc<Pair>| {
        let key = &pair.paths()?.key;
        let real_key = key.canonicalize().ok()?;
        let site = sites.iter().find(|site| may_serve(site, &real_key))?;
        let (key, root) = (key.display(), site.root.display());
        Some(format!(
            "key: {key} is below the root {root}, so clients may download it: move it elsewhere"
        ))
    };
    pairs.iter().filter_map(warning).collect()
}

/// Whether the file at `path`, which has no links, is one of the site's.
fn may_serve(site: &SiteConfig, path: &Path) -> bool {
    let Ok(root) = site.root.canonicalize() else {
        return false;
    };
    path.strip_prefix(root).is_ok_and(|below| {
        let mut names = below.iter();
        site.hidden || !names.any(|name| name.as_encoded_bytes().starts_with(b"."))
    })
}
