//! From a hand-written middleware to the guard.
//!
//! Many an app has grown something like this:
//!
//! ```ignore
//! App::new().wrap_fn(|request, service| {
//!     let header = request.headers().get("Authorization").and_then(|value| value.to_str().ok());
//!     match header.and_then(|value| value.strip_prefix("Bearer ")).map(decode) {
//!         Some(Ok(claims)) => { request.extensions_mut().insert(claims); service.call(request) }
//!         _ => /* 401 without a challenge and without a body */,
//!     }
//! })
//! async fn notes(request: HttpRequest) -> String {
//!     let claims = request.extensions().get::<MyClaims>().cloned().unwrap(); // panics where the wrap is missing
//! ```
//!
//! The guard replaces it in two steps, and what reads the request's extensions can stay as it is meanwhile:
//! [`Caller`](hallpass::Caller) is there under the middleware, for handlers, other middleware and the access log. What is
//! gained on the way: any case of `bearer`, a key that fixes the algorithm, issuer and audience, a body and a challenge
//! with every 401, and preflights.
//!
//! ```console
//! $ cargo run --example from_middleware
//! $ curl http://127.0.0.1:8081/old -H "authorization: bearer $ADA"
//! the notes of 1, found in the request's extensions
//! $ curl http://127.0.0.1:8081/new -H "Authorization: Bearer $ADA"
//! the notes of 1, named in the signature
//! $ curl -i http://127.0.0.1:8081/old
//! HTTP/1.1 401 Unauthorized
//! $ curl http://127.0.0.1:8081/about
//! anybody may read this
//! ```

mod support;

use actix_web::{App, HttpMessage, HttpRequest, HttpServer, web};
use hallpass::{AuthUser, Caller};

/// Step one: the wrap is exchanged, and handlers look where they always looked.
async fn old(request: HttpRequest) -> Option<String> {
    let extensions = request.extensions();
    let caller = extensions.get::<Caller>()?;
    Some(format!("the notes of {}, found in the request's extensions\n", caller.claims().sub))
}

/// Step two, one handler after the other: what is needed stands in the signature.
async fn new(user: AuthUser) -> String {
    format!("the notes of {}, named in the signature\n", user.id)
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let guard = support::guard().build()?;
    let app = move || {
        App::new()
            .wrap(guard.protect().allow("/about"))
            .route("/old", web::get().to(old))
            .route("/new", web::get().to(new))
            .route("/about", web::get().to(|| async { "anybody may read this\n" }))
    };

    let server = HttpServer::new(app).bind(support::address())?;
    support::introduce("ADA", "1", &[]);
    println!("listening on http://{}", server.addrs()[0]);
    Ok(server.run().await?)
}
