//! Requirements in a handler's signature: a role, one of several roles, several requirements at once, a recent sign-in,
//! and the app's own policy.
//!
//! ```console
//! $ cargo run --example roles
//! $ curl http://127.0.0.1:8081/drafts -H "Authorization: Bearer $EVE"
//! ada@example.com or eve@example.com may read this: eve@example.com
//! $ curl -i http://127.0.0.1:8081/shut-down -X POST -H "Authorization: Bearer $EVE"
//! HTTP/1.1 403 Forbidden
//! www-authenticate: Bearer realm="Authentication Required", error="insufficient_scope", error_description="The user lacks the role"
//! {"code":403,"message":"your account lacks the role that this needs","error":"role_missing"}
//! $ curl http://127.0.0.1:8081/shut-down -X POST -H "Authorization: Bearer $ADA"
//! As you wish, ada@example.com.
//! $ curl http://127.0.0.1:8081/staff -H "Authorization: Bearer $EVE"
//! {"code":403,"message":"your account lacks the role that this needs","error":"role_missing"}
//! $ curl http://127.0.0.1:8081/staff -H "Authorization: Bearer $ADA"
//! Welcome back to the office, ada@example.com.
//! ```

mod support;

use actix_web::{App, HttpServer, web};
use chrono::{DateTime, Utc};
use hallpass::{AllOf, AnyOf, AuthUser, Policy, Refusal, Require, Role, RoleName, SignedInWithin, User};

struct Admin;
impl RoleName for Admin {
    const NAME: &'static str = "admin";
}

struct Editor;
impl RoleName for Editor {
    const NAME: &'static str = "editor";
}

/// The app's own policy. This one checks the address; it may check anything that the user has.
struct Staff;
impl Policy<User> for Staff {
    fn judge(user: &AuthUser, _now: DateTime<Utc>) -> Result<(), Refusal> {
        if user.email.starts_with("ada") { Ok(()) } else { Err(Refusal::RoleMissing) }
    }
}

async fn drafts(user: Require<AnyOf<(Role<Admin>, Role<Editor>)>>) -> String {
    format!("ada@example.com or eve@example.com may read this: {}\n", user.email)
}

async fn shut_down(admin: Require<AllOf<(Role<Admin>, SignedInWithin<10>)>>) -> String {
    format!("As you wish, {}.\n", admin.email)
}

async fn staff(user: Require<Staff>) -> String {
    format!("Welcome back to the office, {}.\n", user.email)
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let guard = support::guard().build()?;
    let app = move || {
        App::new()
            .wrap(guard.protect())
            .route("/drafts", web::get().to(drafts))
            .route("/shut-down", web::post().to(shut_down))
            .route("/staff", web::get().to(staff))
    };

    let server = HttpServer::new(app).bind(support::address())?;
    support::print_token("ADA", "1", &["admin"]);
    support::print_token("EVE", "2", &["editor"]);
    println!("listening on http://{}", server.addrs()[0]);
    Ok(server.run().await?)
}
