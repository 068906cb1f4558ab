//! The cookie in which a browser keeps its refresh token, out of reach of every script (RFC 6265).

use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::{HeaderName, HeaderValue};

use crate::server::sessions::Refresh;

/// The name of the cookie. Browsers accept a cookie with this prefix only over HTTPS or on the loopback, with `Secure` and
/// `Path=/` and without `Domain`, so that no sibling host can plant one.
pub(crate) const NAME: &str = "__Host-hallpass";

/// The header that a request by cookie must carry: only a page that may set headers can send it.
pub(crate) const X_HALLPASS: HeaderName = HeaderName::from_static("x-hallpass");

/// Returns the `Set-Cookie` that brings `refresh` to the browser.
pub(crate) fn carrying(refresh: &Refresh) -> HeaderValue {
    value(refresh.token.to_text().as_str(), refresh.expires_in.num_seconds())
}

/// Returns the `Set-Cookie` that clears the cookie.
pub(crate) fn cleared() -> HeaderValue {
    value("", 0)
}

fn value(token: &str, max_age_secs: i64) -> HeaderValue {
    let cookie = Cookie::build(NAME, token)
        .http_only(true)
        .secure(true)
        .same_site(SameSite::Strict)
        .path("/")
        .max_age(Duration::seconds(max_age_secs))
        .finish();
    let mut value = HeaderValue::from_str(&cookie.to_string()).expect("a refresh token is header characters");
    value.set_sensitive(true);
    value
}
