//! The certificates of a configuration, and what is made of them.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ProducesTickets, UnbufferedServerConnection};

use super::certificate::Certificate;
use super::certificate_error::{CertificateError, CertificateKey};
use super::handshakes::{Handshakes, Pending};
use super::pair::Pair;
use super::pem_files::PairPaths;
use super::renewal::Checked;
use super::server_config::{server_config, ticketer};
use super::sni::CertificateByName;
use super::warnings;
use crate::clock::Now;
use crate::config::{Config, HostConfig, SiteConfig};

/// The state of a handshake that may be given up for a later one.
pub(super) type PendingHandshake = Arc<Pending<Box<UnbufferedServerConnection>>>;

/// The certificates of all sites, and the settings of TLS that use them.
pub struct TlsContext {
    /// Each pair once, in the order of the sites that use it.
    pairs: Vec<PairInUse>,
    by_name: Arc<CertificateByName>,
    ticketer: Arc<dyn ProducesTickets>,
    server_config: Arc<ServerConfig>,
    /// The handshakes under way, also of connections from before a reload.
    handshakes: Arc<Handshakes<Box<UnbufferedServerConnection>>>,
    /// `limits.handshakes`.
    most_handshakes: usize,
}

/// A pair and the sites that use it: `None` is the default site.
struct PairInUse {
    pair: Arc<Pair>,
    hosts: Vec<Option<usize>>,
}

/// A certificate in use, for observers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The file; `None` for a certificate made in memory.
    pub path: Option<PathBuf>,
    /// The sites that use it: the indexes of [`Config::hosts`], or `None` for the default site.
    pub hosts: Vec<Option<usize>>,
    /// The names and addresses that it covers.
    pub names: Vec<String>,
    /// The first second for which it is valid, since 1970-01-01 UTC.
    pub not_before: u64,
    /// The last second for which it is valid, since 1970-01-01 UTC.
    pub not_after: u64,
    /// Why the files cannot take its place; `None` if it is what the files hold.
    pub renewal_failure: Option<String>,
}

impl TlsContext {
    /// Reads and checks the certificates and keys of all sites; `None` if no address of `config` has TLS. A certificate
    /// that has expired, or is not valid yet, is no error: [`TlsContext::warnings`] tells of it. Reading may wait for a
    /// disk.
    ///
    /// # Errors
    /// [`CertificateError`] says which file cannot be used and why.
    pub fn open(config: &Config, now: Now) -> Result<Option<Arc<TlsContext>>, CertificateError> {
        TlsContext::open_after(None, config, now)
    }

    /// As [`open`](TlsContext::open), for a reload. Clients can resume sessions of before. A pair whose files are the
    /// same stays, with its state. A pair stays also if its certificate is valid and the one of the files is not, because
    /// it has expired or is not valid yet.
    ///
    /// # Errors
    /// As [`open`](TlsContext::open). Nothing has changed then.
    pub fn reopen(
        &self,
        config: &Config,
        now: Now,
    ) -> Result<Option<Arc<TlsContext>>, CertificateError> {
        TlsContext::open_after(Some(self), config, now)
    }

    fn open_after(
        earlier: Option<&TlsContext>,
        config: &Config,
        now: Now,
    ) -> Result<Option<Arc<TlsContext>>, CertificateError> {
        if !config.listen.iter().any(|address| address.tls) {
            return Ok(None);
        }
        let mut opened = OpenedPairs::after(earlier, now);
        let of_default = opened.of_site(config, None)?;
        let of_hosts = (0..config.hosts.len()).map(|index| opened.of_site(config, Some(index)));
        let of_hosts = of_hosts.collect::<Result<Vec<_>, _>>()?;
        if opened.pairs.is_empty() {
            let message = "an https:// address needs a certificate and a key, or --self-signed";
            let key = CertificateKey::Certificate;
            return Err(CertificateError::new(key, message.to_owned()));
        }
        let failed = |error: rustls::Error| {
            let message = format!("TLS cannot be set up: {error}");
            CertificateError::new(CertificateKey::Certificate, message)
        };
        let ticketer = match earlier {
            Some(earlier) => Arc::clone(&earlier.ticketer),
            None => ticketer().map_err(failed)?,
        };
        let by_name = Arc::new(CertificateByName::new(config, of_default, of_hosts));
        let server_config =
            server_config(Arc::clone(&by_name) as _, Arc::clone(&ticketer)).map_err(failed)?;
        Ok(Some(Arc::new(TlsContext {
            pairs: opened.pairs,
            by_name,
            ticketer,
            server_config,
            handshakes: earlier
                .map_or_else(Arc::default, |earlier| Arc::clone(&earlier.handshakes)),
            most_handshakes: config.limits.handshakes,
        })))
    }

    /// The settings for new connections. They stay the same while certificates are renewed.
    #[cfg(test)]
    pub(super) fn server_config(&self) -> &Arc<ServerConfig> {
        &self.server_config
    }

    /// Begins a handshake. If too many are under way, gives up the one that began first.
    ///
    /// # Errors
    /// None that a peer or a configuration can cause.
    pub(super) fn begin_handshake(&self) -> Result<PendingHandshake, rustls::Error> {
        let connection = UnbufferedServerConnection::new(Arc::clone(&self.server_config))?;
        Ok(self
            .handshakes
            .begin(Box::new(connection), self.most_handshakes))
    }

