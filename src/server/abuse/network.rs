//! The network that counts as one client.

use std::net::IpAddr;

/// Returns the bytes that identify the client's network: an IPv4 address, or the /64 of an IPv6 one, since one
/// subscriber has at least that (RFC 6177).
pub(super) fn network(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
    }
}

/// Returns the bytes that identify the site of an IPv6 address, its /48 (RFC 6177).
pub(super) fn site(address: IpAddr) -> Option<[u8; 6]> {
    match address.to_canonical() {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => address.octets().first_chunk().copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_stands_for_its_network_and_a_mapped_one_for_its_ipv4() {
        let network_of = |text: &str| network(text.parse().unwrap());
        assert_eq!(network_of("2001:db8:1:2::1"), network_of("2001:db8:1:2:ffff::9"));
        assert_ne!(network_of("2001:db8:1:2::1"), network_of("2001:db8:1:3::1"));
        assert_eq!(network_of("::ffff:192.0.2.1"), network_of("192.0.2.1"));
        assert_ne!(network_of("192.0.2.1"), network_of("192.0.2.2"));
    }
}
