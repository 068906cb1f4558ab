//! `/user`: what users see and change of themselves. The whole scope is under the guard.

use actix_web::dev::HttpServiceFactory;
use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use uuid::Uuid;

use super::address::ClientAddress;
use super::body::Body;
use super::{Checked, data, endpoint, tokens};
use crate::guard::AuthUser;
use crate::server::error::ApiError;
use crate::server::password::Password;
use crate::server::{Desk, accounts};

/// The scope `/user`, ready to be registered: `App::new().service(routes::user::scope(&desk))`.
pub fn scope(desk: &Desk) -> impl HttpServiceFactory + use<> {
    web::scope("/user")
        .wrap(desk.guard().protect())
        .app_data(web::Data::new(desk.clone()))
        .service(endpoint(
            "",
            [
                (Method::GET, web::to(show)),
                (Method::PATCH, web::to(rename)),
                (Method::DELETE, web::to(delete)),
            ],
        ))
        .service(endpoint("/password", [(Method::POST, web::to(change_password))]))
}

async fn show(user: AuthUser) -> HttpResponse {
    data(&*user)
}

#[derive(Deserialize)]
struct RenameRequest {
    name: Option<String>,
}

async fn rename(
    user: AuthUser,
    desk: web::Data<Desk>,
    Body(request): Body<RenameRequest>,
) -> Result<HttpResponse, ApiError> {
    let mut checked = Checked::default();
    let name = checked.name(request.name);
    checked.verdict()?;
    Ok(data(accounts::rename(&desk, id(&user)?, &name).await?))
}

#[derive(Deserialize)]
struct PasswordRequest {
    current_password: Option<Password>,
    new_password: Option<Password>,
}

async fn change_password(
    user: AuthUser,
    desk: web::Data<Desk>,
    ClientAddress(address): ClientAddress,
    Body(request): Body<PasswordRequest>,
) -> Result<HttpResponse, ApiError> {
    let mut checked = Checked::default();
    let current = checked.presented("current_password", request.current_password);
    let new = checked.new_password("new_password", request.new_password, &user.email, &desk);
    checked.verdict()?;
    let signed_in = accounts::change_password(&desk, id(&user)?, &current, &new, address).await?;
    Ok(tokens("Password changed successfully", signed_in))
}

#[derive(Deserialize)]
struct DeleteRequest {
    password: Option<Password>,
}

async fn delete(
    user: AuthUser,
    desk: web::Data<Desk>,
    ClientAddress(address): ClientAddress,
    Body(request): Body<DeleteRequest>,
) -> Result<HttpResponse, ApiError> {
    let mut checked = Checked::default();
    let password = checked.presented("password", request.password);
    checked.verdict()?;
    accounts::delete(&desk, id(&user)?, &password, address).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn id(user: &AuthUser) -> Result<Uuid, ApiError> {
    Uuid::try_parse(&user.id).map_err(|_| ApiError::Internal("the id of a stored user is no UUID".into()))
}
