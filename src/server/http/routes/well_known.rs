//! `/.well-known`: the public keys, for verifiers.

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpResponse, Scope, web};
use serde_json::{from_value, json};
use utoipa::openapi::{ContentBuilder, Schema};

use crate::server::http::Context;
use crate::server::http::endpoint::endpoint;
use crate::server::http::openapi::Operation;
use crate::server::keys::SigningKeys;

/// Returns the scope `/.well-known`.
pub(in crate::server::http) fn scope(context: &Context) -> Scope {
    web::scope("/.well-known")
        .app_data(web::Data::from(Arc::clone(&context.keys)))
        .service(endpoint("/jwks.json", [(Method::GET, web::to(jwks))]))
}

/// Returns the operation of this route.
pub(crate) fn operations() -> Vec<Operation> {
    let text = json!({"type": "string"});
    let schema = json!({
        "type": "object",
        "required": ["keys"],
        "properties": {"keys": {"type": "array", "items": {
            "type": "object",
            "required": ["kty", "crv", "x", "use", "alg", "kid"],
            "properties": {"kty": text, "crv": text, "x": text, "y": text, "use": text, "alg": text, "kid": text},
        }}},
    });
    let example = json!({"keys": [{
        "crv": "Ed25519", "kty": "OKP", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "use": "sig", "alg": "EdDSA", "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
    }]});
    let schema: Schema = from_value(schema).expect("a schema");
    let content = ContentBuilder::new().schema(Some(schema)).example(Some(example)).build();
    vec![
        Operation::new("Service", Method::GET, "/.well-known/jwks.json", "jwks", "The public keys")
            .text(
                "A JWK set (RFC 7517) with the keys that verify tokens; it is empty with HS256. A verifier that uses only this set \
                 accepts a token until it expires, even after a sign-out.",
            )
            .gives_content(200, "The keys", "application/jwk-set+json", content),
    ]
}

/// Answers with the public keys as a JWK set (RFC 7517 §5); none with HS256. They are computed from the unsealed keys
/// and never read from the database.
async fn jwks(keys: web::Data<SigningKeys>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/jwk-set+json"))
        // A new key is published at least 5 s before it signs, and every server has it within 2 s. So a verifier that
        // asks again after this time has the key before it signs.
        .insert_header((CACHE_CONTROL, "public, max-age=2"))
        .json(keys.jwks())
}
