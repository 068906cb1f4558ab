//! Passkeys: `/user/passkeys`, in the scope of `user`, and `/auth/passkey`, in that of `auth`.

use actix_web::http::Method;
use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::by_cookie::end_replaced;
use super::factor_bodies::{PasswordRequest, credential};
use crate::clock::serialize_rfc3339;
use crate::guard::{AuthUser, Guard};
use crate::server::accounts::Accounts;
use crate::server::credentials::{AssertionResponse, CreationOptions, RegistrationResponse, RequestOptions};
use crate::server::error::Error;
use crate::server::http::ApiError;
use crate::server::http::body::{Body, OptionalBody, given};
use crate::server::http::endpoint::endpoint;
use crate::server::http::fields::Checked;
use crate::server::http::openapi::{Operation, PASSWORD, SESSION, TIME, some_tokens};
use crate::server::http::responses::{TokenResponse, created, data, tokens, user_id};
use crate::server::model::{Client, Passkey};
use crate::server::sessions::Sessions;

/// Registers the routes under `/user`.
pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .service(endpoint("/passkeys", [(Method::GET, web::to(list)), (Method::POST, web::to(add))]))
        .service(endpoint("/passkeys/options", [(Method::POST, web::to(creation_options))]))
        .service(endpoint(
            "/passkeys/{id}",
            [(Method::PATCH, web::to(rename)), (Method::DELETE, web::to(remove))],
        ));
}

/// Registers the routes under `/auth`.
pub(super) fn configure_sign_in(config: &mut ServiceConfig) {
    config
        .service(endpoint("/passkey", [(Method::POST, web::to(sign_in))]))
        .service(endpoint("/passkey/options", [(Method::POST, web::to(request_options))]));
}

