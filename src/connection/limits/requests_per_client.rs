//! Clients behind trusted proxies, under `limits.connections_per_ip`.
//!
//! A proxy's connection carries the requests of many clients, so the proxy's connections are not
//! counted. What can be counted of such a client are the requests that are being answered: each of
//! them occupies a connection, as a connection of its own would be.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::client_network::ClientNetwork;

/// The clients whose requests are being answered, and on how many connections.
#[derive(Debug)]
pub struct RequestsPerClient {
    limit: usize,
    ipv6_prefix: u8,
    /// No client has 0.
    counts: Mutex<HashMap<ClientNetwork, usize>>,
}

/// A client that has a request answered on one connection, until it is dropped.
#[derive(Debug)]
pub struct CountedRequest {
    requests_per_client: Arc<RequestsPerClient>,
    client: ClientNetwork,
}

impl RequestsPerClient {
    /// Nobody yet; each may have `limit` requests answered at once. IPv6 addresses count by
    /// `ipv6_prefix` bits.
    #[must_use]
    pub fn new(limit: usize, ipv6_prefix: u8) -> RequestsPerClient {
        RequestsPerClient {
            limit,
            ipv6_prefix,
            counts: Mutex::new(HashMap::new()),
        }
    }

    /// Whether the client at `address` may have a request answered on a connection that serves
    /// `present`; counts it there if so. It counts once on each connection.
    pub fn admit(
        self: &Arc<RequestsPerClient>,
        address: IpAddr,
        present: &mut Vec<CountedRequest>,
    ) -> bool {
        let client = ClientNetwork::of(address, self.ipv6_prefix);
        if present.iter().any(|counted| counted.client == client) {
            return true;
        }
        {
            let mut counts = self.lock();
            let count = counts.get(&client).copied().unwrap_or_default();
            if count >= self.limit {
                return false;
            }
            counts.insert(client, count + 1);
        }
        present.push(CountedRequest {
            requests_per_client: Arc::clone(self),
            client,
        });
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClientNetwork, usize>> {
        // Nothing in here panics.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CountedRequest {
    fn drop(&mut self) {
        let mut counts = self.requests_per_client.lock();
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 1));
    const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 2));

    #[test]
    fn a_client_counts_once_on_each_connection_until_it_has_gone() {
        let requests_per_client = Arc::new(RequestsPerClient::new(2, 64));
        let [mut first, mut second, mut third] = [const { Vec::new() }; 3];
        assert!(
            requests_per_client.admit(ONE, &mut first)
                && requests_per_client.admit(ONE, &mut first)
        );
        assert!(requests_per_client.admit(ONE, &mut second));
        assert!(!requests_per_client.admit(ONE, &mut third));
        assert!(
            requests_per_client.admit(TWO, &mut third),
            "another has its own share"
        );
        first.clear();
        assert!(requests_per_client.admit(ONE, &mut third));
        drop((second, third));
        assert!(requests_per_client.lock().is_empty());
    }

    #[test]
    fn the_addresses_of_an_ipv6_network_are_one_client() {
        let requests_per_client = Arc::new(RequestsPerClient::new(1, 64));
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let [mut first, mut second] = [const { Vec::new() }; 2];
        assert!(requests_per_client.admit(address("2001:db8::1"), &mut first));
        assert!(!requests_per_client.admit(address("2001:db8::2"), &mut second));
        assert!(requests_per_client.admit(address("2001:db8:0:1::1"), &mut second));
    }
}
