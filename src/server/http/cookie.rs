//! The cookie in which a browser keeps its refresh token, out of reach of every script (RFC 6265).

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::HeaderValue;

use super::ApiError;
use crate::server::sessions::{Refresh, RefreshCredential};

/// The name of the cookie. Browsers accept a cookie with this prefix only over HTTPS or on the loopback, with `Secure` and
/// `Path=/` and without `Domain`, so that no sibling host can plant one.
pub const NAME: &str = "__Host-hallpass";

/// The message of the refusal of two cookies.
pub const TWO_COOKIES: &str = "two cookies named __Host-hallpass came; send one";

/// Returns the refresh token that came in the cookie, if there is one.
///
/// # Errors
/// [`ApiError::RequestInvalid`] for two cookies of the name: nobody can tell which of them is the browser's own.
pub fn presented(request: &HttpRequest) -> Result<Option<RefreshCredential>, ApiError> {
    let Ok(cookies) = request.cookies() else { return Ok(None) };
    let mut named = cookies.iter().filter(|cookie| cookie.name() == NAME);
    let first = named.next();
    if named.next().is_some() {
        return Err(ApiError::RequestInvalid(TWO_COOKIES));
    }
    let credential =
        |cookie: &Cookie<'_>| RefreshCredential { text: cookie.value().to_owned().into(), by_cookie: true };
    Ok(first.map(credential))
}

/// Returns the `Set-Cookie` that brings `refresh` to the browser.
pub fn carrying(refresh: &Refresh) -> HeaderValue {
    value(refresh.token.to_text().as_str(), refresh.expires_in.num_seconds())
}

/// Returns the `Set-Cookie` that clears the cookie.
pub fn cleared() -> HeaderValue {
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
