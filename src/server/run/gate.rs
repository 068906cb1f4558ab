//! How many connections there are, in all and from one address. What is over a limit is closed as it is accepted, before
//! a byte is read or a TLS handshake begins.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;

use crate::server::config;
use crate::server::metrics::Connections;

/// Admits connections. Clones share the counts.
#[derive(Debug, Clone)]
pub(super) struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    most_per_address: usize,
    /// They carry the connections of many clients, so they have no limit of their own.
    proxies: Vec<IpNet>,
    addresses: Mutex<HashMap<IpAddr, usize>>,
    counts: Arc<Connections>,
}

/// A connection that was admitted. It counts until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    gate: Gate,
    address: Option<IpAddr>,
}

impl Gate {
    pub(super) fn new(settings: &config::Server, counts: Arc<Connections>) -> Self {
        Self(Arc::new(Inner {
            most: settings.connections,
            most_per_address: settings.connections_per_address,
            proxies: settings.trusted_proxies.clone(),
            addresses: Mutex::default(),
            counts,
        }))
    }

    /// Admits a connection from `peer`; `None` if it is over a limit.
    pub(super) fn enter(&self, peer: IpAddr) -> Option<Place> {
        let Inner { most, most_per_address, proxies, addresses, counts } = &*self.0;
        let peer = peer.to_canonical();
        let is_proxy = proxies.iter().any(|network| network.contains(&peer));
        // The place counts in all from here on, and gives that back where it is refused.
        let mut place = Place { gate: self.clone(), address: None };
        if counts.begin() > *most {
            counts.refused.count("connections");
            return None;
        }
        if !is_proxy {
            let mut addresses = addresses.lock().unwrap_or_else(PoisonError::into_inner);
            let address = network(peer);
            let count = addresses.entry(address).or_default();
            if *count >= *most_per_address {
                counts.refused.count("connections_per_address");
                return None;
            }
            *count += 1;
            place.address = Some(address);
        }
        Some(place)
    }

    /// Counts a TLS handshake that failed.
    pub(super) fn count_failed_handshake(&self) {
        self.0.counts.refused.count("tls");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Inner { addresses, counts, .. } = &*self.gate.0;
        counts.end();
        let Some(address) = self.address else { return };
        let mut addresses = addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&address);
            }
        }
    }
}

/// Returns what counts as one address: of IPv6 the /64, since one subscriber has at least that (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(change: impl FnOnce(&mut config::Server)) -> Gate {
        let mut settings = config::Server::default();
        (settings.connections, settings.connections_per_address) = (4, 2);
        change(&mut settings);
        Gate::new(&settings, Arc::default())
    }

    fn enter(gate: &Gate, address: &str) -> Option<Place> {
        gate.enter(address.parse().unwrap())
    }

    #[test]
    fn an_address_has_its_share_and_others_have_theirs() {
        let gate = gate(|_| {});
        let mut held: Vec<_> = (0..2).map(|_| enter(&gate, "192.0.2.1").unwrap()).collect();
        assert!(enter(&gate, "192.0.2.1").is_none());
        assert!(enter(&gate, "::ffff:192.0.2.1").is_none(), "the same address, mapped");
        held.push(enter(&gate, "192.0.2.2").unwrap());
        held.push(enter(&gate, "2001:db8::1").unwrap());
        assert!(enter(&gate, "192.0.2.3").is_none(), "all places are taken");
        assert_eq!(gate.0.counts.open(), 4);
        drop(held);
        assert_eq!(gate.0.counts.open(), 0);
        assert!(gate.0.addresses.lock().unwrap().is_empty(), "nothing is kept of those who left");
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_share_their_places() {
        let gate = gate(|_| {});
        let _held = [enter(&gate, "2001:db8::1").unwrap(), enter(&gate, "2001:db8::ffff:2").unwrap()];
        assert!(enter(&gate, "2001:db8::3").is_none());
        assert!(enter(&gate, "2001:db8:0:1::3").is_some());
    }

    #[test]
    fn a_trusted_proxy_is_limited_by_the_number_in_all_alone() {
        let gate = gate(|settings| settings.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()]);
        let held: Vec<_> = (0..4).map_while(|_| enter(&gate, "10.0.0.1")).collect();
        assert_eq!(held.len(), 4);
        assert!(enter(&gate, "10.0.0.1").is_none());
    }
}
