//! A page for everybody that greets those it knows.
//!
//! A guest has no token and is welcome. Whoever shows a bad one believes to be signed in, and is told that it
//! is not so: that is what `Option<AuthUser>` would keep quiet about.
//!
//! ```console
//! $ cargo run --example optional_sign_in
//! $ curl http://127.0.0.1:8081/
//! Hello, stranger!
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
        None => "Hello, stranger!\n".to_owned(),
    }
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let guard = support::guard().build()?;
    let app = move || App::new().app_data(guard.clone()).route("/", web::get().to(hello));

    let server = HttpServer::new(app).bind(support::address())?;
    support::introduce("ADA", "1", &[]);
    println!("listening on http://{}", server.addrs()[0]);
    Ok(server.run().await?)
}
