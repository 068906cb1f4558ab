//! The cookies, which no script can read (RFC 6265): one with the refresh token, one that ties a sign-in link to a browser.

use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::{HeaderName, HeaderValue};

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
