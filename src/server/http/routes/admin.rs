//! `/admin`: routes for admins. The whole scope is under the guard, and each handler asks for the role.

use std::sync::Arc;

use actix_web::dev::HttpServiceFactory;
use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::admin_events::{self, list_events, show_statistics};
use super::user::{CURSOR, LINK_EXAMPLE, bad_limit, session_page};
use crate::clock::serialize_rfc3339;
use crate::guard::{Require, Role};
use crate::server::accounts::{
    Accounts, Actor, Admin, Directory, NewUser, UserAdmin, UserChanges, UserSearch, parse_roles,
};
use crate::server::credentials::Password;
use crate::server::error::{Error, FieldErrors};
use crate::server::http::body::{Body, given};
use crate::server::http::endpoint::endpoint;
use crate::server::http::fields::Checked;
use crate::server::http::openapi::{Operation, PASSWORD, a_session, a_user};
use crate::server::http::query::Parameters;
use crate::server::http::responses::{ACCEPTED, Accepted, accepted, created, data, user_id};
use crate::server::http::{ApiError, Context};
use crate::server::model::{Client, UserRecord};
use crate::server::sessions::{ListedSession, Sessions};
use crate::server::state::State;

/// Returns the scope `/admin`.
pub(in crate::server::http) fn scope(context: &Context) -> impl HttpServiceFactory + use<> {
    web::scope("/admin")
        .wrap(context.guard.protect().pass_options())
        .app_data(web::Data::new(context.accounts.clone()))
        .app_data(web::Data::new(context.sessions.clone()))
        .app_data(web::Data::new(context.users.clone()))
        .app_data(web::Data::new(context.directory.clone()))
        .app_data(web::Data::new(context.events.clone()))
        .app_data(web::Data::new(context.statistics.clone()))
        .app_data(web::Data::new(context.watched.clone()))
        .app_data(web::Data::new(context.clock.clone()))
        .app_data(web::Data::from(Arc::clone(&context.state)))
        .app_data(web::Data::new(context.settings.clone()))
        .service(endpoint("/users", [(Method::GET, web::to(list_users)), (Method::POST, web::to(add_user))]))
        .service(endpoint(
            "/users/{id}",
            [
                (Method::GET, web::to(show_user)),
                (Method::PATCH, web::to(change_user)),
                (Method::DELETE, web::to(delete_user)),
            ],
        ))
        .service(endpoint("/users/{id}/password", [(Method::POST, web::to(set_password))]))
        .service(endpoint(
            "/users/{id}/sessions",
            [(Method::GET, web::to(list_sessions)), (Method::DELETE, web::to(end_sessions))],
        ))
        .service(endpoint("/users/{id}/second-factors", [(Method::DELETE, web::to(reset_second_factors))]))
        .service(endpoint("/sessions", [(Method::DELETE, web::to(end_all_sessions))]))
        .service(endpoint("/events", [(Method::GET, web::to(list_events))]))
        .service(endpoint("/stats", [(Method::GET, web::to(show_statistics))]))
}

