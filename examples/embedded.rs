//! Sign-in and an app in one process: `/auth`, `/user` and the rest beside the app's own route and page.
//!
//! ```console
//! $ cargo run --example embedded
//! $ curl -i http://127.0.0.1:8081/hello
//! HTTP/1.1 401 Unauthorized
//! {"code":401,"message":"401 Unauthorized Access","error":"token_missing"}
//! $ TOKEN=$(curl -s http://127.0.0.1:8081/auth/login -H "Content-Type: application/json" -d '{"email":"ada@example.com","password":"seventeen blue lanterns"}' | sed 's/.*"token":"\([^"]*\)".*/\1/')
//! $ curl http://127.0.0.1:8081/hello -H "Authorization: Bearer $TOKEN"
//! Hello, Ada! You are the user ada@example.com.
//! ```
//!
//! In a browser, http://127.0.0.1:8081/ is the app's own page, with its own form.

mod support;

use actix_web::{App, HttpResponse, HttpServer, web};
use hallpass::AuthUser;
use hallpass::server::config::Settings;
use hallpass::server::{AuthServer, NewAccount};

async fn hello(user: AuthUser) -> String {
    let name = user.name.as_deref().unwrap_or("you");
    format!("Hello, {name}! You are the user {}.\n", user.email)
}

/// The app's own page. `/client/hallpass.js` signs in, keeps the token fresh, and signs out in all tabs.
const PAGE: &str = r#"<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Hello</title>
<form><label>E-mail <input name="email" type="email" autocomplete="username" required></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required></label>
<button>Sign in</button></form>
<p role="status"></p><button id="out" hidden>Sign out</button>
<script type="module">
import { createHallpass } from '/client/hallpass.js';
const hallpass = createHallpass();
const [form, line, out] = ['form', 'p', '#out'].map((name) => document.querySelector(name));
hallpass.onChange(async (user) => {
  form.hidden = Boolean(user);
  out.hidden = !user;
  line.textContent = user ? await (await hallpass.fetch('/hello')).text() : '';
});
form.addEventListener('submit', (event) => {
  event.preventDefault();
  const { email, password } = Object.fromEntries(new FormData(form));
  hallpass.signIn({ email, password }).catch((error) => { line.textContent = error.message; });
});
out.addEventListener('click', () => hallpass.signOut());
</script></html>"#;

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // An app of yours keeps its database, and has the passphrase from a file or a secret manager.
    let folder = tempfile::tempdir()?;
    let mut settings = Settings::default();
    settings.database.url = format!("sqlite://{}/users.db", folder.path().display()).parse()?;
    let passphrase = "a river of seventeen blue lanterns";
    let auth = AuthServer::builder().settings(settings).passphrase(passphrase).start().await?;
    let ada = NewAccount::new("ada@example.com").name("Ada").password("seventeen blue lanterns");
    auth.add_user(ada).await?;

    let server = auth.clone();
    let app = move || {
        App::new()
            .wrap(server.envelope())
            .configure(server.configure())
            .route("/hello", web::get().to(hello))
            .route("/", web::get().to(|| async { HttpResponse::Ok().content_type("text/html").body(PAGE) }))
    };
    let http = HttpServer::new(app).bind(support::address())?;
    println!("listening on http://{}", http.addrs()[0]);
    http.run().await?;
    auth.stop().await;
    Ok(())
}
