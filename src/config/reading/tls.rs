//! The rules between the settings of TLS.

use super::config_builder::ConfigBuilder;
use super::flags::SELF_SIGNED;
use super::site_builder::{CERTIFICATE, KEY, SiteBuilder};
use super::validation_errors::ValueSource;
use crate::config::ListenAddress;

/// Whether the program can serve TLS.
const HAS_TLS: bool = cfg!(feature = "tls");

const LISTEN: &str = "listen";
const HTTPS_REDIRECT: &str = "https_redirect";

impl ConfigBuilder {
    /// Gives each host without a certificate that of the default site. The command line can still replace the
    /// default site's, so this comes after it.
    pub fn inherit_certificates(&mut self) {
        for host in &mut self.hosts {
            host.site.inherit_certificate(&self.site.builder.settings);
        }
    }

    /// Refuses addresses that begin with https:// if there is no certificate for them, and settings that need
    /// such an address if there is none.
    pub fn check_tls(&mut self) {
        if self.general.is_invalid(LISTEN) {
            return;
        }
        let listen = &self.general.settings.listen;
        match listen.iter().find(|address| address.tls).cloned() {
            Some(address) => self.check_certificate_for(&address),
            None => self.check_without_tls(),
        }
    }

    /// Refuses `address`, which begins with https://, if it cannot be served.
    fn check_certificate_for(&mut self, address: &ListenAddress) {
        if !HAS_TLS {
            let message = format!("{address} needs TLS, and this program was built without it");
            return self.general.report(LISTEN, message);
        }
        let site = &self.site.builder;
        // Half of the pair is an error of its own.
        let has_any = site.settings.certificate.is_some() || site.settings.key.is_some();
        let is_wrong = site.is_invalid(CERTIFICATE) || site.is_invalid(KEY);
        if !has_any && !is_wrong && !self.general.settings.self_signed {
            let message = format!(
                "{address} needs a certificate: set certificate and key outside of every [[host]], or try \
                 TLS with {SELF_SIGNED}"
            );
            self.general.report(LISTEN, message);
        }
    }

    /// Refuses settings that have no effect without an address that begins with https://.
    fn check_without_tls(&mut self) {
        if self.general.settings.self_signed {
            let message = "no address in listen begins with https://, add one, as in -l https://127.0.0.1:8443";
            let error = ValueSource::Flag(SELF_SIGNED).error(LISTEN, message);
            self.general.errors.push(error);
        }
        let listen = self.general.source(LISTEN);
        let hosts = self.hosts.iter_mut().map(|host| &mut host.site);
        for SiteBuilder { builder, .. } in std::iter::once(&mut self.site).chain(hosts) {
            if !builder.settings.https_redirect {
                continue;
            }
            let own = (builder.source(HTTPS_REDIRECT), HTTPS_REDIRECT);
            let (source, name) = own.max((listen, LISTEN));
            let message = "https_redirect = true needs an address in listen that begins with https://, to which \
                           clients are redirected";
            let error = source.error(builder.label(name), message);
            builder.errors.push(error);
        }
    }
}