/// Returns the operations of these routes.
pub(crate) fn operations() -> Vec<Operation> {
    let factor = |method, path, id, summary| {
        Operation::new("Second factors", method, path, id, summary).guarded_before_enrolment()
    };
    let sign_in = |path, id, summary| Operation::new("Sign-in", Method::POST, path, id, summary);
    let credential =
        |response| json!({"id": "AQID", "rawId": "AQID", "type": "public-key", "response": response});
    let made = credential(json!({
        "clientDataJSON": "eyJ0eXBlIjoid2ViYXV0aG4uY3JlYXRlIn0",
        "attestationObject": "o2NmbXRkbm9uZWdhdHRT",
        "transports": ["internal"],
    }));
    let signed = credential(json!({
        "clientDataJSON": "eyJ0eXBlIjoid2ViYXV0aG4uZ2V0In0",
        "authenticatorData": "SZYN5YgOjGh0NBcPZHZg",
        "signature": "MEUCIQD1Ck4uRAkknEqF",
        "userHandle": "AaIIVjkKdhOykZ-G-56Hhw",
    }));
    vec![
        sign_in("/auth/passkey/options", "passkeyOptions", "Begin a sign-in by passkey")
            .text(
                "No e-mail is asked for: the authenticator offers the passkeys that it has. With the `challenge` of a \
                 sign-in that waits for its second factor, the options are for that account, and \
                 `POST /auth/second-factor` takes the `credential`.",
            )
            .may_take::<OptionsRequest>(json!({}))
            .gives::<RequestOptions>(200, "What `PublicKeyCredential.parseRequestOptionsFromJSON()` takes", json!({
                "challenge": "c2VydmVyLW1hZGU", "rpId": "example.com", "timeout": 300_000,
                "allowCredentials": [], "userVerification": "required",
            }))
            .fails([Error::SecondFactorInvalid.into()])
            .asks_database(),
        sign_in("/auth/passkey", "signInByPasskey", "Sign in by passkey")
            .text(
                "The authenticator has to verify its user, by a PIN or a fingerprint for example: the passkey is then \
                 both factors.",
            )
            .takes::<AssertionRequest>(json!({"credential": signed}))
            .gives::<TokenResponse<'_>>(200, "The tokens of a new session", some_tokens("Login successfully"))
            .fails([
                Error::SecondFactorInvalid.into(),
                Error::EmailUnverified.into(),
                Error::TooManyAttempts { retry_after_secs: 60 }.into(),
            ])
            .checks("credential", "is required")
            .asks_database(),
        factor(Method::GET, "/user/passkeys", "listPasskeys", "List the passkeys")
            .gives_list::<ListedPasskey>(
                200,
                "The passkeys, in the order in which they were added",
                json!([a_passkey()]),
            ),
        factor(Method::POST, "/user/passkeys/options", "passkeyCreationOptions", "Begin to add a passkey")
            .needs_fresh_sign_in()
            .takes::<PasswordRequest>(json!({"password": PASSWORD}))
            .gives::<CreationOptions>(200, "What `PublicKeyCredential.parseCreationOptionsFromJSON()` takes", json!({
                "rp": {"id": "example.com", "name": "Hallpass"},
                "user": {
                    "id": "AaIIVjkKdhOykZ-G-56Hhw",
                    "name": "ada@example.com",
                    "displayName": "Ada Lovelace",
                },
                "challenge": "c2VydmVyLW1hZGU", "pubKeyCredParams": [{"type": "public-key", "alg": -8}],
                "timeout": 300_000, "excludeCredentials": [{"type": "public-key", "id": "AQID", "transports": ["internal"]}],
                "attestation": "none",
                "authenticatorSelection": {"residentKey": "preferred", "userVerification": "preferred"},
            }))
            .checks("password", "is required")
            .fails([Error::PasswordWrong.into()])
            .hashes(),
        factor(Method::POST, "/user/passkeys", "addPasskey", "Add a passkey")
            .needs_fresh_sign_in()
            .text("After the next refresh, the session counts as signed in with a second factor.")
            .takes::<AddRequest>(json!({"name": "Phone", "credential": made}))
            .gives::<ListedPasskey>(201, "The passkey", a_passkey())
            .checks("credential", "is required")
            .fails([
                Error::SecondFactorInvalid.into(),
                Error::AlreadyEnrolled.into(),
                Error::TooManyAttempts { retry_after_secs: 60 }.into(),
            ]),
        factor(Method::PATCH, "/user/passkeys/{id}", "renamePasskey", "Rename a passkey")
            .needs_fresh_sign_in()
            .takes::<RenameRequest>(json!({"name": "Old phone"}))
            .gives::<ListedPasskey>(200, "The passkey", a_passkey())
            .checks("name", "is required")
            .fails([Error::NotFound.into(), Error::TooManyAttempts { retry_after_secs: 60 }.into()]),
        factor(Method::DELETE, "/user/passkeys/{id}", "removePasskey", "Remove a passkey")
            .needs_fresh_sign_in()
            .text("Recovery codes are deleted with the last second factor.")
            .gives_nothing("The passkey is removed")
            .fails([Error::NotFound.into()]),
    ]
}

pub(super) fn a_passkey() -> Value {
    json!({"id": SESSION, "name": "Phone", "created_at": TIME, "last_used_at": null, "synced": true})
}

#[derive(Default, Deserialize, ToSchema)]
#[schema(as = PasskeyOptionsRequest)]
struct OptionsRequest {
    /// That of a sign-in that got 401 `second_factor_required`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false)]
    challenge: Option<Zeroizing<String>>,
}

async fn request_options(
    sessions: web::Data<Sessions>,
    OptionalBody(request): OptionalBody<OptionsRequest>,
) -> Result<HttpResponse, ApiError> {
    let options = sessions.passkey_options(request.challenge.as_ref().map(|text| text.as_str())).await?;
    Ok(data(options))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = PasskeySignInRequest)]
struct AssertionRequest {
    /// `PublicKeyCredential.toJSON()`
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Object, required = true)]
    credential: Option<Map<String, Value>>,
    /// If true, the refresh token is sent in a cookie that scripts cannot read. Defaults to false.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = bool, required = false)]
    cookie: Option<bool>,
}

