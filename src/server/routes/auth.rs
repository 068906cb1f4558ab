//! `/auth`: where accounts are made and tokens are issued.

use std::fmt::Write as _;

use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use actix_web::{HttpRequest, HttpResponse, Scope, web};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::body::{Body, OptionalBody};
use super::{Checked, created, ended, endpoint, tokens, user_id};
use crate::guard::{AuthUser, Refused};
use crate::server::error::ApiError;
use crate::server::events::Client;
use crate::server::password::Password;
use crate::server::sessions::{self, RefreshCredential};
use crate::server::{Desk, X_HALLPASS, accounts, cookie, sign_in};
use crate::token::Claims;

/// The scope `/auth`, ready to be registered: `App::new().service(routes::auth::scope(&desk))`.
pub fn scope(desk: &Desk) -> Scope {
    web::scope("/auth")
        .app_data(desk.guard().clone())
        .app_data(web::Data::new(desk.clone()))
        .service(endpoint("/login", [(Method::POST, web::to(login))]))
        .service(endpoint("/register", [(Method::POST, web::to(register))]))
        .service(endpoint("/refresh", [(Method::POST, web::to(refresh))]))
        .service(endpoint("/logout", [(Method::POST, web::to(logout))]))
        .service(endpoint("/verify", [(Method::GET, web::to(verify))]).wrap(desk.guard().protect()))
        .service(endpoint("/logout-all", [(Method::POST, web::to(logout_all))]).wrap(desk.guard().protect()))
}

#[derive(Deserialize)]
struct LoginRequest {
    email: Option<String>,
    password: Option<Password>,
    cookie: Option<bool>,
}

async fn login(
    desk: web::Data<Desk>,
    client: Client,
    Body(request): Body<LoginRequest>,
) -> Result<HttpResponse, ApiError> {
    let mut checked = Checked::default();
    let email = checked.email(request.email);
    let password = checked.presented("password", request.password);
    checked.verdict()?;
    let signed_in =
        sign_in::with_password(&desk, &email, &password, &client, request.cookie.unwrap_or(false)).await?;
    Ok(tokens("Login successfully", signed_in))
}

#[derive(Deserialize)]
struct RegisterRequest {
    email: Option<String>,
    password: Option<Password>,
    name: Option<String>,
}

async fn register(
    desk: web::Data<Desk>,
    client: Client,
    Body(request): Body<RegisterRequest>,
) -> Result<HttpResponse, ApiError> {
    // Before anything is said of the fields: a closed door needs no advice on passwords.
    if !desk.settings().registration.open {
        return Err(ApiError::RegistrationClosed);
    }
    let mut checked = Checked::default();
    let email = checked.email(request.email);
    let password = checked.new_password("password", request.password, &email, &desk);
    let name = request.name.map(|name| checked.name(Some(name)));
    checked.verdict()?;
    let user = accounts::register(&desk, email, &password, name, &client).await?;
    let mut response = created(user);
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/user/"));
    Ok(response)
}

#[derive(Default, Deserialize)]
struct RefreshRequest {
    refresh_token: Option<Zeroizing<String>>,
}

impl RefreshRequest {
    /// The refresh token of the body or of the cookie, if there is one.
    fn credential(self, request: &HttpRequest) -> Result<Option<RefreshCredential>, ApiError> {
        match (self.refresh_token, request.cookie(cookie::NAME)) {
            (None, None) => Ok(None),
            (Some(text), None) => Ok(Some(RefreshCredential { text, by_cookie: false })),
            (Some(_), Some(_)) => Err(ApiError::RequestInvalid(
                "a refresh token came in the cookie and another in the body; send one",
            )),
            // A page of another origin sets no such header without having asked, and was told no then.
            (None, Some(_)) if request.headers().get(X_HALLPASS).is_none_or(|value| value != "1") => {
                Err(ApiError::CsrfRejected)
            }
            (None, Some(cookie)) => {
                Ok(Some(RefreshCredential { text: cookie.value().to_owned().into(), by_cookie: true }))
            }
        }
    }
}

async fn refresh(
    request: HttpRequest,
    desk: web::Data<Desk>,
    client: Client,
    OptionalBody(body): OptionalBody<RefreshRequest>,
) -> Result<HttpResponse, ApiError> {
    let credential = body.credential(&request)?.ok_or_else(|| desk.refresh_invalid(false))?;
    let signed_in = sessions::refresh(&desk, &credential, client).await?;
    Ok(tokens("Refresh successfully", signed_in))
}

/// Either token will do: a page whose access token has expired signs out with the other.
async fn logout(
    claims: Result<Claims, Refused>,
    request: HttpRequest,
    desk: web::Data<Desk>,
    client: Client,
    OptionalBody(body): OptionalBody<RefreshRequest>,
) -> Result<HttpResponse, actix_web::Error> {
    let credential = match body.credential(&request) {
        // The access token alone is proof enough.
        Err(ApiError::CsrfRejected) if claims.is_ok() => None,
        other => other?,
    };
    if credential.is_none()
        && let Err(refused) = claims
    {
        return Err(refused.into());
    }
    Ok(ended(sessions::sign_out(&desk, claims.as_ref().ok(), credential.as_ref(), &client).await?))
}

async fn logout_all(user: AuthUser, desk: web::Data<Desk>, client: Client) -> Result<HttpResponse, ApiError> {
    let by_cookie = sessions::sign_out_everywhere(&desk, user_id(&user)?, user.claims(), &client).await?;
    Ok(ended(by_cookie))
}

/// For a reverse proxy that asks before it lets a request through (nginx's `auth_request` and its like).
async fn verify(user: AuthUser) -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .insert_header(("X-Auth-User-Id", plain(&user.id)))
        .insert_header(("X-Auth-User-Email", plain(&user.email)))
        .insert_header(("X-Auth-User-Roles", plain(&user.roles.join(","))))
        .finish()
}

/// `text` as a header's value: whatever is not visible ASCII is percent-encoded, so that nothing in the database
/// can break out of its line.
fn plain(text: &str) -> HeaderValue {
    let mut value = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte.is_ascii_graphic() {
            true => value.push(char::from(byte)),
            false => write!(value, "%{byte:02X}").expect("a String takes all that is written"),
        }
    }
    HeaderValue::from_str(&value).expect("visible ASCII is a header's value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_database_holds_is_one_line_of_visible_ascii() {
        let table = [
            ("ada@example.com", "ada@example.com"),
            ("a b\r\nX-Auth-User-Roles: admin", "a%20b%0D%0AX-Auth-User-Roles:%20admin"),
            ("ä\u{0}\u{7f}", "%C3%A4%00%7F"),
            ("", ""),
        ];
        for (text, expected) in table {
            assert_eq!(plain(text), expected, "{text:?}");
        }
    }
}
