//! `/.well-known`: the public keys, and where verifiers find them.

use std::collections::BTreeSet;
use std::sync::Arc;

use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, Scope, web};
use serde_json::{from_value, json};
use utoipa::openapi::{ContentBuilder, Schema};

use crate::server::config;
use crate::server::http::Context;
use crate::server::http::endpoint::endpoint;
use crate::server::http::openapi::Operation;
use crate::server::keys::SigningKeys;

/// Returns the scope `/.well-known`.
pub(in crate::server::http) fn scope(context: &Context) -> Scope {
    web::scope("/.well-known")
        .app_data(web::Data::from(Arc::clone(&context.keys)))
        .app_data(web::Data::from(Arc::new(Issuer(context.issuer.clone()))))
        .app_data(web::Data::new(context.settings.clone()))
        .service(endpoint("/jwks.json", [(Method::GET, web::to(jwks))]))
        .service(endpoint("/oauth-authorization-server", [(Method::GET, web::to(metadata))]))
}

/// The claim `iss` of every token.
struct Issuer(String);

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
        Operation::new(
            "Service",
            Method::GET,
            "/.well-known/oauth-authorization-server",
            "metadata",
            "The issuer, and where its keys are",
        )
        .text(
            "The metadata of RFC 8414 that apply to a server without OAuth's grants. If `token.issuer` is this server's URL, a \
             verifier needs to know only the issuer.",
        )
        .gives_content(200, "The metadata", "application/json", metadata_content()),
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

fn metadata_content() -> utoipa::openapi::Content {
    let texts = json!({"type": "array", "items": {"type": "string"}});
    let schema = json!({
        "type": "object",
        "required": ["issuer", "jwks_uri"],
        "properties": {
            "issuer": {"type": "string"},
            "jwks_uri": {"type": "string"},
            "response_types_supported": texts,
            "grant_types_supported": texts,
            "access_token_signing_alg_values_supported": texts,
        },
    });
    let example = json!({
        "issuer": "https://id.example.com",
        "jwks_uri": "https://id.example.com/.well-known/jwks.json",
        "response_types_supported": [],
        "grant_types_supported": [],
        "access_token_signing_alg_values_supported": ["EdDSA"],
    });
    let schema: Schema = from_value(schema).expect("a schema");
    ContentBuilder::new().schema(Some(schema)).example(Some(example)).build()
}

/// Answers with the metadata of the issuer (RFC 8414 §2). An issuer that is a URL is that of this server; otherwise the
/// address of the keys is the one at which the client has asked.
#[expect(clippy::disallowed_methods, reason = "the answer goes to nobody but the client that asked")]
async fn metadata(
    request: HttpRequest,
    issuer: web::Data<Issuer>,
    keys: web::Data<SigningKeys>,
    settings: web::Data<config::Server>,
) -> HttpResponse {
    let Issuer(issuer) = issuer.get_ref();
    let base = if issuer.starts_with("https://") || issuer.starts_with("http://") {
        issuer.trim_end_matches('/').to_owned()
    } else if let Some(url) = &settings.public_url {
        url.trim_end_matches('/').to_owned()
    } else {
        let asked = request.connection_info();
        format!("{}://{}", asked.scheme(), asked.host())
    };
    let keys = json!(keys.jwks());
    let keys = keys["keys"].as_array().into_iter().flatten();
    let algorithms: BTreeSet<&str> = keys.filter_map(|key| key["alg"].as_str()).collect();
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(json!({
        "issuer": issuer,
        "jwks_uri": format!("{base}/.well-known/jwks.json"),
        // RFC 8414 requires the first, and the second has a default that is not so here.
        "response_types_supported": [],
        "grant_types_supported": [],
        // RFC 8414 has no name for these.
        "access_token_signing_alg_values_supported": algorithms,
    }))
}
