//! Second factors: `/user/totp` and `/user/recovery-codes`, in the scope of `user`, and `/auth/second-factor`, in that of
//! `auth`.

use actix_web::http::Method;
use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::by_cookie::end_replaced;
use super::factor_bodies::{PasswordRequest, credential};
use crate::guard::{AuthUser, Guard};
use crate::server::accounts::{Accounts, RecoveryCodes, TotpEnrolment};
use crate::server::error::Error;
use crate::server::http::ApiError;
use crate::server::http::body::{Body, given};
use crate::server::http::endpoint::endpoint;
use crate::server::http::fields::Checked;
use crate::server::http::openapi::{CHALLENGE, Operation, PASSWORD, some_tokens};
use crate::server::http::responses::{TokenResponse, created, data, tokens, user_id};
use crate::server::model::Client;
use crate::server::sessions::{Answer, Sessions};

/// Registers the routes under `/user`.
pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .service(endpoint(
            "/totp",
            [(Method::POST, web::to(enrol_totp)), (Method::DELETE, web::to(remove_totp))],
        ))
        .service(endpoint("/totp/confirm", [(Method::POST, web::to(confirm_totp))]))
        .service(endpoint("/recovery-codes", [(Method::POST, web::to(renew_recovery_codes))]));
}

/// Registers the route under `/auth`.
pub(super) fn configure_sign_in(config: &mut ServiceConfig) {
    config.service(endpoint("/second-factor", [(Method::POST, web::to(second_factor))]));
}

/// Returns the operations of these routes.
pub(crate) fn operations() -> Vec<Operation> {
    let factor = |method, path, id, summary| {
        Operation::new("Second factors", method, path, id, summary)
            .guarded_before_enrolment()
            .needs_fresh_sign_in()
    };
    let codes = || json!({"recovery_codes": ["k5xgq-2r7tz-4vjhm-yq3da-6wlfo-n"]});
    vec![
        Operation::new("Sign-in", Method::POST, "/auth/second-factor", "secondFactor", "Sign in with a second factor")
            .text(
                "After a sign-in that got 401 `second_factor_required`: its `challenge`, and one of `code` (from an \
                 authenticator app), `recovery_code` and `credential` (of a passkey; see `POST /auth/passkey/options`). \
                 A challenge is good for 300 seconds and five answers. Wrong ones are counted like wrong passwords. \
                 A code is accepted once.",
            )
            .takes::<SecondFactorRequest>(json!({"challenge": CHALLENGE, "code": "287082"}))
            .gives::<TokenResponse<'_>>(200, "The tokens of a new session", some_tokens("Login successfully"))
            .fails([
                Error::SecondFactorInvalid.into(),
                Error::TooManyAttempts { retry_after_secs: 60 }.into(),
            ])
            .checks("challenge", "is required")
            .asks_database(),
        factor(Method::POST, "/user/totp", "enrolTotp", "Add an authenticator app")
            .text(
                "The app reads the QR code, or the secret is typed into it. Nothing is asked for before the first code is \
                 confirmed. A secret that was never confirmed is replaced.",
            )
            .takes::<PasswordRequest>(json!({"password": PASSWORD}))
            .gives::<TotpSecret>(201, "The secret, shown this once", json!({
                "secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
                "uri": "otpauth://totp/Hallpass:ada%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
                        &issuer=Hallpass&algorithm=SHA1&digits=6&period=30",
                "qr": "<svg xmlns=\"http://www.w3.org/2000/svg\">…</svg>",
            }))
            .checks("password", "is required")
            .fails([Error::PasswordWrong.into(), Error::AlreadyEnrolled.into()])
            .hashes(),
        factor(Method::POST, "/user/totp/confirm", "confirmTotp", "Confirm the authenticator app")
            .text(
                "From now on a sign-in asks for a code. The recovery codes replace all earlier ones; each is good once. After \
                 the next refresh, the session counts as signed in with a second factor.",
            )
            .takes::<CodeRequest>(json!({"code": "287082"}))
            .gives::<RecoveryCodeList>(200, "Ten recovery codes, shown this once", codes())
            .checks("code", "is required")
            .fails([
                Error::SecondFactorInvalid.into(),
                Error::NotFound.into(),
                Error::AlreadyEnrolled.into(),
                Error::TooManyAttempts { retry_after_secs: 60 }.into(),
            ]),
        factor(Method::DELETE, "/user/totp", "removeTotp", "Remove the authenticator app")
            .text("Recovery codes are deleted with the last second factor.")
            .takes::<PasswordRequest>(json!({"password": PASSWORD}))
            .gives_nothing("The app is removed")
            .checks("password", "is required")
            .fails([Error::PasswordWrong.into(), Error::NotFound.into()])
            .hashes(),
        factor(Method::POST, "/user/recovery-codes", "renewRecoveryCodes", "Make new recovery codes")
            .text("The earlier ones are no longer good. 404 without a second factor.")
            .takes::<PasswordRequest>(json!({"password": PASSWORD}))
            .gives::<RecoveryCodeList>(200, "Ten recovery codes, shown this once", codes())
            .checks("password", "is required")
            .fails([Error::PasswordWrong.into(), Error::NotFound.into()])
            .hashes(),
    ]
}

