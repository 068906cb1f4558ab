//! `/user`: the user's own account and sessions. The whole scope is under the guard.

use actix_web::dev::HttpServiceFactory;
use actix_web::http::Method;
use actix_web::http::header::{HeaderValue, LINK};
use actix_web::{HttpResponse, Route, web};
use chrono::DateTime;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{by_mail, export, passkeys, second_factors};
use crate::guard::{AuthUser, Guard, User};
use crate::server::accounts::Accounts;
use crate::server::credentials::Password;
use crate::server::error::Error;
use crate::server::http::body::{Body, given};
use crate::server::http::endpoint::{endpoint, spelled};
use crate::server::http::fields::Checked;
use crate::server::http::openapi::{Operation, PASSWORD, a_session, a_user, some_tokens};
use crate::server::http::query::{LONGEST_PAGE, Parameters};
use crate::server::http::responses::{TokenResponse, as_data, data, data_in_json, ended, tokens, user_id};
use crate::server::http::{ApiError, Context};
use crate::server::model::{Client, SessionPlace};
use crate::server::sessions::{ListedSession, Sessions};
use crate::token::Claims;

/// Returns the scope `/user`.
pub(in crate::server::http) fn scope(context: &Context) -> impl HttpServiceFactory + use<> {
    web::scope("/user")
        .wrap(context.guard.protect().pass_options())
        .app_data(web::Data::new(context.guard.clone()))
        .app_data(web::Data::new(context.accounts.clone()))
        .app_data(web::Data::new(context.sessions.clone()))
        .app_data(web::Data::new(context.settings.clone()))
        .service(spelled("/", account()))
        .service(spelled("", account()))
        .service(endpoint("/export", [(Method::GET, web::to(export::export))]))
        .configure(second_factors::configure)
        .configure(passkeys::configure)
        .service(endpoint("/password", [(Method::POST, web::to(change_password))]))
        .configure(|config| by_mail::configure_user(config, context))
        .service(endpoint("/sessions", [(Method::GET, web::to(list_sessions))]))
        .service(endpoint("/sessions/{id}", [(Method::DELETE, web::to(end_session))]))
}

fn account() -> [(Method, Route); 3] {
    [(Method::GET, web::to(show)), (Method::PATCH, web::to(rename)), (Method::DELETE, web::to(delete))]
}

pub(super) const CURSOR: &str = "1769851800000.01a20856-390a-7613-b291-9f86fb9e0787";
pub(super) const LINK_EXAMPLE: &str =
    "</user/sessions?limit=50&cursor=1769851800000.01a20856-390a-7613-b291-9f86fb9e0787>; rel=\"next\"";

/// Returns the operations of these routes.
pub(crate) fn operations() -> Vec<Operation> {
    let account = |method, path, id, summary| Operation::new("Account", method, path, id, summary).guarded();
    let session = |method, path, id, summary| Operation::new("Sessions", method, path, id, summary).guarded();
    vec![
        Operation::new("Account", Method::GET, "/user/", "showUser", "Show the user")
            .guarded_before_enrolment()
            .gives::<User>(200, "The user", a_user()),
        account(Method::PATCH, "/user/", "renameUser", "Change the name")
            .takes::<RenameRequest>(json!({"name": "Ada Lovelace"}))
            .gives::<User>(200, "The changed user", a_user())
            .checks("name", "is required")
            .fails([Error::TooManyAttempts { retry_after_secs: 60 }.into()]),
        account(Method::DELETE, "/user/", "deleteUser", "Delete the account")
            .takes::<DeleteRequest>(json!({"password": PASSWORD}))
            .gives_nothing("The user and every session are deleted")
            .checks("password", "is required")
            .fails([Error::PasswordWrong.into(), Error::LastAdmin.into()])
            .needs_fresh_sign_in()
            .hashes(),
        export::operation(),
        account(Method::POST, "/user/password", "changePassword", "Change the password")
            .text("Every earlier token of the user is revoked; the response has the tokens of a new session. A user with a second factor \
                 must have signed in with it a short time ago (`second_factor.fresh_s`).")
            .takes::<PasswordRequest>(json!({
                "current_password": PASSWORD,
                "new_password": "seventeen blue lanterns",
            }))
            .gives::<TokenResponse<'_>>(
                200,
                "The tokens of a new session",
                some_tokens("Password changed successfully"),
            )
            .checks("new_password", "is required")
            .fails([Error::PasswordWrong.into()])
            .needs_fresh_sign_in()
            .hashes(),
        session(Method::GET, "/user/sessions", "listSessions", "List the sessions")
            .text(
                "If there are more than `limit`, the header `Link` (RFC 8288) has the URL of the next page.",
            )
            .query("limit", "The most sessions to list, from 1 to 200, which is the default", &json!(200))
            .query("cursor", "The place after which to begin, from the header `Link`", &json!(CURSOR))
            .header("Link", "The next page; only if there is one", LINK_EXAMPLE)
            .fails([bad_limit()])
            .gives_list::<ListedSession>(200, "The sessions, latest first", json!([a_session()])),
        session(Method::DELETE, "/user/sessions/{id}", "endSession", "End a session")
            .gives_nothing("The session has ended")
            .fails([Error::NotFound.into(), Error::TooManyAttempts { retry_after_secs: 60 }.into()]),
    ]
}

