//! Replacing a hand-written middleware with the guard.
//!
//! Many apps have something like this:
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
//! The guard replaces it in two steps. Code that reads the request's extensions can stay at first: the middleware
//! stores a [`Caller`](hallpass::Caller) there, for handlers, other middleware and the access log. The app gains:
//! `bearer` in any case, a fixed algorithm, issuer and audience, a body and a challenge with every 401, and working
//! preflights.
//!
//! ```console
//! $ cargo run --example from_middleware
//! $ curl http://127.0.0.1:8081/old -H "authorization: bearer $ADA"
//! the notes of 1, read from the request's extensions
//! $ curl http://127.0.0.1:8081/new -H "Authorization: Bearer $ADA"
//! the notes of 1, taken as a parameter
//! $ curl -i http://127.0.0.1:8081/old
//! HTTP/1.1 401 Unauthorized
//! $ curl http://127.0.0.1:8081/about
//! anybody may read this
//! ```

mod support;

use actix_web::{App, HttpMessage, HttpRequest, HttpServer, web};
use hallpass::{AuthUser, Caller};

/// Step one: replace the middleware. Handlers still read the request's extensions.
async fn old(request: HttpRequest) -> Option<String> {
    let extensions = request.extensions();
    let caller = extensions.get::<Caller>()?;
    Some(format!("the notes of {}, read from the request's extensions\n", caller.claims().sub))
}

/// Step two, handler by handler: take the user as a parameter.
async fn new(user: AuthUser) -> String {
    format!("the notes of {}, taken as a parameter\n", user.id)
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
    support::print_token("ADA", "1", &[]);
    println!("listening on http://{}", server.addrs()[0]);
    Ok(server.run().await?)
}