/// Returns the operations of these routes.
pub(crate) fn operations() -> Vec<Operation> {
    let admin = |method, path, id, summary| Operation::new("Admin", method, path, id, summary).with_role();
    let mut operations = vec![
        admin(Method::GET, "/admin/users", "listUsers", "List the users")
            .text("Newest first. A user must match all given filters. For the next page, pass `next_cursor` as `cursor`.")
            .parameter("email", "The user with exactly this address", json!({"type": "string"}))
            .parameter("q", "Users with a word in the address or name that begins with this text", json!({"type": "string", "maxLength": 254}))
            .parameter("role", "Users with this role", json!({"type": "string"}))
            .parameter("disabled", "True: only disabled users; false: only enabled users", json!({"type": "boolean"}))
            .parameter("limit", "The maximum number of users", json!({"type": "integer", "minimum": 1, "maximum": 200, "default": 50}))
            .parameter("cursor", "The `next_cursor` of the previous page", json!({"type": "string", "format": "uuid"}))
            .gives::<UserList>(200, "A page of users", json!({"users": [an_admins_user()], "next_cursor": null})),
        admin(Method::POST, "/admin/users", "addUser", "Add a user")
            .text(
                "The address counts as verified, because the admin vouches for it. Without a password, an invitation to \
                 choose one is sent, which needs mail.",
            )
            .takes::<AddRequest>(json!({"email": "grace@example.com", "password": PASSWORD, "name": "Grace Hopper", "roles": ["editor"]}))
            .gives::<AdminUser>(201, "The user", an_admins_user())
            .checks("email", "is required")
            .fails([Error::EmailTaken.into()])
            .hashes(),
        admin(Method::GET, "/admin/users/{id}", "showOtherUser", "Show a user")
            .gives::<AdminUser>(200, "The user", an_admins_user())
            .fails([Error::NotFound.into()]),
        admin(Method::PATCH, "/admin/users/{id}", "changeOtherUser", "Change a user")
            .text("Fields that are not given stay unchanged. Disabling a user ends all sessions; enabling does not restore them. The last enabled admin cannot be disabled, and cannot lose the role.")
            .takes::<ChangeRequest>(json!({"roles": ["admin", "editor"], "disabled": false}))
            .gives::<AdminUser>(200, "The changed user", an_admins_user())
            .checks("roles", "\"Admin\" is no role: 1 to 32 of a-z 0-9 _ . - are accepted, a letter or digit first")
            .fails([Error::NotFound.into(), Error::LastAdmin.into()]),
        admin(Method::DELETE, "/admin/users/{id}", "deleteOtherUser", "Delete a user")
            .parameter("forget", "Also clear the events about the user: only their kind and time remain", json!({"type": "boolean", "default": false}))
            .gives_nothing("The user and every session are deleted")
            .fails([Error::NotFound.into(), Error::LastAdmin.into()]),
        admin(Method::POST, "/admin/users/{id}/password", "setPassword", "Set a user's password")
            .text("With `\"mail\": true` in place of a password, the user is sent a link to choose one; that needs mail.")
            .gives::<Accepted>(202, "A link was sent, and every session of the user has ended", json!({"message": ACCEPTED}))
            .takes::<PasswordRequest>(json!({"new_password": "seventeen blue lanterns"}))
            .gives_nothing("The password is set, and every session of the user has ended")
            .checks("new_password", "is required")
            .fails([Error::NotFound.into()])
            .hashes(),
        admin(Method::GET, "/admin/users/{id}/sessions", "listOtherSessions", "List a user's sessions")
            .text("If there are more than `limit`, the header `Link` (RFC 8288) has the URL of the next page.")
            .query("limit", "The most sessions to list, from 1 to 200, which is the default", &json!(200))
            .query("cursor", "The place after which to begin, from the header `Link`", &json!(CURSOR))
            .header("Link", "The next page; only if there is one", LINK_EXAMPLE)
            .gives_list::<ListedSession>(200, "The sessions, latest first", json!([a_session()]))
            .fails([bad_limit()])
            .fails([Error::NotFound.into()]),
        admin(Method::DELETE, "/admin/users/{id}/sessions", "endOtherSessions", "End a user's sessions")
            .gives_nothing("Every session of the user has ended")
            .fails([Error::NotFound.into()]),
        admin(Method::DELETE, "/admin/users/{id}/second-factors", "resetSecondFactors", "Remove a user's second factors")
            .text("For a user who has lost them: the password alone signs in again. Sessions stay. Make sure first that it is the user who asks.")
            .gives_nothing("The user has no second factor")
            .fails([Error::NotFound.into()]),
        admin(Method::DELETE, "/admin/sessions", "endAllSessions", "End everybody's sessions")
            .text("This includes the admin's own session. With very many users, use `hallpass sessions end --all`, which cannot be cut off by a client's timeout.")
            .gives_nothing("Every session of every user has ended"),
    ];
    operations.extend(admin_events::operations());
    operations
}

/// The user of the examples, as an admin sees it.
fn an_admins_user() -> Value {
    let mut user = a_user();
    user["disabled"] = json!(false);
    user
}

/// A user, as an admin sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AdminUser {
    #[schema(value_type = String, format = "uuid")]
    id: Uuid,
    email: String,
    email_verified: bool,
    #[schema(required)]
    name: Option<String>,
    roles: Vec<String>,
    /// The kinds of second factors that the user has: `passkey`, `totp`.
    second_factors: Vec<String>,
    /// True if the user cannot sign in.
    disabled: bool,
    #[serde(serialize_with = "serialize_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created_at: DateTime<Utc>,
    #[serde(serialize_with = "serialize_rfc3339")]
    #[schema(required, value_type = Option<String>, format = DateTime)]
    last_login_at: Option<DateTime<Utc>>,
}

