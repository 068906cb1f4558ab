//! `/user`: what users see and change of themselves. The whole scope is under the guard.

use actix_web::dev::HttpServiceFactory;
use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use uuid::Uuid;

use super::body::Body;
use super::{Checked, data, ended, endpoint, tokens, user_id};
use crate::guard::AuthUser;
use crate::server::error::ApiError;
use crate::server::events::Client;
use crate::server::password::Password;
use crate::server::{Desk, accounts, sessions};

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
        .service(endpoint("/sessions", [(Method::GET, web::to(list_sessions))]))
        .service(endpoint("/sessions/{id}", [(Method::DELETE, web::to(end_session))]))
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
    client: Client,
    Body(request): Body<RenameRequest>,
) -> Result<HttpResponse, ApiError> {
    let mut checked = Checked::default();
    let name = checked.name(request.name);
    checked.verdict()?;
    Ok(data(accounts::rename(&desk, user_id(&user)?, &name, &client).await?))
}

#[derive(Deserialize)]
struct PasswordRequest {
    current_password: Option<Password>,
    new_password: Option<Password>,
}

async fn change_password(
    user: AuthUser,
    desk: web::Data<Desk>,
    client: Client,
    Body(request): Body<PasswordRequest>,
) -> Result<HttpResponse, ApiError> {
    let mut checked = Checked::default();
    let current = checked.presented("current_password", request.current_password);
    let new = checked.new_password("new_password", request.new_password, &user.email, &desk);
    checked.verdict()?;
    let signed_in =
        accounts::change_password(&desk, user_id(&user)?, user.claims(), &current, &new, &client).await?;
    Ok(tokens("Password changed successfully", signed_in))
}

#[derive(Deserialize)]
struct DeleteRequest {
    password: Option<Password>,
}

async fn delete(
    user: AuthUser,
    desk: web::Data<Desk>,
    client: Client,
    Body(request): Body<DeleteRequest>,
) -> Result<HttpResponse, ApiError> {
    let mut checked = Checked::default();
    let password = checked.presented("password", request.password);
    checked.verdict()?;
    let by_cookie = accounts::delete(&desk, user_id(&user)?, user.claims(), &password, &client).await?;
    Ok(ended(by_cookie))
}

async fn list_sessions(user: AuthUser, desk: web::Data<Desk>) -> Result<HttpResponse, ApiError> {
    Ok(data(sessions::list(&desk, user_id(&user)?, user.claims()).await?))
}

async fn end_session(
    user: AuthUser,
    desk: web::Data<Desk>,
    client: Client,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    // What is no id names no session.
    let session = Uuid::try_parse(&path).map_err(|_| ApiError::NotFound)?;
    Ok(ended(sessions::end(&desk, user_id(&user)?, session, user.claims(), &client).await?))
}
