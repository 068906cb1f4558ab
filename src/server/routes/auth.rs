//! `/auth`: where tokens are issued.

use actix_web::http::Method;
use actix_web::{HttpResponse, Scope, web};
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::{data, endpoint};
use crate::failure::Fields;
use crate::guard::User;
use crate::server::accounts::parse_email;
use crate::server::error::ApiError;
use crate::server::password::{Password, check_presented};
use crate::server::{Desk, sign_in};

/// The scope `/auth`, ready to be registered: `App::new().service(routes::auth::scope(&desk))`.
pub fn scope(desk: &Desk) -> Scope {
    web::scope("/auth")
        .app_data(web::Data::new(desk.clone()))
        .service(endpoint("/login", [(Method::POST, web::to(login))]))
}

#[derive(Deserialize)]
struct LoginRequest {
    email: Option<String>,
    password: Option<Password>,
}

/// What a successful sign-in is answered with (RFC 6749 §5.1).
#[derive(Serialize)]
struct Tokens {
    message: &'static str,
    token: String,
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
    user: User,
}

async fn login(desk: web::Data<Desk>, Body(request): Body<LoginRequest>) -> Result<HttpResponse, ApiError> {
    let (email, password) = request.validate()?;
    let signed_in = sign_in::with_password(&desk, &email, &password).await?;
    Ok(data(Tokens {
        message: "Login successfully",
        token: signed_in.token,
        token_type: "Bearer",
        expires_in: signed_in.expires_in.num_seconds(),
        user: signed_in.user,
    }))
}

impl LoginRequest {
    fn validate(self) -> Result<(String, Password), ApiError> {
        let mut fields = Fields::new();
        let email = parse_email(self.email.as_deref().unwrap_or_default());
        if let Err(reason) = &email {
            fields.insert("email", vec![reason.clone()]);
        }
        let password = self.password.unwrap_or_else(|| Password::from(""));
        if let Err(reason) = check_presented(&password) {
            fields.insert("password", vec![reason]);
        }
        match email {
            Ok(email) if fields.is_empty() => Ok((email, password)),
            _ => Err(ApiError::ValidationFailed(fields)),
        }
    }
}
