//! The audit of `hallpass::testing`, tested by mutation: one thing is broken in an app that passes, and the audit must
//! name it. Each test passes with actix-web's introspection and without; `.ci/run` runs both.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::web::{self, Json, Path, Query, ServiceConfig};
use actix_web::{App, Error, HttpResponse, Route, guard};
use chrono::Duration;
use hallpass::testing::{Audit, Finding, Mint};
use hallpass::{AuthUser, Authed, MaybeAuthUser, Require, SecondFactor, SignedInWithin};
use serde::Deserialize;

use crate::app::TestApp;

#[derive(Deserialize)]
struct Note {
    #[allow(dead_code, reason = "the tests send none")]
    text: String,
}

async fn guarded(_: AuthUser) -> &'static str {
    "for users"
}

async fn read(_: AuthUser, _: Path<u32>, _: Query<Note>) -> &'static str {
    "for users"
}

async fn write(_: AuthUser, _: Json<Note>) -> &'static str {
    "for users"
}

async fn write_anywhere(_: Authed<Json<Note>>, _: Path<u32>) -> &'static str {
    "for users"
}

async fn open() -> &'static str {
    "for anybody"
}

/// The routes of [`notes`].
const ROUTES: &[&str] = &[
    "GET /about",
    "GET /api/notes",
    "POST /api/notes",
    "GET /api/notes/{id}",
    "PUT /api/notes/{id}",
    r"DELETE /api/notes/{id:\d+}/links/{link}",
    "/api/files/{tail:.*}",
];

const ALLOWED: &[&str] = &["GET /about"];

/// A small app. A route that `mutants` returns replaces the route of that name.
fn notes(config: &mut ServiceConfig, mut mutants: impl FnMut(&'static str) -> Option<Route>) {
    let mut to = |name: &'static str, own: Route| mutants(name).unwrap_or(own);
    config.app_data(Mint::new().guard()).route("/about", web::get().to(open)).service(
        web::scope("/api")
            .route("/notes", web::get().guard(guard::Get()).to(guarded))
            .route("/notes", to("POST /api/notes", web::to(write)).guard(guard::Post()))
            .service(
                web::resource("/notes/{id}")
                    .route(to("GET /api/notes/{id}", web::to(read)).guard(guard::Get()))
                    .route(to("PUT /api/notes/{id}", web::to(write_anywhere)).guard(guard::Put())),
            )
            .service(web::resource(r"/notes/{id:\d+}/links/{link}").route(
                to(r"DELETE /api/notes/{id:\d+}/links/{link}", web::to(guarded)).guard(guard::Delete()),
            ))
            .service(web::resource("/files/{tail:.*}").route(to("/api/files/{tail:.*}", web::to(guarded)))),
    );
}

trait AnyApp:
    ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<Self::Body>,
        Error = Error,
        InitError = (),
    > + 'static
{
    type Body: MessageBody + 'static;
}

impl<T, B> AnyApp for T
where
    T: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<B>,
            Error = Error,
            InitError = (),
        > + 'static,
    B: MessageBody + 'static,
{
    type Body = B;
}

/// An audit of exactly these routes: found by introspection where that is on, or else listed.
fn audit_of(routes: &[&str]) -> Audit {
    if cfg!(feature = "testing-introspection") { Audit::new() } else { Audit::new().routes(routes) }
}

/// The findings of an audit, as text.
async fn findings(audit: Audit, app: App<impl AnyApp>) -> Vec<String> {
    audit.findings(app).await.iter().map(ToString::to_string).collect()
}

fn app_with(mutant: &'static str, handler: Route) -> App<impl AnyApp> {
    let mut handler = Some(handler);
    let app = App::new().configure(|config| {
        notes(config, |name| if name == mutant { handler.take() } else { None });
    });
    assert!(handler.is_none(), "{mutant} is no route of the app");
    app
}

fn app() -> App<impl AnyApp> {
    App::new().configure(|config| notes(config, |_| None))
}

#[actix_rt::test]
async fn an_app_whose_every_route_is_guarded_or_allowed_passes() {
    audit_of(ROUTES).allow(ALLOWED).assert_all_guarded(app()).await;
    Audit::new().routes(ROUTES).allow(ALLOWED).assert_all_guarded(app()).await;
}

#[cfg(feature = "testing-introspection")]
#[actix_rt::test]
async fn with_introspection_one_line_is_enough() {
    hallpass::testing::assert_all_guarded(app(), ALLOWED).await;
}

#[cfg(not(feature = "testing-introspection"))]
#[actix_rt::test]
async fn without_introspection_an_audit_without_a_list_fails() {
    assert_eq!(Audit::new().allow(ALLOWED).findings(app()).await, [Finding::NoRoutes]);
}

#[actix_rt::test]
async fn a_handler_that_takes_no_user_is_named() {
    for mutant in ["POST /api/notes", "GET /api/notes/{id}", r"DELETE /api/notes/{id:\d+}/links/{link}"] {
        let found = audit_of(ROUTES).allow(ALLOWED).findings(app_with(mutant, web::to(open))).await;
        let [Finding::Answered { route, status, .. }] = &found[..] else { panic!("{mutant}: {found:?}") };
        assert_eq!((route.as_str(), *status), (mutant, StatusCode::OK));
    }
    let anywhere = "/api/files/{tail:.*}";
    let found = findings(audit_of(ROUTES).allow(ALLOWED), app_with(anywhere, web::to(open))).await;
    assert_eq!(found, ["/api/files/{tail:.*}: answered 200 OK to /api/files/%FF, not 401"]);
}

#[actix_rt::test]
async fn a_parameter_before_the_user_is_named_unless_the_middleware_decides_first() {
    async fn body_first(_: Json<Note>, _: AuthUser) -> &'static str {
        ""
    }
    async fn query_first(_: Query<Note>, _: AuthUser) -> &'static str {
        ""
    }
    async fn path_first(_: Path<u32>, _: AuthUser) -> &'static str {
        ""
    }
    type Mutant = (&'static str, fn() -> Route, &'static str);
    let mutants: [Mutant; 3] = [
        ("POST /api/notes", || web::to(body_first), "answered 400 Bad Request to /api/notes, not 401"),
        (
            "GET /api/notes/{id}",
            || web::to(query_first),
            "answered 400 Bad Request to /api/notes/%FF, not 401",
        ),
        ("PUT /api/notes/{id}", || web::to(path_first), "answered 404 Not Found to /api/notes/%FF, not 401"),
    ];
    for (mutant, handler, what) in mutants {
        let found = findings(audit_of(ROUTES).allow(ALLOWED), app_with(mutant, handler())).await;
        assert_eq!(found, [format!("{mutant}: {what}")]);

        let protect = Mint::new().guard().protect().allow("/about");
        let app = app_with(mutant, handler()).wrap(protect);
        audit_of(ROUTES).allow(ALLOWED).assert_all_guarded(app).await;
    }
}

