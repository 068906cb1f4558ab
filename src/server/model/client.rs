//! The client that sent a request.

use std::net::{IpAddr, Ipv4Addr};

/// The client that sent a request: its address, its program and the id of the request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    /// The IP address; see `server.trusted_proxies`.
    pub address: Option<IpAddr>,
    /// `User-Agent`, at most 256 characters of it.
    pub user_agent: Option<String>,
    /// `X-Request-Id`.
    pub request_id: Option<String>,
    /// The languages of `Accept-Language`, the best first, in lower case: at most 8.
    pub languages: Vec<String>,
}

impl Client {
    /// Returns the address that rate limits use. Only tests have no socket.
    pub(crate) fn counted_address(&self) -> IpAddr {
        self.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}
