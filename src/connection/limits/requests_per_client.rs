//! Limits the requests of clients behind trusted proxies, by `limits.connections_per_ip`.
//!
//! A proxy's connection carries the requests of many clients, so the limit does not count the proxy's
//! connections. It counts the connections on which a client's requests are being answered: each request
//! occupies one, as a direct client would.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::client_network::ClientNetwork;

/// The number of connections that answer requests of each client.
#[derive(Debug)]
pub struct RequestsPerClient {
    limit: usize,
    ipv6_prefix: u8,
    /// Clients without requests have no entry.
    counts: Mutex<HashMap<ClientNetwork, usize>>,
}

/// Counts a client on one connection until dropped.
#[derive(Debug)]
pub struct CountedRequest {
    requests_per_client: Arc<RequestsPerClient>,
    client: ClientNetwork,
}

impl RequestsPerClient {
    /// No requests yet; each client may have requests answered on `limit` connections at once. IPv6 addresses
    /// count by `ipv6_prefix` bits.
    #[must_use]
    pub fn new(limit: usize, ipv6_prefix: u8) -> RequestsPerClient {
        RequestsPerClient {
            limit,
            ipv6_prefix,
            counts: Mutex::new(HashMap::new()),
        }
    }

    /// Whether the client at `address` may have a request answered on a connection that serves the clients in
    /// `present`. If so, adds the client to `present`; a client counts once on each connection.
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
        // Nothing under the lock panics.
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
            "another client has its own limit"
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
