//! `/auth`: sign-up, sign-in, refresh and sign-out.

use std::fmt::Write as _;
use std::sync::Arc;

use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use actix_web::{FromRequest, HttpRequest, HttpResponse, Scope, web};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::by_cookie::{TWO_COOKIES, cookie_credential, end_session_of};
use super::{by_mail, link, passkeys, second_factors};
use crate::guard::{AuthUser, Refusal, Refused, Unavailable, User};
use crate::server::accounts::{Accounts, MAX_EMAIL_BYTES, Registered};
use crate::server::credentials::{Password, Strength};
use crate::server::error::Error;
use crate::server::http::body::{Body, OptionalBody, given};
use crate::server::http::endpoint::{endpoint, endpoint_for_proxies};
use crate::server::http::fields::Checked;
use crate::server::http::openapi::{EMAIL, Operation, PASSWORD, a_user, some_tokens};
use crate::server::http::responses::{
    ACCEPTED, Accepted, TokenResponse, accepted, created, data, ended, tokens, user_id,
};
use crate::server::http::{ApiError, Context, X_HALLPASS, cookie};
use crate::server::model::Client;
use crate::server::sessions::{RefreshCredential, Sessions};
use crate::server::state::ServerKeys;
use crate::token::{Claims, TokenError};

/// Returns the scope `/auth`.
pub(in crate::server::http) fn scope(context: &Context) -> Scope {
    let guard = &context.guard;
    web::scope("/auth")
        .app_data(guard.clone())
        .app_data(web::Data::new(guard.clone()))
        .app_data(web::Data::new(context.accounts.clone()))
        .app_data(web::Data::new(context.sessions.clone()))
        .app_data(web::Data::from(Arc::clone(&context.server_keys)))
        .app_data(web::Data::new(context.settings.clone()))
        .service(endpoint("/login", [(Method::POST, web::to(login))]))
        .configure(second_factors::configure_sign_in)
        .configure(passkeys::configure_sign_in)
        .service(endpoint("/register", [(Method::POST, web::to(register))]))
        .service(endpoint("/password-strength", [(Method::POST, web::to(password_strength))]))
        .service(endpoint("/refresh", [(Method::POST, web::to(refresh))]))
        .service(endpoint("/logout", [(Method::POST, web::to(logout))]))
        .configure(|config| by_mail::configure(config, context))
        .configure(|config| link::configure(config, context))
        .service(endpoint_for_proxies("/verify", web::to(verify)).wrap(guard.protect().pass_options()))
        .service(
            endpoint("/logout-all", [(Method::POST, web::to(logout_all))])
                .wrap(guard.protect().pass_options()),
        )
}

