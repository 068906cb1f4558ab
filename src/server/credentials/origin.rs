//! The origin of a request for a hash, and the line in which it waits.

use std::net::IpAddr;

/// The line to wait in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// Its address has signed in to the account before.
    Known,
    /// Anybody else.
    Stranger,
    /// A password to judge.
    Estimate,
}

impl Class {
    /// The names of the classes in metrics, in their order.
    pub(crate) const NAMES: [&'static str; 3] = ["known", "stranger", "estimate"];

    /// Returns its name in metrics.
    pub(super) fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// The client for whom a hash is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin {
    class: Class,
    network: u64,
    address: u64,
}

impl Origin {
    /// Returns the origin of a request from `address`. IPv6 addresses of a /64 are one, since one subscriber has at
    /// least that (RFC 6177); their network is the /48, that of an IPv4 address the /24.
    pub(crate) fn new(class: Class, address: IpAddr) -> Self {
        let (network, address) = match address.to_canonical() {
            IpAddr::V4(address) => {
                let bits = u64::from(address.to_bits());
                (bits >> 8, bits)
            }
            IpAddr::V6(address) => {
                let bits = (address.to_bits() >> 64) as u64;
                // No IPv4 network has so high a number.
                (bits >> 16 | 1 << 63, bits)
            }
        };
        Self { class, network, address }
    }

    /// The command line, or a test.
    pub const LOCAL: Self = Self { class: Class::Known, network: 0, address: 0 };

    pub(super) fn class(self) -> Class {
        self.class
    }

    pub(super) fn network(self) -> u64 {
        self.network
    }

    pub(super) fn address(self) -> u64 {
        self.address
    }

    /// The same client in another line.
    pub(crate) fn in_class(self, class: Class) -> Self {
        Self { class, ..self }
    }
}
