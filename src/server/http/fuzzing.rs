//! Fuzz targets: the refresh token's cookie, and the address of a client behind proxies.

#![allow(clippy::unwrap_used, reason = "a panic is what a fuzz target reports")]

use std::net::IpAddr;

use actix_web::http::header::{COOKIE, HeaderValue};
use actix_web::test::TestRequest;

use super::client::{client, languages_of};
use super::cookie::NAME;
use super::routes::by_cookie::cookie_credential;

/// The cookie is found whatever else is in the header, and only under its own name.
///
/// The input is the `Cookie` headers, with a line feed between them.
pub fn cookie(bytes: &[u8]) {
    let Some(headers) =
        bytes.split(|byte| *byte == b'\n').map(|it| HeaderValue::from_bytes(it).ok()).collect()
    else {
        return;
    };
    let headers: Vec<HeaderValue> = headers;
    let read = |headers: &[HeaderValue]| {
        let mut request = TestRequest::default();
        for header in headers {
            request = request.append_header((COOKIE, header.clone()));
        }
        let credential = cookie_credential(&request.to_http_request());
        credential.map(|found| found.map(|found| found.text.to_string())).map_err(|_| "two cookies")
    };
    let named =
        bytes.windows(NAME.len() + 1).filter(|it| it.strip_suffix(b"=") == Some(NAME.as_bytes())).count();
    let found = read(&headers);
    match &found {
        Ok(None) => {}
        Ok(Some(text)) => assert!(named > 0 && text.len() <= bytes.len(), "{text}"),
        Err(_) => assert!(named > 1),
    }
    let good = format!("{NAME}=hpr_good");
    let beside = |other: &HeaderValue, good: &str| {
        let pairs = [good.as_bytes(), b"; ", other.as_bytes()].concat();
        HeaderValue::from_bytes(&pairs).unwrap()
    };
    for place in 0..=headers.len() {
        let mut headers = headers.clone();
        match headers.get_mut(place) {
            Some(header) => *header = beside(header, &good),
            None => headers.push(HeaderValue::from_bytes(good.as_bytes()).unwrap()),
        }
        let expected = if found == Ok(None) { Ok(Some("hpr_good".to_owned())) } else { Err("two cookies") };
        assert_eq!(read(&headers), expected);
    }
}

/// The address of a client is that of the peer unless a proxy is trusted; and no entry of the client's own comes before
/// the one that the proxy wrote.
///
/// The input is the values of the forwarding header, with a line feed between them.
pub fn forwarded(bytes: &[u8]) {
    let (peer, proxy, other): (IpAddr, IpAddr, IpAddr) =
        ("192.0.2.9".parse().unwrap(), "10.0.0.1".parse().unwrap(), "198.51.100.1".parse().unwrap());
    let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
    let values: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
    for (header, entry) in
        [("X-Forwarded-For", "198.51.100.1"), ("Forwarded", "for=198.51.100.1;proto=https")]
    {
        assert_eq!(client(peer, &trusted, header, &values), peer);
        let found = client(proxy, &trusted, header, &values);
        assert_eq!(found, found.to_canonical());
        let mut written = values.clone();
        written.push(entry.as_bytes());
        assert_eq!(client(proxy, &trusted, header, &written), other, "a line of the proxy's own");
        let last = [written[values.len() - 1], b", ", entry.as_bytes()].concat();
        let mut joined = values.clone();
        *joined.last_mut().unwrap() = &last;
        assert_eq!(client(proxy, &trusted, header, &joined), other, "an entry behind the client's");
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let languages = languages_of(text);
        let is_tag = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        assert!(
            languages.len() <= 8 && languages.iter().all(|tag| tag.len() <= 16 && tag.bytes().all(is_tag))
        );
    }
}