async fn show(user: AuthUser) -> HttpResponse {
    data_in_json(user.shown.get(|| as_data(&user)))
}

#[derive(Deserialize, ToSchema)]
struct RenameRequest {
    /// No control characters.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = true, min_length = 1, max_length = 200)]
    name: Option<String>,
}

async fn rename(
    user: AuthUser,
    guard: web::Data<Guard>,
    accounts: web::Data<Accounts>,
    client: Client,
    Body(request): Body<RenameRequest>,
) -> Result<HttpResponse, ApiError> {
    let mut checked = Checked::default();
    let name = checked.name(request.name);
    checked.verdict()?;
    let renamed = accounts.rename(user_id(&user)?, &name, &client).await;
    Ok(data(renamed.map_err(ApiError::behind(&guard))?))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ChangePasswordRequest)]
struct PasswordRequest {
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = true, format = Password)]
    current_password: Option<Password>,
    /// `password.min_length` to 256 characters, none of the common ones.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = true, format = Password, max_length = 256)]
    new_password: Option<Password>,
}

async fn change_password(
    user: AuthUser,
    guard: web::Data<Guard>,
    accounts: web::Data<Accounts>,
    client: Client,
    Body(request): Body<PasswordRequest>,
) -> Result<HttpResponse, ApiError> {
    let mut checked = Checked::default();
    let current = checked.presented("current_password", request.current_password);
    let context = accounts.password_context(&user.email, user.name.as_deref());
    let new = checked.new_password("new_password", request.new_password, &context);
    checked.verdict()?;
    let new = (&new, context);
    let changed = accounts.change_password(&user, user_id(&user)?, &current, new, &client).await;
    Ok(tokens("Password changed successfully", changed.map_err(ApiError::behind(&guard))?))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = DeleteUserRequest)]
struct DeleteRequest {
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = true, format = Password)]
    password: Option<Password>,
}

async fn delete(
    user: AuthUser,
    guard: web::Data<Guard>,
    accounts: web::Data<Accounts>,
    client: Client,
    Body(request): Body<DeleteRequest>,
) -> Result<HttpResponse, ApiError> {
    let mut checked = Checked::default();
    let password = checked.presented("password", request.password);
    checked.verdict()?;
    let deleted = accounts.delete(&user, user_id(&user)?, &password, &client).await;
    Ok(ended(&deleted.map_err(ApiError::behind(&guard))?))
}

/// An example of what a page refuses, for the OpenAPI document.
pub(super) fn bad_limit() -> ApiError {
    ApiError::RequestInvalid("limit is not acceptable: 1 to 200 is accepted".into())
}

async fn list_sessions(
    user: AuthUser,
    sessions: web::Data<Sessions>,
    parameters: Parameters,
) -> Result<HttpResponse, ApiError> {
    session_page(&sessions, user_id(&user)?, user.claims(), &parameters, "/user/sessions").await
}

/// Answers with a page of the user's sessions. `path` is that of the route, for the next page.
pub(super) async fn session_page(
    sessions: &Sessions,
    user: Uuid,
    claims: &Claims,
    parameters: &Parameters,
    path: &str,
) -> Result<HttpResponse, ApiError> {
    let limit = parameters.limit(LONGEST_PAGE)?;
    let after = parameters.checked("cursor", "one of a Link header of this list is accepted", place)?;
    let (list, next) = sessions.list(user, claims, after, limit).await?;
    let mut response = data(list);
    if let Some(SessionPlace { created_at, id }) = next {
        let cursor = format!("{}.{id}", created_at.timestamp_millis());
        let link = format!("<{path}?limit={limit}&cursor={cursor}>; rel=\"next\"");
        response
            .headers_mut()
            .insert(LINK, HeaderValue::from_str(&link).expect("numbers are header characters"));
    }
    Ok(response)
}

/// Reads a cursor.
fn place(cursor: &str) -> Option<SessionPlace> {
    let (millis, id) = cursor.split_once('.')?;
    let created_at = DateTime::from_timestamp_millis(millis.parse().ok()?)?;
    Some(SessionPlace { created_at, id: Uuid::try_parse(id).ok()? })
}

async fn end_session(
    user: AuthUser,
    sessions: web::Data<Sessions>,
    client: Client,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    // A text that is not an id names no session.
    let session = Uuid::try_parse(&path).map_err(|_| Error::NotFound)?;
    Ok(ended(&sessions.end(user_id(&user)?, session, user.claims(), &client).await?))
}
