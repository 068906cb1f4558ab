//! The answers of routes that succeed.

use actix_web::HttpResponse;
use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, SET_COOKIE};
use actix_web::web::Bytes;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::cookie;
use crate::guard::{AuthUser, User};
use crate::server::error::Error;
use crate::server::sessions::{Ended, Tokens};

/// Returns the id of the user of this request.
pub(crate) fn user_id(user: &AuthUser) -> Result<Uuid, Error> {
    Uuid::try_parse(&user.id).map_err(|_| Error::Internal("the id of a stored user is not a UUID".into()))
}

/// Answers `{"data": …}`. No cache may store it, because the data belong to one user.
pub(crate) fn data(value: impl Serialize) -> HttpResponse {
    let json = serde_json::to_vec(&Data { data: value }).expect("the keys of an answer are texts");
    data_in_json(json.into())
}

/// Answers with what [`as_data`] has made.
pub(crate) fn data_in_json(json: Bytes) -> HttpResponse {
    let mut response = HttpResponse::with_body(StatusCode::OK, BoxBody::new(json));
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Returns `{"data": …}` with `user`.
pub(crate) fn as_data(user: &User) -> Bytes {
    let json = serde_json::to_vec(&Data { data: user }).expect("a user has only texts, times and a boolean");
    // Without the room that the vector has for more: the bytes are kept.
    json.into_boxed_slice().into()
}

#[derive(Serialize)]
struct Data<T> {
    data: T,
}

/// Answers 201 with `{"data": …}`.
pub(crate) fn created(value: impl Serialize) -> HttpResponse {
    let mut response = data(value);
    *response.status_mut() = StatusCode::CREATED;
    response
}

/// The answer of a route that sends a mail, if there is one to send.
#[derive(Serialize, ToSchema)]
pub(crate) struct Accepted {
    message: &'static str,
}

/// The message of [`accepted`].
pub(crate) const ACCEPTED: &str = "if there is something to send, a mail is on its way";

/// Answers 202. The same bytes say nothing about whether there is an account.
pub(crate) fn accepted() -> HttpResponse {
    let mut response = data(Accepted { message: ACCEPTED });
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// The tokens of a session.
#[derive(Serialize, ToSchema)]
#[schema(as = Tokens)]
pub(crate) struct TokenResponse<'a> {
    message: &'static str,
    /// The access token.
    token: &'a str,
    token_type: &'static str,
    /// The lifetime of the access token, in seconds.
    expires_in: i64,
    /// Can be used once. Absent if it is in the cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    refresh_token: Option<&'a str>,
    /// The lifetime of the refresh token, in seconds.
    refresh_expires_in: i64,
    user: &'a User,
}

/// Answers with the tokens of a session (RFC 6749 §5.1). The refresh token is in the body or in the cookie, never in
/// both.
pub(crate) fn tokens(message: &'static str, tokens: Tokens) -> HttpResponse {
    let Tokens { access_token, refresh, user } = tokens;
    let refresh_token = refresh.token.to_text();
    let mut response = data(TokenResponse {
        message,
        token: &access_token.text,
        token_type: "Bearer",
        expires_in: access_token.expires_in.num_seconds(),
        refresh_token: Some(refresh_token.as_str()).filter(|_| !refresh.by_cookie),
        refresh_expires_in: refresh.expires_in.num_seconds(),
        user: &user,
    });
    if refresh.by_cookie {
        response.headers_mut().append(SET_COOKIE, cookie::carrying(&refresh));
    }
    response
}

/// Answers 204. Clears the cookie if the session that ended was by cookie.
pub(crate) fn ended(ended: &Ended) -> HttpResponse {
    let mut response = HttpResponse::NoContent().finish();
    if ended.by_cookie {
        response.headers_mut().append(SET_COOKIE, cookie::cleared());
    }
    response
}
