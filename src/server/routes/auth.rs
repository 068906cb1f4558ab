//! `/auth`: where accounts are made and tokens are issued.

use actix_web::http::Method;
use actix_web::http::header::{HeaderValue, LOCATION};
use actix_web::{HttpResponse, Scope, web};
use serde::Deserialize;

use super::address::ClientAddress;
use super::body::Body;
use super::{Checked, created, endpoint, tokens};
use crate::server::error::ApiError;
use crate::server::password::Password;
use crate::server::{Desk, accounts, sign_in};

/// The scope `/auth`, ready to be registered: `App::new().service(routes::auth::scope(&desk))`.
pub fn scope(desk: &Desk) -> Scope {
    web::scope("/auth")
        .app_data(web::Data::new(desk.clone()))
        .service(endpoint("/login", [(Method::POST, web::to(login))]))
        .service(endpoint("/register", [(Method::POST, web::to(register))]))
}

#[derive(Deserialize)]
struct LoginRequest {
    email: Option<String>,
    password: Option<Password>,
}

async fn login(
    desk: web::Data<Desk>,
    ClientAddress(address): ClientAddress,
    Body(request): Body<LoginRequest>,
) -> Result<HttpResponse, ApiError> {
    let mut checked = Checked::default();
    let email = checked.email(request.email);
    let password = checked.presented("password", request.password);
    checked.verdict()?;
    let signed_in = sign_in::with_password(&desk, &email, &password, address).await?;
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
    ClientAddress(address): ClientAddress,
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
    let user = accounts::register(&desk, email, &password, name, address).await?;
    let mut response = created(user);
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/user/"));
    Ok(response)
}