/// Returns the operations of these routes.
pub(crate) fn operations() -> Vec<Operation> {
    let post = |path, id, summary| Operation::new("Sign-in", Method::POST, path, id, summary);
    let refresh_token = || json!({"refresh_token": "aHAx-an-opaque-text-good-once"});
    vec![
        post("/auth/login", "login", "Sign in")
            .text(
                "An unknown address, a wrong password and a disabled user get the same answer. With `\"cookie\": true`, the \
                 refresh token is sent in an `HttpOnly` cookie and never in a body. After failed attempts, further ones are \
                 delayed, by account and by IP address. If the account has a second factor, the answer to the right password is \
                 401 `second_factor_required`, and no session has begun: `POST /auth/second-factor` begins it.",
            )
            .takes::<LoginRequest>(json!({"email": EMAIL, "password": PASSWORD}))
            .gives::<TokenResponse<'_>>(200, "The tokens of a new session", some_tokens("Login successfully"))
            .fails([
                Error::CredentialsInvalid.into(),
                Error::EmailUnverified.into(),
                ApiError::RequestInvalid(TWO_COOKIES.into()),
            ])
            .may_need_second_factor()
            .checks("password", "is required")
            .hashes(),
        post("/auth/register", "register", "Create an account")
            .takes::<RegisterRequest>(json!({"email": EMAIL, "password": PASSWORD, "name": "Ada Lovelace"}))
            .gives::<User>(201, "The new user", {
                let mut user = a_user();
                user["email_verified"] = json!(false);
                user["roles"] = json!([]);
                user["last_login_at"] = json!(null);
                user
            })
            .header("Location", "The address of the user", "/user/")
            .text(
                "If `registration.verify` is `required`, the answer is 202 for every address, and a mail says what became of \
                 it. If it is `optional` and there is mail, a link to verify the address is sent.",
            )
            .gives::<Accepted>(202, "A mail is on its way", json!({"message": ACCEPTED}))
            .fails([Error::RegistrationClosed.into(), Error::EmailTaken.into()])
            .checks("email", "is not an e-mail address like ada@example.com, in plain ASCII")
            .hashes(),
        post("/auth/password-strength", "passwordStrength", "Rate a password")
            .text("For a form in which a new password is typed. No account is looked up. Requests are limited by IP address.")
            .takes::<StrengthRequest>(json!({"email": EMAIL, "password": PASSWORD}))
            .gives::<Strength>(
                200,
                "The estimate",
                json!({"score": 4, "reason": null, "advice": []}),
            )
            .checks("password", "is required")
            .hashes(),
        post("/auth/refresh", "refresh", "Refresh the tokens")
            .text(
                "A refresh token can be used once. Using it again within ten seconds (`session.reuse_grace_s`) returns the same \
                 next token; later reuse ends the session. With the cookie, send no body and the header `X-Hallpass: 1`.",
            )
            .may_take::<RefreshRequest>(refresh_token())
            .with_cookie_too()
            .gives::<TokenResponse<'_>>(200, "The next tokens", some_tokens("Refresh successfully"))
            .fails([Error::RefreshInvalid { session_ended: false }.into(), Error::TooManyAttempts { retry_after_secs: 60 }.into()])
            .asks_database(),
        post("/auth/logout", "logout", "Sign out")
            .text(
                "Send the access token in `Authorization`, or the refresh token in the body or the cookie. All tokens of the \
                 session are revoked.",
            )
            .may_take::<RefreshRequest>(refresh_token())
            .guarded_before_enrolment()
            .with_cookie_too()
            .gives_nothing("The session has ended")
            .fails([Error::RefreshInvalid { session_ended: false }.into()]),
        post("/auth/logout-all", "logoutAll", "Sign out everywhere")
            .guarded_before_enrolment()
            .gives_nothing("Every session of the user has ended"),
        Operation::new("Sign-in", Method::GET, "/auth/verify", "verify", "Verify a token, for a reverse proxy")
            .text("For nginx's `auth_request`, Traefik's `ForwardAuth` and Caddy's `forward_auth`.")
            .guarded()
            .gives_nothing("The token is valid")
            .header("X-Auth-User-Id", "The user's id", "01a20856-390a-7613-b291-9f86fb9e0787")
            .header("X-Auth-User-Email", "The user's address", EMAIL)
            .header("X-Auth-User-Roles", "The user's roles, separated by commas; `-` for none", "admin,editor"),
    ]
}

#[derive(Deserialize, ToSchema)]
struct LoginRequest {
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = true)]
    email: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = true, format = Password)]
    password: Option<Password>,
    /// If true, the refresh token is sent in a cookie that scripts cannot read. Defaults to false.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = bool, required = false)]
    cookie: Option<bool>,
}

async fn login(
    http: HttpRequest,
    sessions: web::Data<Sessions>,
    client: Client,
    Body(request): Body<LoginRequest>,
) -> Result<HttpResponse, ApiError> {
    let mut checked = Checked::default();
    let email = checked.email(request.email);
    let password = checked.presented("password", request.password);
    checked.verdict()?;
    let by_cookie = request.cookie.unwrap_or(false);
    // The new cookie replaces the browser's old one. Nobody could use or end the old session after that.
    let replaced = if by_cookie { cookie_credential(&http)? } else { None };
    let signed_in = sessions.sign_in(&email, &password, &client, by_cookie).await?;
    if let Some(replaced) = replaced {
        end_session_of(&replaced, &sessions, &client).await;
    }
    Ok(tokens("Login successfully", signed_in))
}

#[derive(Deserialize, ToSchema)]
struct RegisterRequest {
    /// A plausible address of printable ASCII. It is trimmed and stored in lower case.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = true, max_length = 254)]
    email: Option<String>,
    /// `password.min_length` to 256 characters; not a common password.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = true, format = Password, max_length = 256)]
    password: Option<Password>,
    /// No control characters.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200)]
    name: Option<String>,
}

async fn register(
    accounts: web::Data<Accounts>,
    client: Client,
    Body(request): Body<RegisterRequest>,
) -> Result<HttpResponse, ApiError> {
    // Checked first: if registration is closed, advice on the password is useless.
    accounts.check_registration_is_open()?;
    let mut checked = Checked::default();
    let email = checked.email(request.email);
    let name = request.name.map(|name| checked.name(Some(name)));
    let context = accounts.password_context(&email, name.as_deref());
    let password = checked.new_password("password", request.password, &context);
    checked.verdict()?;
    let user = match accounts.register(email, &password, name, &client).await? {
        Registered::Made(user) => user,
        Registered::Told => return Ok(accepted()),
    };
    let mut response = created(user);
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/user/"));
    Ok(response)
}

#[derive(Deserialize, ToSchema)]
#[schema(as = PasswordStrengthRequest)]
struct StrengthRequest {
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = true, format = Password)]
    password: Option<Password>,
    /// The user's address: a password that contains parts of it is easy to guess.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false)]
    email: Option<String>,
}