#[actix_rt::test]
async fn a_route_that_is_missing_from_the_list_is_named() {
    for missing in ROUTES {
        let listed = ROUTES.iter().filter(|route| *route != missing);
        let audit = Audit::new().routes(listed).allow(ALLOWED);
        let found = findings(audit, app()).await;
        assert!(found.contains(&format!("{missing}: missing from the list of routes")), "{found:?}");
    }
}

#[actix_rt::test]
async fn under_the_middleware_a_path_that_is_missing_from_the_list_is_named_too() {
    let app = app().wrap(Mint::new().guard().protect().allow("/about"));
    let listed = ROUTES.iter().filter(|route| !route.contains("links"));
    let found = findings(Audit::new().routes(listed).allow(ALLOWED), app).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains(r"/api/notes/{id:\d+}/links/{link}: missing from the list"), "{found:?}");
}

#[actix_rt::test]
async fn under_the_middleware_a_method_that_is_missing_from_the_list_is_named_where_a_405_names_the_methods()
{
    let place = web::resource("/notes").route(web::get().to(guarded)).route(web::delete().to(guarded));
    let app = App::new().service(place).wrap(Mint::new().guard().protect());
    let found = findings(Audit::new().routes(["GET /notes"]), app).await;
    assert_eq!(found, ["DELETE /notes: missing from the list of routes"]);
}

#[actix_rt::test]
async fn a_route_of_the_list_that_the_app_does_not_have_is_named() {
    let listed = || ROUTES.iter().copied();
    let found = findings(Audit::new().routes(listed().chain(["GET /gone"])).allow(ALLOWED), app()).await;
    assert_eq!(found, ["GET /gone: the app has no such route"]);

    let found =
        findings(Audit::new().routes(listed().chain(["PATCH /api/notes"])).allow(ALLOWED), app()).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("PATCH /api/notes: "), "{found:?}");
}

