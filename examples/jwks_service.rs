//! A separate service that verifies the tokens of a Hallpass server with the server's published keys.
//!
//! It shares no secret and no database with the server. So it accepts a token until its `exp`, even after a sign-out, a
//! password change or a disabled account: if that is too long, shorten `token.lifetime_s`.
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
    // http is accepted on the loopback only; elsewhere it must be https.
    let issuer = std::env::var("ISSUER_URL").unwrap_or_else(|_| "http://127.0.0.1:8080".to_owned());
    let keys = JwksUrl::new(&format!("{issuer}/.well-known/jwks.json"))?.start()?;
    // Optional: keys are fetched anyway, and clients get 503 until then.
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