#[derive(Deserialize, ToSchema)]
struct SecondFactorRequest {
    /// The `challenge` of the sign-in.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = true)]
    challenge: Option<Zeroizing<String>>,
    /// Six digits.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false)]
    code: Option<Zeroizing<String>>,
    /// In either case, with or without its hyphens.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false)]
    recovery_code: Option<Zeroizing<String>>,
    /// `PublicKeyCredential.toJSON()`
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Object, required = false)]
    credential: Option<Map<String, Value>>,
}

async fn second_factor(
    http: HttpRequest,
    sessions: web::Data<Sessions>,
    client: Client,
    Body(request): Body<SecondFactorRequest>,
) -> Result<HttpResponse, ApiError> {
    let mut checked = Checked::default();
    let challenge = checked.required("challenge", request.challenge);
    let answer = match (request.code, request.recovery_code, request.credential) {
        (Some(code), None, None) => Some(Answer::Code(code)),
        (None, Some(code), None) => Some(Answer::RecoveryCode(code)),
        (None, None, Some(response)) => Some(Answer::Passkey(Box::new(credential(Some(response))?))),
        _ => None,
    };
    let reason = "or recovery_code or credential is required, and only one of them";
    let answer = checked.exactly_one("code", reason, answer);
    checked.verdict()?;
    // Without an answer, the verdict has refused.
    let answer = answer.ok_or(Error::SecondFactorInvalid)?;
    let signed_in = sessions.second_factor(&challenge, &answer, &client).await?;
    end_replaced(&http, &sessions, &signed_in, &client).await;
    Ok(tokens("Login successfully", signed_in))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ConfirmTotpRequest)]
struct CodeRequest {
    /// Six digits.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = true)]
    code: Option<Zeroizing<String>>,
}

/// The secret of an authenticator app.
#[derive(Serialize, ToSchema)]
struct TotpSecret {
    /// In base32, to be typed.
    secret: String,
    /// For the app (`otpauth://`).
    uri: String,
    /// The URI as a QR code, in SVG.
    qr: String,
}

impl From<TotpEnrolment> for TotpSecret {
    fn from(enrolment: TotpEnrolment) -> Self {
        let TotpEnrolment { secret, uri, qr } = enrolment;
        Self { secret: secret.to_string(), uri: uri.to_string(), qr: qr.to_string() }
    }
}

/// Recovery codes.
#[derive(Serialize, ToSchema)]
#[schema(as = RecoveryCodes)]
struct RecoveryCodeList {
    /// Each is good once.
    recovery_codes: Vec<String>,
}

fn shown_once(codes: &RecoveryCodes) -> HttpResponse {
    data(RecoveryCodeList { recovery_codes: codes.iter().map(|code| code.to_string()).collect() })
}

async fn enrol_totp(
    user: AuthUser,
    guard: web::Data<Guard>,
    accounts: web::Data<Accounts>,
    client: Client,
    Body(request): Body<PasswordRequest>,
) -> Result<HttpResponse, ApiError> {
    let password = request.checked()?;
    let enrolled = accounts.enrol_totp(&user, user_id(&user)?, &password, &client).await;
    Ok(created(TotpSecret::from(enrolled.map_err(ApiError::behind(&guard))?)))
}

async fn confirm_totp(
    user: AuthUser,
    guard: web::Data<Guard>,
    accounts: web::Data<Accounts>,
    client: Client,
    Body(request): Body<CodeRequest>,
) -> Result<HttpResponse, ApiError> {
    let mut checked = Checked::default();
    let code = checked.required("code", request.code);
    checked.verdict()?;
    let confirmed = accounts.confirm_totp(&user, user_id(&user)?, &code, &client).await;
    Ok(shown_once(&confirmed.map_err(ApiError::behind(&guard))?))
}

async fn remove_totp(
    user: AuthUser,
    guard: web::Data<Guard>,
    accounts: web::Data<Accounts>,
    client: Client,
    Body(request): Body<PasswordRequest>,
) -> Result<HttpResponse, ApiError> {
    let password = request.checked()?;
    let removed = accounts.remove_totp(&user, user_id(&user)?, &password, &client).await;
    removed.map_err(ApiError::behind(&guard))?;
    Ok(HttpResponse::NoContent().finish())
}

async fn renew_recovery_codes(
    user: AuthUser,
    guard: web::Data<Guard>,
    accounts: web::Data<Accounts>,
    client: Client,
    Body(request): Body<PasswordRequest>,
) -> Result<HttpResponse, ApiError> {
    let password = request.checked()?;
    let renewed = accounts.renew_recovery_codes(&user, user_id(&user)?, &password, &client).await;
    Ok(shown_once(&renewed.map_err(ApiError::behind(&guard))?))
}