#[actix_rt::test]
async fn an_entry_of_the_allow_list_that_allows_nothing_is_named() {
    for stale in ["GET /gone", "POST /about", "GET /api/notes", "/api/notes/{id}"] {
        let found = audit_of(ROUTES).allow(ALLOWED).allow([stale]).findings(app()).await;
        assert_eq!(found, [Finding::NotNeeded { route: stale.to_owned() }]);
    }
}

#[actix_rt::test]
async fn an_entry_without_a_method_allows_every_method_of_its_path() {
    let app = app_with("/api/files/{tail:.*}", web::to(open));
    audit_of(ROUTES).allow(ALLOWED).allow(["/api/files/{tail:.*}"]).assert_all_guarded(app).await;
}

#[actix_rt::test]
async fn a_page_for_anonymous_callers_is_named() {
    async fn hello(_: MaybeAuthUser) -> &'static str {
        "hello"
    }
    let app = App::new().app_data(Mint::new().guard()).route("/", web::get().to(hello));
    let found = findings(audit_of(&["GET /"]), app).await;
    assert_eq!(found, ["GET /: answered 200 OK to /, not 401"]);
}

#[actix_rt::test]
async fn a_guard_that_was_never_installed_is_named_by_its_500() {
    let app = App::new().route("/", web::get().to(guarded));
    let found = findings(audit_of(&["GET /"]), app).await;
    assert_eq!(found, ["GET /: answered 500 Internal Server Error to /, not 401"]);
}

#[actix_rt::test]
async fn a_route_behind_a_guard_of_actix_is_named_until_its_header_is_given() {
    let app = |handler: fn() -> Route| {
        let scope = web::scope("/v1").guard(guard::Host("api.example")).route("/notes", handler());
        App::new().app_data(Mint::new().guard()).service(scope)
    };
    let routes = &["GET /v1/notes"];
    let found = findings(audit_of(routes), app(|| web::get().to(guarded))).await;
    assert_eq!(found, ["GET /v1/notes: answered 404 Not Found to /v1/notes, not 401"]);
    let with_host = || audit_of(routes).header("host", "api.example");
    with_host().assert_all_guarded(app(|| web::get().to(guarded))).await;
    let found = findings(with_host(), app(|| web::get().to(open))).await;
    assert_eq!(found, ["GET /v1/notes: answered 200 OK to /v1/notes, not 401"]);
}

#[actix_rt::test]
async fn the_method_of_a_route_behind_an_opaque_guard_is_found_by_its_responses() {
    async fn path_first(_: Path<u32>, _: AuthUser) -> &'static str {
        ""
    }
    let is_delete = || guard::fn_guard(|context| context.head().method == "DELETE");
    let place = || {
        web::resource("/notes/{id}")
            .route(web::get().to(guarded))
            .route(web::route().guard(is_delete()).to(path_first))
    };
    let app = App::new().app_data(Mint::new().guard()).service(place());
    let found = findings(audit_of(&["GET /notes/{id}", "DELETE /notes/{id}"]), app).await;
    assert_eq!(found, ["DELETE /notes/{id}: answered 404 Not Found to /notes/%FF, not 401"]);
}

#[actix_rt::test]
async fn a_route_for_any_method_beside_one_for_get_is_named_by_the_methods_that_it_answers() {
    let place = || web::resource("/notes").route(web::get().to(guarded)).route(web::route().to(open));
    let app = App::new().app_data(Mint::new().guard()).service(place());
    let found = audit_of(&["GET /notes"]).findings(app).await;
    let answered = |method: &str| {
        let route = format!("{method} /notes");
        found.iter().any(|found| matches!(found, Finding::Answered { route: named, .. } if *named == route))
    };
    for method in ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"] {
        assert!(answered(method), "{method}: {found:?}");
    }
    assert!(!answered("GET"), "{found:?}");
}

#[actix_rt::test]
async fn the_middleware_answers_options_so_a_handler_for_any_method_is_named_only_where_it_passes() {
    let app = App::new().route("/notes", web::to(open)).wrap(Mint::new().guard().protect());
    audit_of(&["/notes"]).assert_all_guarded(app).await;

    let app = App::new().route("/notes", web::to(open)).wrap(Mint::new().guard().protect().pass_options());
    let found = findings(audit_of(&["/notes"]), app).await;
    assert_eq!(found, ["OPTIONS /notes: answered 200 OK to /notes, not 401"]);

    let app = App::new().route("/notes", web::to(guarded)).wrap(Mint::new().guard().protect());
    audit_of(&["/notes"]).assert_all_guarded(app).await;
}

