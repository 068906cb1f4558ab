//! The refresh token in a browser's cookie, and the session of a cookie that a sign-in replaces.

use actix_web::HttpRequest;

use crate::server::http::{ApiError, cookie};
use crate::server::model::Client;
use crate::server::sessions::{RefreshCredential, Sessions, Tokens};

/// The message of the refusal of two cookies.
pub(super) const TWO_COOKIES: &str = "two cookies named __Host-hallpass came; send one";

/// Returns the refresh token in the cookie, if there is one. Two cookies of the name are refused: there is no way to
/// tell which of them this server has set.
pub(in crate::server::http) fn cookie_credential(
    request: &HttpRequest,
) -> Result<Option<RefreshCredential>, ApiError> {
    let mut named = cookie::values(request, cookie::NAME);
    let first = named.next();
    if named.next().is_some() {
        return Err(ApiError::RequestInvalid(TWO_COOKIES.into()));
    }
    Ok(first.map(|text| RefreshCredential { text: text.to_owned().into(), by_cookie: true }))
}

/// Ends the session of the browser's old cookie, if the new session is by cookie too.
pub(super) async fn end_replaced(http: &HttpRequest, sessions: &Sessions, new: &Tokens, client: &Client) {
    if new.refresh.by_cookie
        && let Ok(Some(replaced)) = cookie_credential(http)
    {
        end_session_of(&replaced, sessions, client).await;
    }
}

pub(super) async fn end_session_of(replaced: &RefreshCredential, sessions: &Sessions, client: &Client) {
    if let Err(error) = sessions.sign_out(None, Some(replaced), client).await {
        log::debug!("the session of a replaced cookie is not ended: {error}");
    }
}
