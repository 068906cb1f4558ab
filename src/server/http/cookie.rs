//! The cookies, which no script can read (RFC 6265): one with the refresh token, one that ties a sign-in link to a browser.

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::{COOKIE, HeaderName, HeaderValue};

use crate::server::sessions::Refresh;

/// The name of the cookie. Browsers accept a cookie with this prefix only over HTTPS or on the loopback, with `Secure`
/// and `Path=/` and without `Domain`, so no sibling host can set it.
pub(crate) const NAME: &str = "__Host-hallpass";

/// The name of the cookie that ties a sign-in link to the browser that asked for it.
pub(crate) const LINK: &str = "__Host-hallpass-link";

/// The message of the refusal of a request with two refresh tokens.
pub(super) const COOKIE_AND_BODY: &str =
    "a refresh token came in the cookie and another in the body; send one";

/// The header that a request with the cookie must have: a page of another origin cannot set it without a preflight.
pub(crate) const X_HALLPASS: HeaderName = HeaderName::from_static("x-hallpass");

/// Returns the values of the cookies of this name, as they came.
///
/// Nothing is decoded, in the name least of all: a browser lets any page of the domain set `__Host%2Dhallpass`. What else
/// is in the header does not matter, since other hosts of the domain can write there what they want.
pub(crate) fn values<'r>(request: &'r HttpRequest, name: &str) -> impl Iterator<Item = &'r str> {
    let headers = request.headers().get_all(COOKIE);
    let pairs = headers.flat_map(|header| header.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        // No token has other characters: it reads as one that was never issued.
        Some(std::str::from_utf8(value).unwrap_or_default())
    })
}

/// Returns the `Set-Cookie` that stores `refresh` in the browser.
pub(crate) fn carrying(refresh: &Refresh) -> HeaderValue {
    value(refresh.token.to_text().as_str(), refresh.expires_in.num_seconds())
}

/// Returns the `Set-Cookie` that clears the cookie.
pub(crate) fn cleared() -> HeaderValue {
    value("", 0)
}

/// Returns the `Set-Cookie` that ties a sign-in link to the browser.
pub(crate) fn for_link(kept: &str, max_age_secs: i64) -> HeaderValue {
    named(LINK, kept, max_age_secs)
}

fn value(token: &str, max_age_secs: i64) -> HeaderValue {
    named(NAME, token, max_age_secs)
}

fn named(name: &str, token: &str, max_age_secs: i64) -> HeaderValue {
    let cookie = Cookie::build(name, token)
        .http_only(true)
        .secure(true)
        .same_site(SameSite::Strict)
        .path("/")
        .max_age(Duration::seconds(max_age_secs))
        .finish();
    let mut value = HeaderValue::from_str(&cookie.to_string()).expect("a token is header characters");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_cookie_is_found_under_its_own_name_whatever_another_host_of_the_domain_has_set() {
        let table: &[(&str, &[u8], &[&str])] = &[
            ("alone", b"__Host-hallpass=hpr_x", &["hpr_x"]),
            ("among others", b"a=b; __Host-hallpass=hpr_x; c=d", &["hpr_x"]),
            ("without spaces", b"a=b;__Host-hallpass=hpr_x;c=d", &["hpr_x"]),
            ("beside a cookie without a name", b"dark; __Host-hallpass=hpr_x; =; ", &["hpr_x"]),
            ("beside bytes that are not text", b"a=\xff; __Host-hallpass=hpr_x", &["hpr_x"]),
            ("beside what is not percent-encoding", b"a=%ff%; __Host-hallpass=hpr_x", &["hpr_x"]),
            ("an encoded name", b"__Host%2Dhallpass=evil; %5f%5fHost-hallpass=evil", &[]),
            ("another case", b"__host-hallpass=evil", &[]),
            ("the cookie of a link", b"__Host-hallpass-link=kept", &[]),
            ("in another's value", b"a=__Host-hallpass=evil", &[]),
            ("two", b"__Host-hallpass=a; __Host-hallpass=b", &["a", "b"]),
            ("an encoded value, as it came", b"__Host-hallpass=hpr%5Fx", &["hpr%5Fx"]),
            ("a value that is not text", b"__Host-hallpass=\xff", &[""]),
        ];
        for (name, header, expected) in table {
            let header = HeaderValue::from_bytes(header).unwrap();
            let request = TestRequest::default().append_header((COOKIE, header)).to_http_request();
            assert_eq!(values(&request, NAME).collect::<Vec<_>>(), *expected, "{name}");
        }
    }
}