#[actix_rt::test]
async fn a_custom_method_is_asked_too() {
    let propfind = || web::method("PROPFIND".parse().unwrap());
    let app = |route| App::new().app_data(Mint::new().guard()).route("/notes", route);
    let routes = &["PROPFIND /notes"];
    audit_of(routes).assert_all_guarded(app(propfind().to(guarded))).await;
    let found = findings(audit_of(routes), app(propfind().to(open))).await;
    assert_eq!(found, ["PROPFIND /notes: answered 200 OK to /notes, not 401"]);
}

#[actix_rt::test]
async fn a_pattern_that_nothing_known_matches_is_named_until_a_sample_is_given() {
    let pattern = "/orders/{number:[A-Z]{3}-[0-9]{5}}";
    let routes = &["GET /orders/{number:[A-Z]{3}-[0-9]{5}}"];
    let app = |handler| App::new().app_data(Mint::new().guard()).route(pattern, handler);
    let found = audit_of(routes).findings(app(web::get().to(open))).await;
    assert_eq!(found, [Finding::NotAsked { route: pattern.to_owned() }]);
    let sampled = || audit_of(routes).sample(pattern, "/orders/ABC-12345");
    sampled().assert_all_guarded(app(web::get().to(guarded))).await;
    let found = findings(sampled(), app(web::get().to(open))).await;
    assert_eq!(found, [format!("GET {pattern}: answered 200 OK to /orders/ABC-12345, not 401")]);
    let found = audit_of(ROUTES).allow(ALLOWED).sample("/gone", "/gone").findings(self::app()).await;
    assert_eq!(found, [Finding::NotThere { route: "/gone".to_owned() }]);
}

#[actix_rt::test]
async fn a_default_service_is_named_by_its_scope() {
    let routes = &["GET /api/v1/{page}", "/{page}"];
    let app = |api: fn() -> Route, whole: fn() -> Route| {
        let page = web::resource("/{page}").route(web::get().to(guarded));
        let v1 = web::scope("/v1").service(page).default_service(api());
        App::new()
            .app_data(Mint::new().guard())
            .service(web::scope("/api").service(v1))
            .route("/{page}", web::to(guarded))
            .default_service(whole())
    };
    let to_open = || web::to(open);
    let to_guarded = || web::to(guarded);
    audit_of(routes).assert_all_guarded(app(to_guarded, to_guarded)).await;
    audit_of(routes).assert_all_guarded(app(to_guarded, || web::to(HttpResponse::NotFound))).await;

    let found = findings(audit_of(routes), app(to_open, to_guarded)).await;
    assert_eq!(found, ["/api/v1/*: answered 200 OK to /api/v1/no/such/route, not 401"]);
    // The scope /api has none of its own, and falls back on the app's.
    let found = findings(audit_of(routes), app(to_guarded, to_open)).await;
    let expected = [
        "/api/*: answered 200 OK to /api/no-such-route, not 401",
        "/*: answered 200 OK to /no/such/route, not 401",
    ];
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(expected.iter().all(|line| found.iter().any(|found| found == line)), "{found:?}");
    audit_of(routes)
        .allow(["/api/*", "/*"])
        .sample("/*", "/x/y")
        .assert_all_guarded(app(to_guarded, to_open))
        .await;
    audit_of(routes).allow(["/api/*", "/*"]).assert_all_guarded(app(to_guarded, to_open)).await;
}

#[actix_rt::test]
async fn a_route_that_matches_every_name_is_not_mistaken_for_a_default_service() {
    let page = web::resource("/{page}").route(web::get().to(open));
    audit_of(&["GET /{page}"]).allow(["GET /{page}"]).assert_all_guarded(App::new().service(page)).await;
}

#[actix_rt::test]
async fn an_error_from_a_middleware_counts_as_the_response_that_it_becomes() {
    async fn refused(error: Error) -> Result<ServiceResponse, Error> {
        Err(error)
    }
    let app = app().wrap_fn(|_, _| refused(actix_web::error::ErrorForbidden("no")));
    let found = audit_of(ROUTES).findings(app).await;
    assert!(!found.is_empty());
    for finding in found {
        assert!(matches!(finding, Finding::Answered { status: StatusCode::FORBIDDEN, .. }), "{finding}");
    }
    let app = self::app().wrap_fn(|_, _| refused(actix_web::error::ErrorUnauthorized("no")));
    audit_of(ROUTES).assert_all_guarded(app).await;
}

