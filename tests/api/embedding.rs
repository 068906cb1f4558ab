//! The server within another app: one process, the app's own routes, background tasks that end with it.

use actix_web::http::StatusCode;
use actix_web::{App, HttpResponse, test, web};
use hallpass::server::config::{DatabaseUrl, Settings};
use hallpass::server::{AddUserError, AuthServer, NewAccount, StartError};
use hallpass::testing::TestServer;
use hallpass::{AuthUser, Claims, Unavailable, UserSource};
use serde_json::json;

use crate::app::{PASSPHRASE, PASSWORD, TestApp};
use crate::test_database::TestDatabase;

async fn notes(user: AuthUser) -> String {
    format!("the notes of {}", user.email)
}

fn app_routes(auth: &AuthServer) -> impl FnOnce(&mut web::ServiceConfig) + use<> {
    let auth = auth.configure();
    |config| {
        config
            .configure(auth)
            .route("/", web::get().to(|| async { "the app's own page" }))
            .route("/notes", web::get().to(notes));
    }
}

fn settings(database: &TestDatabase) -> Settings {
    let mut settings = Settings::default();
    settings.database = database.settings.clone();
    settings.password.bcrypt_cost = 4;
    settings
}

#[actix_rt::test]
async fn a_handler_of_the_app_takes_the_users_of_the_server_beside_it() {
    let server = TestServer::new().await;
    server.add_user("ada@example.com").await;
    let ada = server.sign_in("ada@example.com").await;
    let app = test::init_service(App::new().configure(app_routes(server.auth()))).await;
    let get = |path: &str| test::TestRequest::get().uri(path);
    assert_eq!(test::call_service(&app, get("/notes").to_request()).await.status(), 401);
    let ask = get("/notes").insert_header(ada.bearer()).to_request();
    assert_eq!(test::call_and_read_body(&app, ask).await, "the notes of ada@example.com");
    assert_eq!(test::call_and_read_body(&app, get("/").to_request()).await, "the app's own page");

    // A logout counts in the app's own handler with the next request.
    let leave = test::TestRequest::post().uri("/auth/logout").insert_header(ada.bearer()).to_request();
    assert_eq!(test::call_service(&app, leave).await.status(), StatusCode::NO_CONTENT);
    let ask = get("/notes").insert_header(ada.bearer()).to_request();
    assert_eq!(test::call_service(&app, ask).await.status(), 401);
}

#[actix_rt::test]
async fn a_second_guard_with_the_apps_own_users_knows_a_logout_too() {
    struct Member(String);
    struct Members;
    impl UserSource for Members {
        type User = Member;
        async fn find(&self, claims: &Claims) -> Result<Option<std::sync::Arc<Member>>, Unavailable> {
            Ok(Some(std::sync::Arc::new(Member(format!("member {}", claims.sub)))))
        }
    }
    async fn shelf(member: AuthUser<Member>) -> String {
        member.0.clone()
    }
    let server = TestServer::new().await;
    let id = server.add_user("ada@example.com").await.id;
    let ada = server.sign_in("ada@example.com").await;
    let guard = server.auth().guard_builder().users(Members).build().unwrap();
    let app = App::new().configure(server.auth().configure()).configure(guard.install());
    let app = test::init_service(app.route("/shelf", web::get().to(shelf))).await;
    let ask = || test::TestRequest::get().uri("/shelf").insert_header(ada.bearer()).to_request();
    assert_eq!(test::call_and_read_body(&app, ask()).await, format!("member {id}"));
    let leave = test::TestRequest::post().uri("/auth/logout-all").insert_header(ada.bearer()).to_request();
    assert_eq!(test::call_service(&app, leave).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(test::call_service(&app, ask()).await.status(), 401);
}

#[actix_rt::test]
async fn the_audit_walks_the_app_and_the_server_within_it() {
    let server_with = async |has_docs: bool, has_mail: bool| {
        let change = |settings: &mut Settings| settings.server.docs = has_docs;
        if has_mail { TestServer::with_mail(change).await } else { TestServer::with(change).await }
    };
    for (has_docs, has_mail) in [(true, true), (true, false), (false, false)] {
        let server = server_with(has_docs, has_mail).await;
        let app = || App::new().configure(app_routes(server.auth()));
        let audit = || server.audit(["GET /", "GET /notes"]).allow(["GET /"]);
        audit().assert_all_guarded(app()).await;

        let open = web::get().to(|| async { HttpResponse::Ok().body("secret") });
        let found = server.audit(["GET /", "GET /notes", "GET /secret"]).allow(["GET /"]);
        let found = found.findings(app().route("/secret", open)).await;
        let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["GET /secret: answered 200 OK to /secret, not 401"]);
    }
}