    /// Looks whether the files have changed, and puts the changed ones in use. One thread calls this again and again, as
    /// [`Checked::next_in_millis`] says. Reading may wait for a disk.
    pub fn check(&self, now: Now) -> Checked {
        let mut all = Checked::default();
        for PairInUse { pair, .. } in &self.pairs {
            all.add(pair.check(now));
        }
        all
    }

    /// The certificates in use, each once.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateFacts> {
        let facts = |used: &PairInUse| {
            let in_use = used.pair.in_use();
            CertificateFacts {
                path: used.pair.paths().map(|paths| paths.certificate.clone()),
                hosts: used.hosts.clone(),
                names: in_use.names.iter().map(ToString::to_string).collect(),
                not_before: in_use.not_before,
                not_after: in_use.not_after,
                renewal_failure: used.pair.failure(),
            }
        };
        self.pairs.iter().map(facts).collect()
    }

    /// Warnings about certificates that expire soon, have expired or are not valid yet, about names of hosts for which
    /// clients get a certificate that does not cover them, and about keys below the root of a site. `config` is the
    /// one that this context was opened with.
    #[must_use]
    pub fn warnings(&self, config: &Config, unix_now: u64) -> Vec<String> {
        let pairs: Vec<_> = self.pairs.iter().map(|used| &used.pair).collect();
        let dates = pairs.iter().copied();
        let mut warnings: Vec<_> = dates
            .flat_map(|pair| warnings::of_dates(pair, unix_now))
            .collect();
        warnings.extend(warnings::of_names(config, &self.by_name));
        warnings.extend(warnings::of_keys(config, &pairs));
        warnings
    }
}

/// Without the secrets of tickets.
impl fmt::Debug for TlsContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsContext")
            .field("certificates", &self.certificates())
            .finish_non_exhaustive()
    }
}

/// The pairs opened so far.
struct OpenedPairs<'e> {
    earlier: Option<&'e TlsContext>,
    now: Now,
    pairs: Vec<PairInUse>,
    /// Indexes of `pairs`, by the files; `None` for the pair made in memory.
    by_paths: HashMap<Option<PairPaths>, usize>,
}

impl OpenedPairs<'_> {
    fn after(earlier: Option<&TlsContext>, now: Now) -> OpenedPairs<'_> {
        OpenedPairs {
            earlier,
            now,
            pairs: Vec::new(),
            by_paths: HashMap::new(),
        }
    }

    /// The pair of a site: that of its files, or else the one made in memory; `None` if the site has neither.
    fn of_site(
        &mut self,
        config: &Config,
        host: Option<usize>,
    ) -> Result<Option<Arc<Pair>>, CertificateError> {
        let of_host = host.and_then(|index| config.hosts.get(index));
        let site: &SiteConfig = of_host.map_or(&config.site, |HostConfig { site, .. }| site);
        let paths = match (&site.certificate, &site.key) {
            (Some(certificate), Some(key)) => Some(PairPaths {
                certificate: certificate.clone(),
                key: key.clone(),
            }),
            _ if config.self_signed => None,
            _ => return Ok(None),
        };
        if let Some(index) = self.by_paths.get(&paths) {
            let used = &mut self.pairs[*index];
            used.hosts.push(host);
            return Ok(Some(Arc::clone(&used.pair)));
        }
        let pair = match &paths {
            Some(paths) => self.of_files(paths),
            None => self.of_memory(),
        };
        let pair = pair.map_err(|error| error.at(host))?;
        self.by_paths.insert(paths, self.pairs.len());
        self.pairs.push(PairInUse {
            pair: Arc::clone(&pair),
            hosts: vec![host],
        });
        Ok(Some(pair))
    }

    fn of_files(&self, paths: &PairPaths) -> Result<Arc<Pair>, CertificateError> {
        let opened = Pair::open(paths, self.now)?;
        let Some(earlier) = self.earlier_pair(Some(paths)) else {
            return Ok(Arc::new(opened));
        };
        let (old, new) = (earlier.in_use(), opened.in_use());
        let is_valid = |pair: &Certificate| pair.is_valid_at(self.now.unix_secs);
        let is_worse = is_valid(&old) && !is_valid(&new);
        // The pair that stays keeps its state: what it has reported, and what it has seen.
        match old.contents == new.contents || is_worse {
            true => Ok(earlier),
            false => Ok(Arc::new(opened)),
        }
    }

    fn of_memory(&self) -> Result<Arc<Pair>, CertificateError> {
        // The user may have told a browser to accept this one.
        let earlier = self.earlier_pair(None);
        earlier.map_or_else(|| Pair::make(self.now.unix_secs).map(Arc::new), Ok)
    }

    fn earlier_pair(&self, paths: Option<&PairPaths>) -> Option<Arc<Pair>> {
        let mut pairs = self.earlier?.pairs.iter();
        let found = pairs.find(|used| used.pair.paths() == paths);
        found.map(|used| Arc::clone(&used.pair))
    }
}