async fn pays(_: Require<SecondFactor>) -> &'static str {
    "paid"
}

async fn closes(_: Require<SignedInWithin<10>>, _: Path<u32>) -> &'static str {
    "closed"
}

#[actix_rt::test]
async fn a_route_that_does_not_ask_an_old_sign_in_for_more_is_named() {
    let mint = Mint::new();
    let step_up =
        ["POST /payments", "DELETE /accounts/{id}", "PUT /keys/{id}", "GET /moved", "PATCH /payments"];
    let app = || {
        App::new()
            .app_data(mint.guard())
            .service(web::resource("/payments").route(web::post().to(pays)))
            .service(web::resource("/accounts/{id}").route(web::delete().to(closes)))
            .service(web::resource("/keys/{id}").route(web::put().to(read)))
            .service(web::resource("/notes").route(web::get().to(guarded)))
    };
    let listed = ["POST /payments", "DELETE /accounts/{id}", "PUT /keys/{id}", "GET /notes"];
    let audit = |bearer| audit_of(&listed).step_up(bearer, step_up);
    let old = mint.token_for("ada").signed_in_ago(Duration::hours(1)).bearer();
    let found = findings(audit(old), app()).await;
    // The policy of the first two asks for more; the third refuses a path for another reason, and the fourth is not there.
    let expected = [
        "GET /moved: the app has no such route",
        "PUT /keys/{id}: answered 404 Not Found to /keys/%FF, not the 401 that asks to sign in again",
        "PATCH /payments: answered 405 Method Not Allowed to /payments, not the 401 that asks to sign in again",
    ];
    assert_eq!(found, expected);

    // A sign-in that is enough passes the policies: what is asked for more is told by the token alone.
    let new = mint.token_for("ada").with_second_factor().bearer();
    let found = findings(audit(new), app()).await;
    assert!(found[1].starts_with("POST /payments: answered 200 OK"), "{found:?}");
    assert_eq!(found.len(), 5, "{found:?}");
}

#[test]
fn a_route_without_a_method_cannot_be_named_as_one_that_asks_for_more() {
    let bearer = Mint::new().token_for("ada").bearer();
    let panic = std::panic::catch_unwind(|| Audit::new().step_up(bearer, ["/payments"])).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert_eq!(message, "\"/payments\" names no method; \"DELETE /payments\" does");
}

#[actix_rt::test]
async fn an_app_without_routes_does_not_pass() {
    assert_eq!(audit_of(&[]).findings(App::new()).await, [Finding::NoRoutes]);
}

#[actix_rt::test]
#[should_panic(expected = "tests/api/audit.rs")]
async fn a_failed_audit_names_its_line() {
    audit_of(ROUTES).assert_all_guarded(app()).await;
}

#[test]
fn a_malformed_route_panics_and_is_not_taken_for_every_method_of_its_path() {
    for text in ["about", "", "GET", "GET about", "GET,POST /about", " /about", "GET  /about"] {
        let panic = std::panic::catch_unwind(|| Audit::new().allow([text])).unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains("is not a route; \"GET /notes\" is one"), "{text:?}: {message}");
    }
}

#[actix_rt::test]
async fn the_server_itself_passes_with_its_public_routes() {
    let server = TestApp::with(crate::mail::every_route).await;
    let app = || App::new().wrap(server.server.envelope()).configure(server.server.configure());
    let mut routes = Vec::new();
    let mut public = Vec::new();
    for slash in ["", "/"] {
        for (path, methods) in crate::manners::ROUTES {
            for method in methods.split(", ") {
                routes.push(format!("{method} {path}{slash}"));
            }
            let guarded = ["/auth/logout-all", "/auth/verify", "/auth/email/resend"];
            let needs_token = path.starts_with("/user") || guarded.contains(path);
            if *path == "/auth/verify" {
                // It has no OPTIONS.
            } else if needs_token {
                public.push(format!("OPTIONS {path}{slash}"));
            } else {
                public.push(format!("{path}{slash}"));
            }
        }
    }
    let routes: Vec<_> = routes.iter().map(String::as_str).collect();
    Audit::new().routes(&routes).allow(&public).assert_all_guarded(app()).await;

    for open in &public {
        let others = public.iter().filter(|public| *public != open);
        let found = findings(Audit::new().routes(&routes).allow(others), app()).await;
        assert!(
            !found.is_empty() && found.iter().all(|line| line.contains(open.as_str())),
            "{open}: {found:?}"
        );
    }
}
