//! A page for everybody that greets signed-in users by name.
//!
//! A request without a token is anonymous. A request with a bad token is refused, since its sender believes that they
//! are signed in. `Option<AuthUser>` would silently treat them as a guest.
//!
//! ```console
//! $ cargo run --example optional_sign_in
//! $ curl http://127.0.0.1:8081/
//! Hello, guest!
//! $ curl http://127.0.0.1:8081/ -H "Authorization: Bearer $ADA"
//! Hello, ada@example.com!
//! $ curl -i http://127.0.0.1:8081/ -H "Authorization: Bearer ${ADA}x"
//! HTTP/1.1 401 Unauthorized
//! {"code":401,"message":"401 Unauthorized Access","error":"token_invalid"}
//! ```

mod support;

use actix_web::{App, HttpServer, web};
use hallpass::MaybeAuthUser;

async fn hello(visitor: MaybeAuthUser) -> String {
    match visitor.user() {
        Some(user) => format!("Hello, {}!\n", user.email),
        None => "Hello, guest!\n".to_owned(),
    }
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