impl From<UserRecord> for AdminUser {
    fn from(user: UserRecord) -> Self {
        Self {
            id: user.id,
            email_verified: user.email_verified_at.is_some(),
            disabled: !user.is_enabled(),
            email: user.email,
            name: user.name,
            roles: user.roles,
            second_factors: user.second_factors,
            created_at: user.created_at,
            last_login_at: user.last_login_at,
        }
    }
}

/// A page of users.
#[derive(Debug, Serialize, ToSchema)]
struct UserList {
    users: Vec<AdminUser>,
    /// For the next page; null if this is the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

async fn list_users(
    _admin: Require<Role<Admin>>,
    directory: web::Data<Directory>,
    parameters: Parameters,
) -> Result<HttpResponse, ApiError> {
    let limit = parameters.limit(50)?;
    let role = |text: &str| parse_roles(&[text.to_owned()]).ok()?.pop();
    let search = UserSearch {
        email: parameters.text("email")?.map(|email| email.trim().to_ascii_lowercase()),
        words: parameters.text("q")?.map(str::to_owned),
        role: parameters.checked("role", "1 to 32 of a-z 0-9 _ . - are accepted", role)?,
        disabled: parameters.value("disabled", "true or false is accepted")?,
        before: parameters
            .checked("cursor", "a next_cursor is accepted", |text| Uuid::try_parse(text).ok())?,
        // One more tells whether there is a next page.
        limit: limit + 1,
    };
    let mut users = directory.search(&search).await?;
    let has_more = users.len() > limit as usize;
    users.truncate(limit as usize);
    let next_cursor = users.last().filter(|_| has_more).map(|user| user.id.to_string());
    Ok(data(UserList { users: users.into_iter().map(AdminUser::from).collect(), next_cursor }))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = AddUserRequest)]
struct AddRequest {
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = true, format = "email", max_length = 254)]
    email: Option<String>,
    /// `password.min_length` to 256 characters, none of the common ones.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false, format = Password, max_length = 256)]
    password: Option<Password>,
    /// No control characters.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200)]
    name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Vec<String>, required = false, max_items = 32)]
    roles: Option<Vec<String>>,
}

async fn add_user(
    admin: Require<Role<Admin>>,
    accounts: web::Data<Accounts>,
    users: web::Data<UserAdmin>,
    client: Client,
    Body(request): Body<AddRequest>,
) -> Result<HttpResponse, ApiError> {
    let mut checked = Checked::default();
    let email = checked.email(request.email);
    let name = request.name.map(|name| checked.name(Some(name)));
    let roles = checked.roles(&request.roles.unwrap_or_default());
    if request.password.is_none() && accounts.has_mail() {
        checked.verdict()?;
        let user = NewUser { email, name, roles, ..NewUser::default() };
        let user = acting(&users, &admin, client)?.invite(user).await?;
        return Ok(created(AdminUser::from(user)));
    }
    let context = accounts.password_context(&email, name.as_deref());
    let password = checked.new_password("password", request.password, &context);
    checked.verdict()?;
    let password_hash = Some(accounts.hash_new("password", &password, context, &client).await?);
    let user = NewUser { email, email_is_verified: true, name, roles, password_hash };
    let user = acting(&users, &admin, client)?.add(user).await?;
    Ok(created(AdminUser::from(user)))
}

async fn show_user(
    _admin: Require<Role<Admin>>,
    users: web::Data<UserAdmin>,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    Ok(data(AdminUser::from(users.get(id(&path)?).await?)))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ChangeUserRequest)]
struct ChangeRequest {
    /// No control characters.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200)]
    name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Vec<String>, required = false, max_items = 32)]
    roles: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = bool, required = false)]
    disabled: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = bool, required = false)]
    email_verified: Option<bool>,
}

