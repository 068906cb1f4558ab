//! `/.well-known`: what others need to verify our tokens without us.

use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpResponse, Scope, web};

use super::endpoint;
use crate::server::Desk;

/// The scope `/.well-known`.
pub fn scope(desk: &Desk) -> Scope {
    web::scope("/.well-known")
        .app_data(web::Data::new(desk.clone()))
        .service(endpoint("/jwks.json", [(Method::GET, web::to(jwks))]))
}

/// The public keys as a JWK set (RFC 7517 §5); none under HS256. What was unsealed is told, never a row of
/// the database.
async fn jwks(desk: web::Data<Desk>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/jwk-set+json"))
        // No longer than a new key is published before it signs.
        .insert_header((CACHE_CONTROL, "public, max-age=5"))
        .json(desk.jwks())
}
