//! Chooses the certificate of a client: that of the site which the client's server name selects (SNI, RFC 6066
//! section 3).

use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::address_of;
use super::pair::Pair;
use crate::config::{Config, HostName};
use crate::site::{HostMatch, VirtualHosts};

/// The certificates by server name, with the rules that select a site by the Host field.
#[derive(Debug)]
pub(super) struct CertificateByName {
    hosts: VirtualHosts,
    /// By the index of the host.
    of_hosts: Vec<Option<Arc<Pair>>>,
    of_default: Option<Arc<Pair>>,
}

impl CertificateByName {
    /// The certificates of the sites of `config`: of the default site and of each host in order.
    pub fn new(
        config: &Config,
        of_default: Option<Arc<Pair>>,
        of_hosts: Vec<Option<Arc<Pair>>>,
    ) -> CertificateByName {
        CertificateByName {
            hosts: VirtualHosts::new(config),
            of_hosts,
            of_default,
        }
    }

    /// The certificate for a client that sends this name, or none. A client that connects to an address sends none,
    /// so the certificate is that of the default site. An unknown name selects the default site too: its response is
    /// 421 with `strict_hosts`, which the client can read. `None` if the site has no certificate.
    pub fn of_name(&self, name: Option<&str>) -> Option<&Arc<Pair>> {
        let Some(name) = name else {
            return self.of_default.as_ref();
        };
        match self.hosts.find(Some(name.as_bytes())) {
            HostMatch::Known(index) => self.of_hosts.get(index)?.as_ref(),
            HostMatch::Default | HostMatch::Unknown => self.of_default.as_ref(),
        }
    }

    /// The certificate for a client of the host `host`. All names below a wildcard get the one of the wildcard, except
    /// those that another host has.
    pub fn of_host_name(&self, host: &HostName) -> Option<&Arc<Pair>> {
        let name = match host {
            HostName::Exact(name) => name.clone(),
            // No host can have this label.
            HostName::Wildcard(above) => format!("*.{above}"),
            HostName::Ipv6(_) => String::new(),
        };
        self.of_name(address_of(host).is_none().then_some(&name))
    }
}

impl ResolvesServerCert for CertificateByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let pair = self.of_name(hello.server_name())?;
        Some(Arc::clone(&pair.in_use().certified))
    }
}
