//! A service of its own, which verifies the tokens of a Hallpass server by the keys that one publishes.
//!
//! It shares no secret and no database with the server, so it does not learn of a logout, a changed password
//! or a disabled user before the token's `exp`: keep `token.lifetime_s` short where that matters.
//!
//! ```console
//! $ HALLPASS_TOKEN__ISSUER=https://id.example hallpass serve
//! $ hallpass user add ada@example.com
//! $ cargo run --example jwks_service --features jwks-url
//! $ curl -i http://127.0.0.1:8081/
//! HTTP/1.1 401 Unauthorized
//! $ ADA=$(curl -s http://127.0.0.1:8080/auth/login -H 'Content-Type: application/json' -d '{"email":"ada@example.com","password":"correct horse battery"}' | sed 's/.*"token":"\([^"]*\)".*/\1/')
//! $ curl http://127.0.0.1:8081/ -H "Authorization: Bearer $ADA"
//! Hello, ada@example.com!
//! ```

mod support;

use actix_web::{App, HttpServer, web};
use hallpass::{AuthUser, Envelope, Guard, JwksUrl};

async fn hello(user: AuthUser) -> String {
    format!("Hello, {}!\n", user.email)
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Over plain HTTP on the loopback alone; elsewhere it must be https.
    let issuer = std::env::var("ISSUER_URL").unwrap_or_else(|_| "http://127.0.0.1:8080".to_owned());
    let keys = JwksUrl::new(&format!("{issuer}/.well-known/jwks.json"))?.start()?;
    // Not needed: keys are fetched anyway, and until they are there, requests get 503.
    if let Err(error) = keys.refresh().await {
        eprintln!("no keys yet: {error}");
    }
    let guard =
        Guard::builder().keys(keys).issuer("https://id.example").audience("https://id.example").build()?;

    let app =
        move || App::new().wrap(guard.protect()).wrap(Envelope::default()).route("/", web::get().to(hello));
    let server = HttpServer::new(app).bind(support::address())?;
    println!("listening on http://{}", server.addrs()[0]);
    Ok(server.run().await?)
}
