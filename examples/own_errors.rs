//! The app's own responses to refusals: a page for people, and JSON in another format for programs.
//!
//! A response with status 200 is sent as 401, and a missing challenge is added.
//!
//! ```console
//! $ cargo run --example own_errors
//! $ curl -i http://127.0.0.1:8081/ -H 'Accept: text/html'
//! HTTP/1.1 401 Unauthorized
//! www-authenticate: Bearer realm="The Library"
//! <h1>Please <a href="/sign-in">sign in</a></h1>
//! $ curl -i http://127.0.0.1:8081/ -H "Authorization: Bearer nonsense.nonsense.nonsense"
//! HTTP/1.1 401 Unauthorized
//! {"detail":"token_invalid"}
//! $ curl -i http://127.0.0.1:8081/ -H "Authorization: Bearer $LATE"
//! HTTP/1.1 403 Forbidden
//! {"detail":"fees_due"}
//! $ curl http://127.0.0.1:8081/ -H "Authorization: Bearer $ADA"
//! Hello, ada@example.com!
//! ```

mod support;

use actix_web::http::StatusCode;
use actix_web::http::header::ACCEPT;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use hallpass::{AuthUser, Refusal};
use serde_json::json;

/// Makes the response, from the reason, the status that Hallpass would use, and the request.
fn refuse(reason: Refusal, status: StatusCode, request: &HttpRequest) -> HttpResponse {
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match reason {
        Refusal::Application(_) => HttpResponse::Forbidden().json(json!({"detail": reason.code()})),
        _ if accept.contains("text/html") => {
            HttpResponse::Ok().body("<h1>Please <a href=\"/sign-in\">sign in</a></h1>\n")
        }
        _ => HttpResponse::build(status).json(json!({"detail": reason.code()})),
    }
}

async fn hello(user: AuthUser) -> String {
    format!("Hello, {}!\n", user.email)
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let guard = support::guard()
        .realm("The Library")
        // The app's own reason. The function is async, so it may query a database.
        .verify_token(|claims, _request| async move {
            if claims.has_role("late") { Err(Refusal::Application("fees_due")) } else { Ok(()) }
        })
        .on_unauthorized(refuse)
        .build()?;
    let app = move || App::new().wrap(guard.protect()).route("/", web::get().to(hello));

    let server = HttpServer::new(app).bind(support::address())?;
    support::print_token("ADA", "1", &[]);
    support::print_token("LATE", "2", &["late"]);
    println!("listening on http://{}", server.addrs()[0]);
    Ok(server.run().await?)
}