async fn change_user(
    admin: Require<Role<Admin>>,
    users: web::Data<UserAdmin>,
    state: web::Data<State>,
    client: Client,
    path: web::Path<String>,
    Body(request): Body<ChangeRequest>,
) -> Result<HttpResponse, ApiError> {
    let id = id(&path)?;
    let mut checked = Checked::default();
    let changes = UserChanges {
        name: request.name.map(|name| checked.name(Some(name))),
        roles: request.roles.map(|roles| checked.roles(&roles)),
        disabled: request.disabled,
        email_verified: request.email_verified,
    };
    checked.verdict()?;
    let user = acting(&users, &admin, client)?.update(id, &changes).await?;
    state.sync_changes().await?;
    Ok(data(AdminUser::from(user)))
}

async fn delete_user(
    admin: Require<Role<Admin>>,
    users: web::Data<UserAdmin>,
    state: web::Data<State>,
    client: Client,
    path: web::Path<String>,
    parameters: Parameters,
) -> Result<HttpResponse, ApiError> {
    let forget = parameters.value("forget", "true or false is accepted")?.unwrap_or(false);
    acting(&users, &admin, client)?.delete(id(&path)?, forget).await?;
    state.sync_changes().await?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Deserialize, ToSchema)]
#[schema(as = SetPasswordRequest)]
struct PasswordRequest {
    /// `password.min_length` to 256 characters, none of the common ones.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false, format = Password, max_length = 256)]
    new_password: Option<Password>,
    /// If true, the user is sent a link to choose a password.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = bool, required = false)]
    mail: Option<bool>,
}

async fn set_password(
    admin: Require<Role<Admin>>,
    accounts: web::Data<Accounts>,
    users: web::Data<UserAdmin>,
    state: web::Data<State>,
    client: Client,
    path: web::Path<String>,
    Body(request): Body<PasswordRequest>,
) -> Result<HttpResponse, ApiError> {
    let user = users.get(id(&path)?).await?;
    let mut checked = Checked::default();
    if request.mail == Some(true) {
        if !accounts.has_mail() {
            return Err(field_error("mail", "needs a mail server; set mail.url").into());
        }
        if request.new_password.is_some() {
            return Err(field_error("mail", "is for a request without a password").into());
        }
        acting(&users, &admin, client)?.send_reset(user.id).await?;
        state.sync_changes().await?;
        return Ok(accepted());
    }
    let context = accounts.password_context(&user.email, user.name.as_deref());
    let password = checked.new_password("new_password", request.new_password, &context);
    checked.verdict()?;
    let hash = accounts.hash_new("new_password", &password, context, &client).await?;
    acting(&users, &admin, client)?.set_password(user.id, &hash).await?;
    state.sync_changes().await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn list_sessions(
    admin: Require<Role<Admin>>,
    users: web::Data<UserAdmin>,
    sessions: web::Data<Sessions>,
    path: web::Path<String>,
    parameters: Parameters,
) -> Result<HttpResponse, ApiError> {
    let user = users.get(id(&path)?).await?;
    let path = format!("/admin/users/{}/sessions", user.id);
    session_page(&sessions, user.id, admin.claims(), &parameters, &path).await
}

async fn end_sessions(
    admin: Require<Role<Admin>>,
    users: web::Data<UserAdmin>,
    state: web::Data<State>,
    client: Client,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    acting(&users, &admin, client)?.end_sessions(id(&path)?).await?;
    state.sync_changes().await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn reset_second_factors(
    admin: Require<Role<Admin>>,
    users: web::Data<UserAdmin>,
    state: web::Data<State>,
    client: Client,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    acting(&users, &admin, client)?.reset_second_factors(id(&path)?).await?;
    state.sync_changes().await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn end_all_sessions(
    admin: Require<Role<Admin>>,
    users: web::Data<UserAdmin>,
    state: web::Data<State>,
    client: Client,
) -> Result<HttpResponse, ApiError> {
    acting(&users, &admin, client)?.end_all_sessions().await?;
    state.sync_changes().await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Returns the acts on users, with this admin in their events.
fn acting(users: &UserAdmin, admin: &Require<Role<Admin>>, client: Client) -> Result<UserAdmin, Error> {
    Ok(users.acting(Actor { id: user_id(admin)?, client }))
}

fn field_error(field: &'static str, reason: &str) -> Error {
    Error::ValidationFailed(FieldErrors::from([(field, vec![reason.to_owned()])]))
}

/// Reads an id. A text that is none names no user.
fn id(path: &str) -> Result<Uuid, Error> {
    Uuid::try_parse(path).map_err(|_| Error::NotFound)
}
