//! Sign-in by mail: `/auth/link`, in the scope of `auth`. Without mail, or with `link.on` off, these paths do not exist.

use actix_web::http::Method;
use actix_web::http::header::SET_COOKIE;
use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::by_cookie::end_replaced;
use super::by_mail::EmailRequest;
use crate::server::error::Error;
use crate::server::http::body::{Body, given};
use crate::server::http::endpoint::endpoint;
use crate::server::http::fields::Checked;
use crate::server::http::openapi::{EMAIL, Operation, some_tokens};
use crate::server::http::responses::{ACCEPTED, Accepted, TokenResponse, accepted, tokens};
use crate::server::http::{ApiError, Context, X_HALLPASS, cookie};
use crate::server::model::Client;
use crate::server::sessions::Sessions;

/// Registers the paths.
pub(super) fn configure(config: &mut ServiceConfig, context: &Context) {
    if context.sessions.link_lifetime().is_none() {
        return;
    }
    config
        .service(endpoint("/link", [(Method::POST, web::to(ask))]))
        .service(endpoint("/link/redeem", [(Method::POST, web::to(redeem))]));
}

/// Returns the operations of these routes.
pub(super) fn operations() -> Vec<Operation> {
    // Without mail there is no such path.
    let post = |path, id, summary| {
        Operation::new("Mail", Method::POST, path, id, summary)
            .fails([Error::NotFound.into(), Error::TooManyAttempts { retry_after_secs: 60 }.into()])
            .asks_database()
    };
    vec![
        post("/auth/link", "askForLink", "Ask for a link and a code to sign in")
            .text(
                "The answer is the same, after the same time, for every address. With the header `X-Hallpass: 1`, a cookie \
                 ties the link to this browser: in any other one it does not work. The code works on every device.",
            )
            .takes::<EmailRequest>(json!({"email": EMAIL}))
            .checks("email", "is required")
            .gives::<Accepted>(202, "A mail is on its way", json!({"message": ACCEPTED})),
        post("/auth/link/redeem", "signInByLink", "Sign in with a link or a code")
            .text(
                "Either the `token` of the link, or the `email` and the `code`. After five wrong codes the link's code is dead, \
                 and the link still works. A second factor is asked for as after a password.",
            )
            .takes::<RedeemRequest>(json!({"email": EMAIL, "code": "287082"}))
            .checks("token", "or email and code are required, and only one of them")
            .gives::<TokenResponse<'_>>(200, "The tokens of a new session", some_tokens("Login successfully"))
            .fails([Error::LinkInvalid.into()])
            .may_need_second_factor(),
    ]
}

async fn ask(
    http: HttpRequest,
    sessions: web::Data<Sessions>,
    client: Client,
    Body(request): Body<EmailRequest>,
) -> Result<HttpResponse, ApiError> {
    let mut checked = Checked::default();
    let email = checked.email(request.email);
    checked.verdict()?;
    // Only a client that keeps cookies sends the header.
    let is_bound = http.headers().get(X_HALLPASS).is_some_and(|value| value == "1");
    let kept = sessions.ask_for_link(&email, &client, is_bound).await?;
    let mut response = accepted();
    if let (Some(kept), Some(lifetime)) = (kept, sessions.link_lifetime()) {
        response.headers_mut().append(SET_COOKIE, cookie::for_link(&kept, lifetime.num_seconds()));
    }
    Ok(response)
}

#[derive(Deserialize, ToSchema)]
#[schema(as = RedeemLinkRequest)]
struct RedeemRequest {
    /// The token of the link.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false)]
    token: Option<Zeroizing<String>>,
    /// The address that the code was sent to.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false)]
    email: Option<String>,
    /// Six digits.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false)]
    code: Option<Zeroizing<String>>,
    /// If true, the refresh token is sent in a cookie that scripts cannot read. Defaults to false.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = bool, required = false)]
    cookie: Option<bool>,
}

/// The proof in a request.
enum Proof {
    Link(Zeroizing<String>),
    Code { email: String, code: Zeroizing<String> },
}

async fn redeem(
    http: HttpRequest,
    sessions: web::Data<Sessions>,
    client: Client,
    Body(request): Body<RedeemRequest>,
) -> Result<HttpResponse, ApiError> {
    let mut checked = Checked::default();
    let proof = match (request.token, request.email, request.code) {
        (Some(token), None, None) => Some(Proof::Link(token)),
        (None, email, code) if email.is_some() || code.is_some() => {
            Some(Proof::Code { email: checked.email(email), code: checked.required("code", code) })
        }
        _ => None,
    };
    let proof = checked.exactly_one("token", "or email and code are required, and only one of them", proof);
    checked.verdict()?;
    let by_cookie = request.cookie.unwrap_or(false);
    // Without a proof, the verdict has refused.
    let signed_in = match proof.ok_or(Error::LinkInvalid)? {
        Proof::Link(token) => {
            let kept = cookie::values(&http, cookie::LINK).next();
            sessions.sign_in_by_link(&token, kept, &client, by_cookie).await?
        }
        Proof::Code { email, code } => sessions.sign_in_by_code(&email, &code, &client, by_cookie).await?,
    };
    end_replaced(&http, &sessions, &signed_in, &client).await;
    let mut response = tokens("Login successfully", signed_in);
    if cookie::values(&http, cookie::LINK).next().is_some() {
        response.headers_mut().append(SET_COOKIE, cookie::for_link("", 0));
    }
    Ok(response)
}
