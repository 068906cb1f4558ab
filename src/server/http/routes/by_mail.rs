//! Accounts by mail: reset of a password, verification and change of an address. The paths are below `/auth` and
//! `/user`; without mail they do not exist. A GET changes nothing, because programs follow the links in mails.

use actix_web::http::Method;
use actix_web::web::ServiceConfig;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::guard::{AuthUser, Guard};
use crate::server::accounts::Accounts;
use crate::server::credentials::Password;
use crate::server::error::Error;
use crate::server::http::body::{Body, given};
use crate::server::http::endpoint::endpoint;
use crate::server::http::fields::Checked;
use crate::server::http::openapi::{EMAIL, Operation, PASSWORD};
use crate::server::http::responses::{ACCEPTED, Accepted, accepted, user_id};
use crate::server::http::{ApiError, Context};
use crate::server::model::Client;

const TOKEN: &str = "Zm9ydHktdGhyZWUgY2hhcmFjdGVycyBmcm9tIGEgbWE";

/// Registers the paths below `/auth`.
pub(super) fn configure(config: &mut ServiceConfig, context: &Context) {
    if !context.accounts.has_mail() {
        return;
    }
    let resend = endpoint("/email/resend", [(Method::POST, web::to(resend))]);
    config
        .service(endpoint("/password/forgot", [(Method::POST, web::to(forgot))]))
        .service(endpoint("/password/reset", [(Method::POST, web::to(reset))]))
        .service(endpoint("/email/verify", [(Method::POST, web::to(verify))]))
        .service(resend.wrap(context.guard.protect().pass_options()))
        .service(endpoint("/email/change", [(Method::POST, web::to(change))]))
        .service(endpoint("/email/change/undo", [(Method::POST, web::to(undo))]));
}

/// Registers the path below `/user`.
pub(super) fn configure_user(config: &mut ServiceConfig, context: &Context) {
    if context.accounts.has_mail() {
        config.service(endpoint("/email", [(Method::POST, web::to(ask_for_email))]));
    }
}

/// Returns the operations of these routes.
pub(super) fn operations() -> Vec<Operation> {
    // Without mail there is no such path.
    let post = |path, id, summary| {
        Operation::new("Mail", Method::POST, path, id, summary).fails([Error::NotFound.into()])
    };
    let too_many = || [Error::TooManyAttempts { retry_after_secs: 60 }.into()];
    let is_on_its_way = |operation: Operation| {
        operation
            .gives::<Accepted>(202, "A mail is on its way", json!({"message": ACCEPTED}))
            .fails(too_many())
    };
    let with_token = |operation: Operation| {
        operation
            .takes::<TokenRequest>(json!({"token": TOKEN}))
            .fails([Error::LinkInvalid.into()])
            .fails(too_many())
            .checks("token", "is required")
            .asks_database()
    };
    vec![
        is_on_its_way(post("/auth/password/forgot", "forgotPassword", "Ask for a link to reset the password"))
            .text(
                "The answer is the same, after the same time, for every address. Mails are limited by IP address and by \
                 recipient.",
            )
            .takes::<EmailRequest>(json!({"email": EMAIL}))
            .checks("email", "is required")
            .asks_database(),
        post("/auth/password/reset", "resetPassword", "Reset the password")
            .text(
                "Every session ends, the user is told by mail, and a delay of sign-ins is lifted. The tokens of invitations \
                 are accepted too.",
            )
            .takes::<ResetRequest>(json!({"token": TOKEN, "new_password": "seventeen blue lanterns"}))
            .gives_nothing("The password is set")
            .fails([Error::LinkInvalid.into()])
            .checks("new_password", "is required")
            .hashes(),
        with_token(post("/auth/email/verify", "verifyEmail", "Verify the address"))
            .gives_nothing("The address is verified"),
        is_on_its_way(post("/auth/email/resend", "resendVerification", "Ask for another link to verify the address"))
            .guarded(),
        is_on_its_way(post("/user/email", "askForEmail", "Ask for another address"))
            .text(
                "A link goes to the new address and a notice to the old one. Nothing changes before the link is used. The \
                 answer does not say whether the new address has an account; the mail does.",
            )
            .guarded()
            .takes::<ChangeRequest>(json!({"email": "ada@example.org", "password": PASSWORD}))
            .checks("email", "is the account's address already")
            .fails([Error::PasswordWrong.into()])
            .needs_fresh_sign_in()
            .hashes(),
        with_token(post("/auth/email/change", "changeEmail", "Change the address"))
            .text("The old address gets a link that takes the change back, for seven days.")
            .gives_nothing("The address is changed, and verified"),
        with_token(post("/auth/email/change/undo", "undoEmailChange", "Take a change of the address back"))
            .text("A link to choose another password is sent to the address.")
            .gives_nothing("The old address is back, every session has ended, and the password no longer works"),
    ]
}

