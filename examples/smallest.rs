//! The smallest app with a guarded route.
//!
//! ```console
//! $ cargo run --example smallest
//! $ curl -i http://127.0.0.1:8081/
//! HTTP/1.1 401 Unauthorized
//! www-authenticate: Bearer realm="Authentication Required"
//! {"code":401,"message":"401 Unauthorized Access","error":"token_missing"}
//! $ curl http://127.0.0.1:8081/ -H "Authorization: Bearer $ADA"
//! Hello, ada@example.com!
//! ```

mod support;

use actix_web::{App, HttpServer, web};
use hallpass::AuthUser;

async fn hello(user: AuthUser) -> String {
    format!("Hello, {}!\n", user.email)
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let guard = support::guard().build()?;
    let app = move || App::new().app_data(guard.clone()).route("/", web::get().to(hello));

    let server = HttpServer::new(app).bind(support::address())?;
    support::print_token("ADA", "1", &[]);
    println!("listening on http://{}", server.addrs()[0]);
    Ok(server.run().await?)
}