async fn password_strength(
    accounts: web::Data<Accounts>,
    client: Client,
    Body(request): Body<StrengthRequest>,
) -> Result<HttpResponse, ApiError> {
    let mut checked = Checked::default();
    let password = checked.required("password", request.password);
    checked.verdict()?;
    // A longer text is not an address.
    let email = request.email.filter(|email| email.len() <= MAX_EMAIL_BYTES).unwrap_or_default();
    Ok(data(accounts.estimate_strength(&password, email.trim(), &client).await?))
}

#[derive(Default, Deserialize, ToSchema)]
struct RefreshRequest {
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false)]
    refresh_token: Option<Zeroizing<String>>,
}

impl RefreshRequest {
    /// Returns the refresh token of the body or of the cookie, if there is one.
    fn credential(self, request: &HttpRequest) -> Result<Option<RefreshCredential>, ApiError> {
        match (self.refresh_token, cookie_credential(request)?) {
            (Some(text), None) => Ok(Some(RefreshCredential { text, by_cookie: false })),
            (Some(_), Some(_)) => Err(ApiError::RequestInvalid(cookie::COOKIE_AND_BODY.into())),
            // A page of another origin cannot set this header without a preflight, which fails unless
            // `server.cors_origins` lists the origin.
            (None, Some(_)) if request.headers().get(X_HALLPASS).is_none_or(|value| value != "1") => {
                Err(ApiError::CsrfRejected)
            }
            (None, credential) => Ok(credential),
        }
    }
}

async fn refresh(
    request: HttpRequest,
    sessions: web::Data<Sessions>,
    client: Client,
    OptionalBody(body): OptionalBody<RefreshRequest>,
) -> Result<HttpResponse, ApiError> {
    let credential = body.credential(&request)?.ok_or(Error::RefreshInvalid { session_ended: false })?;
    Ok(tokens("Refresh successfully", sessions.refresh(&credential, client).await?))
}

/// Signs out by the access token or the refresh token, since the access token may have expired.
async fn logout(
    claims: Result<Claims, Refused>,
    request: HttpRequest,
    sessions: web::Data<Sessions>,
    keys: web::Data<ServerKeys>,
    client: Client,
    OptionalBody(body): OptionalBody<RefreshRequest>,
) -> Result<HttpResponse, actix_web::Error> {
    let claims = match claims {
        // The key may be new, and this server has not read it yet. For the other routes the guard does the same.
        Err(refused) if refused.reason() == Refusal::TokenInvalid(TokenError::KeyUnknown) => {
            keys.sync().await.map_err(|Unavailable| {
                ApiError::from(Error::Unavailable("the key of a token cannot be looked up".into()))
            })?;
            Claims::extract(&request).await
        }
        decided => decided,
    };
    let credential = match body.credential(&request) {
        // The access token alone is enough.
        Err(ApiError::CsrfRejected) if claims.is_ok() => None,
        other => other?,
    };
    if credential.is_none()
        && let Err(refused) = claims
    {
        return Err(refused.into());
    }
    let signed_out = sessions.sign_out(claims.as_ref().ok(), credential.as_ref(), &client).await;
    Ok(ended(&signed_out.map_err(ApiError::from)?))
}

async fn logout_all(
    user: AuthUser,
    sessions: web::Data<Sessions>,
    client: Client,
) -> Result<HttpResponse, ApiError> {
    Ok(ended(&sessions.sign_out_everywhere(user_id(&user)?, user.claims(), &client).await?))
}

/// Answers a reverse proxy that asks about each request, such as nginx with `auth_request`.
async fn verify(user: AuthUser) -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .insert_header(("X-Auth-User-Id", plain(&user.id)))
        .insert_header(("X-Auth-User-Email", plain(&user.email)))
        .insert_header(("X-Auth-User-Roles", roles(&user.roles)))
        .finish()
}

/// Returns the roles as the value of a header, and `-`, which is no role, where there are none. Some proxies keep the
/// client's own header where the answer has an empty one or none (GHSA-7r4p-vjf4-gxv4), so a stranger would choose
/// roles.
fn roles(roles: &[String]) -> HeaderValue {
    if roles.is_empty() { HeaderValue::from_static("-") } else { plain(&roles.join(",")) }
}

/// Returns `text` as the value of a header. Everything but visible ASCII is percent-encoded, so no text from the
/// database can end the line.
fn plain(text: &str) -> HeaderValue {
    let mut value = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() {
            value.push(char::from(byte));
        } else {
            write!(value, "%{byte:02X}").expect("a String takes all that is written");
        }
    }
    HeaderValue::from_str(&value).expect("visible ASCII is a header's value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_one_line_of_visible_ascii() {
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
