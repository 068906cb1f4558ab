//! The client of a request: its program and its address. The address is that of the socket or, behind a trusted proxy
//! (`server.trusted_proxies`), the rightmost address in the forwarding header that is not such a proxy. A forwarding
//! header from any other peer is ignored.

use std::future::{Ready, ready};
use std::net::IpAddr;

use actix_web::dev::Payload;
use actix_web::http::header::{ACCEPT_LANGUAGE, HeaderValue, USER_AGENT};
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use ipnet::IpNet;

use crate::http::RequestId;
use crate::server::config;
use crate::server::model::Client;

/// The longest `User-Agent` that is kept, in characters.
const USER_AGENT_CHARS: usize = 256;

/// The most languages that are kept.
const MAX_LANGUAGES: usize = 8;

impl FromRequest for Client {
    type Error = std::convert::Infallible;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        #[expect(clippy::disallowed_methods, reason = "the trusted proxies are applied here")]
        let address = request.peer_addr().map(|peer| {
            let peer = peer.ip().to_canonical();
            request.app_data::<web::Data<config::Server>>().map_or(peer, |server| {
                let header = server.forwarded_header.as_str();
                let values = request.headers().get_all(header).map(HeaderValue::as_bytes);
                client(peer, &server.trusted_proxies, header, &values.collect::<Vec<_>>())
            })
        });
        let user_agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok());
        let user_agent = user_agent
            .map(|text| {
                text.chars().filter(|character| !character.is_control()).take(USER_AGENT_CHARS).collect()
            })
            .filter(|text: &String| !text.is_empty());
        let languages = request.headers().get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        let languages = languages.map(languages_of).unwrap_or_default();
        let request_id = request.extensions().get::<RequestId>().map(|id| id.as_str().to_owned());
        ready(Ok(Self { address, user_agent, request_id, languages }))
    }
}

/// Returns the languages of an `Accept-Language`, the best first (RFC 9110 §12.5.4).
pub(super) fn languages_of(header: &str) -> Vec<String> {
    let read = |item: &str| {
        let (tag, weight) = item.split_once(';').unwrap_or((item, "q=1"));
        let weight: f32 = weight.trim().strip_prefix("q=")?.parse().ok()?;
        let tag = tag.trim().to_ascii_lowercase();
        let is_tag = (2..=16).contains(&tag.len())
            && tag.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        (is_tag && weight > 0.0).then_some((weight, tag))
    };
    let mut languages: Vec<_> = header.split(',').take(MAX_LANGUAGES).filter_map(read).collect();
    languages.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    languages.into_iter().map(|(_, tag)| tag).collect()
}

/// Returns the client's address of a request from `peer` with these values of the forwarding `header`.
pub(super) fn client(peer: IpAddr, trusted: &[IpNet], header: &str, values: &[&[u8]]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut nearest = peer;
    if !is_trusted(&nearest) {
        return nearest;
    }
    let is_standard = header.eq_ignore_ascii_case("forwarded");
    for hop in values.iter().flat_map(|value| value.split(|byte| *byte == b',')).rev() {
        // Entries further to the left may be forged; the loop ends before them.
        let hop = std::str::from_utf8(hop).ok();
        let address = hop.and_then(|hop| if is_standard { forwarded_for(hop) } else { node(hop) });
        // A hop without an address counts as the proxy that wrote it.
        let Some(address) = address else { break };
        nearest = address;
        if !is_trusted(&nearest) {
            break;
        }
    }
    nearest
}

/// Returns the `for` of one hop (RFC 7239 §4).
fn forwarded_for(hop: &str) -> Option<IpAddr> {
    hop.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| node(value.trim().trim_matches('"')))?
    })
}

/// Parses an address with or without a port, IPv6 with or without brackets (RFC 7239 §6).
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare =
        text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(text, |(address, _)| address);
    let parsed =
        bare.parse().ok().or_else(|| bare.parse().map(|socket: std::net::SocketAddr| socket.ip()).ok());
    parsed.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_of(peer: &str, header: &str, values: &[&str]) -> String {
        let values: Vec<_> = values.iter().map(|value| value.as_bytes()).collect();
        client_of_bytes(peer, header, &values)
    }

    fn client_of_bytes(peer: &str, header: &str, values: &[&[u8]]) -> String {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        client(peer.parse().unwrap(), &trusted, header, values).to_string()
    }

    #[test]
    fn a_header_from_an_untrusted_peer_is_ignored() {
        assert_eq!(client_of("192.0.2.9", "X-Forwarded-For", &["198.51.100.1"]), "192.0.2.9");
    }

    #[test]
    fn languages_come_in_the_order_of_their_weights() {
        assert_eq!(languages_of("de-CH, en;q=0.7, de;q=0.9, fr;q=0, *;q=0.5, x'y"), ["de-ch", "de", "en"]);
        assert_eq!(languages_of("../../etc"), Vec::<String>::new());
        assert_eq!(languages_of(&"de,".repeat(1_000)).len(), MAX_LANGUAGES);
    }

    #[test]
    fn bytes_that_are_not_text_do_not_hide_the_addresses_to_their_right() {
        let name = "X-Forwarded-For";
        assert_eq!(client_of_bytes("10.0.0.1", name, &[b"\xff, 198.51.100.77"]), "198.51.100.77");
        assert_eq!(
            client_of_bytes("10.0.0.1", name, &[b"198.51.100.78", b"\xff, 198.51.100.77"]),
            "198.51.100.77"
        );
        assert_eq!(client_of_bytes("10.0.0.1", name, &[b"198.51.100.77, \xff"]), "10.0.0.1");
    }

    #[test]
    fn behind_a_trusted_proxy_the_rightmost_untrusted_address_counts() {
        let table: &[(&str, &str, &[&str], &str)] = &[
            ("one hop", "X-Forwarded-For", &["198.51.100.1"], "198.51.100.1"),
            ("a forged hop to the left", "X-Forwarded-For", &["203.0.113.7, 198.51.100.1"], "198.51.100.1"),
            ("two trusted hops", "X-Forwarded-For", &["198.51.100.1, 10.9.9.9"], "198.51.100.1"),
            ("several headers", "X-Forwarded-For", &["203.0.113.7", "198.51.100.1"], "198.51.100.1"),
            ("a port", "X-Forwarded-For", &["198.51.100.1:4711"], "198.51.100.1"),
            ("an IPv6 address with a port", "X-Forwarded-For", &["[2a00:1::5]:4711"], "2a00:1::5"),
            ("a mapped address", "X-Forwarded-For", &["::ffff:198.51.100.1"], "198.51.100.1"),
            ("no header", "X-Forwarded-For", &[], "10.0.0.1"),
            ("nonsense next to the proxy", "X-Forwarded-For", &["198.51.100.1, unknown"], "10.0.0.1"),
            ("all trusted", "X-Forwarded-For", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (
                "the standard header",
                "Forwarded",
                &["for=203.0.113.7, for=\"[2a00:1::5]:4711\";proto=https"],
                "2a00:1::5",
            ),
            ("the standard header, hidden", "Forwarded", &["for=_hidden"], "10.0.0.1"),
            ("another header", "X-Real-IP", &["198.51.100.1"], "198.51.100.1"),
        ];
        for (name, header, values, expected) in table {
            assert_eq!(client_of("10.0.0.1", header, values), *expected, "{name}");
        }
    }
}