#[derive(Deserialize, ToSchema)]
#[schema(as = MailRequest)]
pub(super) struct EmailRequest {
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = true, max_length = 254)]
    pub(super) email: Option<String>,
}

async fn forgot(
    accounts: web::Data<Accounts>,
    client: Client,
    Body(request): Body<EmailRequest>,
) -> Result<HttpResponse, ApiError> {
    let mut checked = Checked::default();
    let email = checked.email(request.email);
    checked.verdict()?;
    accounts.forgot(&email, &client).await?;
    Ok(accepted())
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ResetPasswordRequest)]
struct ResetRequest {
    /// The token of the link.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = true)]
    token: Option<Zeroizing<String>>,
    /// `password.min_length` to 256 characters, none of the common ones.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = true, format = Password, max_length = 256)]
    new_password: Option<Password>,
}

async fn reset(
    accounts: web::Data<Accounts>,
    client: Client,
    Body(request): Body<ResetRequest>,
) -> Result<HttpResponse, ApiError> {
    let mut checked = Checked::default();
    let token = checked.required("token", request.token);
    let new = checked.required("new_password", request.new_password);
    checked.verdict()?;
    // A password that is not accepted leaves the link as it is.
    let user = accounts.user_of_reset(&token, &client).await?;
    let mut checked = Checked::default();
    let context = accounts.password_context(&user.email, user.name.as_deref());
    let new = checked.new_password("new_password", Some(new), &context);
    checked.verdict()?;
    accounts.reset(&token, &user, (&new, context), &client).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Deserialize, ToSchema)]
#[schema(as = MailTokenRequest)]
struct TokenRequest {
    /// The token of the link.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = true)]
    token: Option<Zeroizing<String>>,
}

impl TokenRequest {
    fn token(self) -> Result<Zeroizing<String>, Error> {
        let mut checked = Checked::default();
        let token = checked.required("token", self.token);
        checked.verdict().map(|()| token)
    }
}

async fn verify(
    accounts: web::Data<Accounts>,
    client: Client,
    Body(request): Body<TokenRequest>,
) -> Result<HttpResponse, ApiError> {
    accounts.verify_email(&request.token()?, &client).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn resend(
    user: AuthUser,
    guard: web::Data<Guard>,
    accounts: web::Data<Accounts>,
    client: Client,
) -> Result<HttpResponse, ApiError> {
    accounts.resend(user_id(&user)?, &client).await.map_err(ApiError::behind(&guard))?;
    Ok(accepted())
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ChangeEmailRequest)]
struct ChangeRequest {
    /// The new address.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = true, max_length = 254)]
    email: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = true, format = Password)]
    password: Option<Password>,
}

async fn ask_for_email(
    user: AuthUser,
    guard: web::Data<Guard>,
    accounts: web::Data<Accounts>,
    client: Client,
    Body(request): Body<ChangeRequest>,
) -> Result<HttpResponse, ApiError> {
    let mut checked = Checked::default();
    let email = checked.email(request.email);
    let password = checked.presented("password", request.password);
    checked.verdict()?;
    let asked = accounts.ask_for_email(&user, user_id(&user)?, &email, &password, &client).await;
    asked.map_err(ApiError::behind(&guard))?;
    Ok(accepted())
}

async fn change(
    accounts: web::Data<Accounts>,
    client: Client,
    Body(request): Body<TokenRequest>,
) -> Result<HttpResponse, ApiError> {
    accounts.change_email(&request.token()?, &client).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn undo(
    accounts: web::Data<Accounts>,
    client: Client,
    Body(request): Body<TokenRequest>,
) -> Result<HttpResponse, ApiError> {
    accounts.undo_email(&request.token()?, &client).await?;
    Ok(HttpResponse::NoContent().finish())
}