async fn sign_in(
    http: HttpRequest,
    sessions: web::Data<Sessions>,
    client: Client,
    Body(request): Body<AssertionRequest>,
) -> Result<HttpResponse, ApiError> {
    let response: AssertionResponse = credential(request.credential)?;
    let signed_in = sessions.sign_in_by_passkey(&response, &client, request.cookie.unwrap_or(false)).await?;
    end_replaced(&http, &sessions, &signed_in, &client).await;
    Ok(tokens("Login successfully", signed_in))
}

/// A passkey.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Passkey)]
pub(super) struct ListedPasskey {
    #[schema(value_type = String, format = "uuid")]
    id: Uuid,
    name: String,
    #[serde(serialize_with = "serialize_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created_at: DateTime<Utc>,
    #[serde(serialize_with = "serialize_rfc3339")]
    #[schema(required, value_type = Option<String>, format = DateTime)]
    last_used_at: Option<DateTime<Utc>>,
    /// It has been copied to other devices of its user.
    synced: bool,
}

impl From<Passkey> for ListedPasskey {
    fn from(passkey: Passkey) -> Self {
        let Passkey { id, name, created_at, last_used_at, synced, .. } = passkey;
        Self { id, name, created_at, last_used_at, synced }
    }
}

async fn list(user: AuthUser, accounts: web::Data<Accounts>) -> Result<HttpResponse, ApiError> {
    let passkeys = accounts.passkeys(user_id(&user)?).await?;
    Ok(data(passkeys.into_iter().map(ListedPasskey::from).collect::<Vec<_>>()))
}

async fn creation_options(
    user: AuthUser,
    guard: web::Data<Guard>,
    accounts: web::Data<Accounts>,
    client: Client,
    Body(request): Body<PasswordRequest>,
) -> Result<HttpResponse, ApiError> {
    let password = request.checked()?;
    let options = accounts.passkey_creation_options(&user, user_id(&user)?, &password, &client).await;
    Ok(data(options.map_err(ApiError::behind(&guard))?))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = AddPasskeyRequest)]
struct AddRequest {
    /// No control characters.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = true, min_length = 1, max_length = 200)]
    name: Option<String>,
    /// `PublicKeyCredential.toJSON()`
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Object, required = true)]
    credential: Option<Map<String, Value>>,
}

async fn add(
    user: AuthUser,
    guard: web::Data<Guard>,
    accounts: web::Data<Accounts>,
    client: Client,
    Body(request): Body<AddRequest>,
) -> Result<HttpResponse, ApiError> {
    let mut checked = Checked::default();
    let name = checked.name(request.name);
    checked.verdict()?;
    let response: RegistrationResponse = credential(request.credential)?;
    let added = accounts.add_passkey(&user, user_id(&user)?, name, &response, &client).await;
    Ok(created(ListedPasskey::from(added.map_err(ApiError::behind(&guard))?)))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = RenamePasskeyRequest)]
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
    path: web::Path<String>,
    Body(request): Body<RenameRequest>,
) -> Result<HttpResponse, ApiError> {
    let mut checked = Checked::default();
    let name = checked.name(request.name);
    checked.verdict()?;
    // A text that is not an id names no passkey.
    let passkey = Uuid::try_parse(&path).map_err(|_| Error::NotFound)?;
    let renamed = accounts.rename_passkey(&user, user_id(&user)?, passkey, &name, &client).await;
    Ok(data(ListedPasskey::from(renamed.map_err(ApiError::behind(&guard))?)))
}

async fn remove(
    user: AuthUser,
    guard: web::Data<Guard>,
    accounts: web::Data<Accounts>,
    client: Client,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let passkey = Uuid::try_parse(&path).map_err(|_| Error::NotFound)?;
    let removed = accounts.remove_passkey(&user, user_id(&user)?, passkey, &client).await;
    removed.map_err(ApiError::behind(&guard))?;
    Ok(HttpResponse::NoContent().finish())
}