#[actix_rt::test]
async fn a_start_makes_the_database_and_a_later_one_needs_its_passphrase() {
    let database = TestDatabase::new();
    let builder = || AuthServer::builder().settings(settings(&database));
    let weak = builder().passphrase("password").start().await.unwrap_err();
    assert!(matches!(&weak, StartError::Passphrase(reason) if reason.contains("too weak")), "{weak}");
    let none = builder().start().await.unwrap_err();
    assert!(none.to_string().contains(".passphrase_file("), "{none}");

    let first = builder().passphrase(PASSPHRASE).start().await.unwrap();
    let issuer = first.issuer().to_owned();
    first.add_user(NewAccount::new("ada@example.com").password(PASSWORD)).await.unwrap();
    first.stop().await;

    let wrong = builder().passphrase("nine copper kettles in the rain").start().await.unwrap_err();
    assert!(matches!(wrong, StartError::Open(_)), "{wrong}");
    let second = builder().passphrase(PASSPHRASE).start().await.unwrap();
    assert_eq!(second.issuer(), issuer);
    let taken = second.add_user(NewAccount::new("ada@example.com")).await.unwrap_err();
    assert!(matches!(taken, AddUserError::EmailTaken), "{taken}");
    second.stop().await;
}

#[actix_rt::test]
async fn a_passphrase_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let database = TestDatabase::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passphrase");
    std::fs::write(&file, format!("{PASSPHRASE}\n")).unwrap();
    let start = || AuthServer::builder().settings(settings(&database)).passphrase_file(&file).start();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let open = start().await.unwrap_err().to_string();
    assert!(open.starts_with("the passphrase file ") && open.ends_with("chmod 600 it"), "{open}");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    start().await.unwrap().stop().await;
}

#[actix_rt::test]
async fn a_setting_made_in_code_is_checked_like_one_of_a_file() {
    let mut wrong = Settings::default();
    wrong.token.leeway = std::time::Duration::from_secs(301);
    let error = AuthServer::builder().settings(wrong).passphrase(PASSPHRASE).start().await.unwrap_err();
    assert!(matches!(error, StartError::Settings(_)), "{error}");
    assert!(error.to_string().contains("token.leeway_s is \"301\""), "{error}");
}

#[actix_rt::test]
async fn the_background_tasks_apply_the_changes_of_other_servers_and_end_with_the_server() {
    let database = TestDatabase::new();
    let start = || AuthServer::builder().settings(settings(&database)).passphrase(PASSPHRASE).start();
    let (one, other) = (start().await.unwrap(), start().await.unwrap());
    one.add_user(NewAccount::new("ada@example.com").password(PASSWORD)).await.unwrap();
    let [here, there] = [&one, &other].map(|auth| App::new().configure(app_routes(auth)));
    let (here, there) = (test::init_service(here).await, test::init_service(there).await);
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    let ask = test::TestRequest::post().uri("/auth/login").set_json(body).to_request();
    let tokens: serde_json::Value = test::call_and_read_body_json(&here, ask).await;
    let bearer = ("Authorization", format!("Bearer {}", tokens["data"]["token"].as_str().unwrap()));

    let ask = || test::TestRequest::get().uri("/notes").insert_header(bearer.clone()).to_request();
    assert_eq!(test::call_service(&there, ask()).await.status(), StatusCode::OK);
    let leave = test::TestRequest::post().uri("/auth/logout").insert_header(bearer.clone()).to_request();
    assert_eq!(test::call_service(&here, leave).await.status(), StatusCode::NO_CONTENT);
    // Nothing but the task of the other server can tell it.
    while test::call_service(&there, ask()).await.status() == StatusCode::OK {
        actix_rt::task::yield_now().await;
    }
    one.stop().await;
    other.stop().await;
    assert_eq!(test::call_service(&there, ask()).await.status(), 401);
}

#[actix_rt::test]
async fn the_last_clone_that_is_dropped_ends_the_background_tasks() {
    let database = TestDatabase::sqlite();
    let auth = AuthServer::builder().settings(settings(&database)).passphrase(PASSPHRASE).start();
    let auth = auth.await.unwrap();
    let DatabaseUrl::Sqlite(path) = &database.settings.url else { panic!("not SQLite") };
    let name = path.canonicalize().unwrap();
    // The file stays open as long as the tasks hold the database.
    let is_open = || {
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok()).any(|target| target == name)
    };
    assert!(is_open());
    drop(auth);
    while is_open() {
        actix_rt::task::yield_now().await;
    }
}

#[core::prelude::v1::test]
fn a_server_starts_under_a_runtime_that_is_not_actixs() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let database = TestDatabase::sqlite();
        let start = AuthServer::builder().settings(settings(&database)).passphrase(PASSPHRASE).start();
        start.await.unwrap().stop().await;
    });
}

#[actix_rt::test]
async fn a_user_that_an_app_adds_is_checked_like_one_of_a_request() {
    let app = TestApp::new().await;
    for (account, expected) in [
        (NewAccount::new("ada"), "the e-mail address is not an e-mail address"),
        (NewAccount::new("a@example.com").name("\n"), "the name holds a control character"),
        (NewAccount::new("a@example.com").roles(["Admin"]), "\"Admin\" is no role"),
        (NewAccount::new("a@example.com").password("password"), "the password "),
    ] {
        let error = app.server.add_user(account).await.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    app.server.add_user(NewAccount::new("b@example.com").password(PASSWORD)).await.unwrap();
    assert_eq!(app.login("B@example.com", PASSWORD).await.status, StatusCode::OK);
}
