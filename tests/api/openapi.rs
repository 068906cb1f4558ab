//! Compares the OpenAPI document with the server: every answer that a test gets through `TestApp` is checked against
//! it, and its routes must be those of the app.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use actix_web::http::{Method, StatusCode};
use hallpass::server::http::openapi;
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::admin::ADMIN;
use crate::app::{EMAIL, PASSWORD, Reply, TestApp};
use crate::mail::every_route;
use crate::manners::ROUTES;
use crate::process::Workplace;

/// The document, and its compiled schemas.
struct Document {
    json: Value,
    /// By path, method, status and media type.
    validators: BTreeMap<[String; 4], Validator>,
}

static DOCUMENT: LazyLock<Document> = LazyLock::new(Document::read);

/// The failures whose message depends on the request.
const MESSAGES_VARY: [&str; 2] = ["json_malformed", "request_invalid"];

const REQUESTS: &str = "tests/postman/hallpass.http";
const COLLECTION: &str = "tests/postman/hallpass.postman_collection.json";
const PAGE: &str = "docs/api.md";

/// Files that pages load. They are not part of the API.
const PAGES_FILES: &[&str] = &["/docs/{file}", "/client/{file}", "/console/{file}", "/"];

impl Document {
    fn read() -> Self {
        let json: Value = serde_json::from_str(openapi::json()).unwrap();
        let mut components = json["components"].clone();
        for schema in components["schemas"].as_object_mut().unwrap().values_mut() {
            // A client may meet fields it does not know; our tests may not.
            schema["additionalProperties"] = json!(false);
        }
        let mut validators = BTreeMap::new();
        for (path, method, operation) in operations(&json) {
            for (status, response) in operation["responses"].as_object().unwrap() {
                for (media_type, content) in response["content"].as_object().into_iter().flatten() {
                    let schema = json!({"allOf": [content["schema"]], "components": components});
                    let schema = if content["schema"].is_null() { json!(true) } else { schema };
                    let validator = jsonschema::options().should_validate_formats(true).build(&schema);
                    let key = [path, method, status, media_type].map(str::to_owned);
                    validators.insert(key, validator.unwrap());
                }
            }
        }
        Self { json, validators }
    }

    /// Returns the path in the document that matches a request's path.
    fn path_of(&self, asked: &str) -> Option<&str> {
        let paths = self.json["paths"].as_object().unwrap();
        paths.keys().map(String::as_str).find(|path| is_instance(path, asked))
    }
}

fn is_instance(pattern: &str, path: &str) -> bool {
    let segments = |path| str::trim_end_matches(path, '/').split('/');
    segments(pattern).count() == segments(path).count()
        && segments(pattern).zip(segments(path)).all(|(own, asked)| own.starts_with('{') || own == asked)
}

fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    document["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        item.as_object()
            .unwrap()
            .iter()
            .map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

/// Fails if the document does not have this answer to a request with `method` to `path`.
#[track_caller]
pub fn hold_against_document(method: &Method, path: &str, reply: &Reply) {
    let what = format!("{method} {path}: {} {}", reply.status, reply.text());
    // HEAD is answered as GET is; actix leaves the body away only when it is sent.
    let name = if method == Method::HEAD { "get".to_owned() } else { method.as_str().to_lowercase() };
    let documented = DOCUMENT.path_of(path);
    let operation = documented.map(|path| &DOCUMENT.json["paths"][path][&name]).filter(|it| it.is_object());
    let (Some(path), Some(operation)) = (documented, operation) else {
        // What the document says once for all paths.
        let is_file = PAGES_FILES.iter().any(|pattern| is_instance(pattern, path));
        let is_guarded = path.starts_with("/user") || path.starts_with("/admin");
        let expected: &[u16] = match (method, documented, is_guarded) {
            (&Method::OPTIONS, ..) => &[200, 204, 400, 404, 405],
            _ if is_file => &[200, 304, 404, 405],
            (_, Some(_), false) => &[405],
            (_, Some(_), true) => &[405, 401, 503],
            (_, None, false) => &[404],
            (_, None, true) => &[404, 401],
        };
        assert!(expected.contains(&reply.status.as_u16()), "undocumented: {what}");
        return;
    };
    if reply.status == StatusCode::NOT_MODIFIED {
        // Any GET may be conditional (RFC 9110 §13).
        assert!(reply.body.is_empty() && name == "get", "{what}");
        return;
    }
    let status = reply.status.as_str();
    let response = &operation["responses"][status];
    assert!(response.is_object(), "the document does not know this status: {what}");
    let Some(media_type) = reply.header("content-type") else {
        assert!(reply.body.is_empty() && response["content"].is_null(), "a body of no type: {what}");
        return;
    };
    let key = [path, &name, status, media_type].map(str::to_owned);
    let validator = DOCUMENT.validators.get(&key);
    let validator =
        validator.unwrap_or_else(|| panic!("the document does not know {media_type} here: {what}"));
    if media_type.ends_with("json") {
        let errors: Vec<_> = validator.iter_errors(&reply.json()).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "not as the document says: {errors:?}: {what}");
    }
    for header in response["headers"].as_object().into_iter().flatten().map(|(name, _)| name) {
        // There is no `Retry-After` for a database: the time is unknown.
        let is_unavailable = reply.status == 503 && reply.text().contains("\"unavailable\"");
        // Of the reasons for a 403 one has a challenge.
        let is_unchallenged = reply.status == 403 && !reply.text().contains("\"role_missing\"");
        assert!(is_unavailable || is_unchallenged || reply.header(header).is_some(), "no {header}: {what}");
    }
    if reply.status.is_client_error() || reply.status.is_server_error() {
        let body = reply.json();
        let error = body["error"].as_str().unwrap();
        let example = &response["content"]["application/json"]["examples"][error]["value"];
        assert!(example.is_object(), "the document does not know this failure: {what}");
        assert_eq!(body["code"], example["code"], "{what}");
        if !MESSAGES_VARY.contains(&error) && path != "/health/ready" {
            assert_eq!(body["message"], example["message"], "{what}");
        }
        assert_eq!(body["fields"].is_object(), status == "422", "{what}");
    }
}

#[test]
fn every_route_is_in_the_document_with_its_methods_and_nothing_else_is() {
    let mut documented = BTreeMap::<_, BTreeSet<_>>::new();
    for (path, method, _) in operations(&DOCUMENT.json) {
        documented.entry(path.trim_end_matches('/')).or_default().insert(method.to_uppercase());
    }
    let expected: BTreeMap<_, BTreeSet<_>> = ROUTES
        .iter()
        .filter(|(path, _)| !PAGES_FILES.contains(path))
        .map(|(path, methods)| {
            let methods = methods.split(", ").filter(|method| !["HEAD", "OPTIONS"].contains(method));
            (*path, methods.map(str::to_owned).collect())
        })
        .collect();
    assert_eq!(documented, expected);
}

#[cfg(feature = "testing-introspection")]
#[actix_rt::test]
async fn the_routes_are_those_that_actix_has() {
    use actix_web::dev::Service;
    use actix_web::introspection::{IntrospectionNode, IntrospectionTree, ResourceType};
    use actix_web::{App, test, web};

    fn walk(node: &IntrospectionNode, paths: &mut BTreeMap<String, BTreeSet<String>>) {
        if matches!(node.kind, ResourceType::Resource) {
            let path = node.full_path.trim_end_matches('/').to_owned();
            paths.entry(path).or_default().extend(node.methods.iter().map(Method::to_string));
        }
        for child in &node.children {
            walk(child, paths);
        }
    }

    let server = TestApp::with(every_route).await;
    let found = std::rc::Rc::new(std::cell::RefCell::new(BTreeMap::new()));
    let seen = std::rc::Rc::clone(&found);
    let app = App::new().configure(server.server.configure()).wrap_fn(move |request, service| {
        walk(&request.app_data::<web::Data<IntrospectionTree>>().unwrap().root, &mut seen.borrow_mut());
        service.call(request)
    });
    test::call_service(&test::init_service(app).await, test::TestRequest::default().to_request()).await;
    let expected: BTreeMap<_, BTreeSet<_>> = ROUTES
        .iter()
        .map(|(path, methods)| {
            let methods = methods.split(", ").filter(|method| *method != "OPTIONS");
            ((*path).to_owned(), methods.map(str::to_owned).collect())
        })
        .collect();
    assert_eq!(found.take(), expected);
}

#[actix_rt::test]
async fn the_served_and_the_printed_document_are_the_same() {
    let app = TestApp::new().await;
    for path in ["/openapi.json", "/openapi.json/"] {
        let served = app.get(path).send().await;
        assert_eq!(served.status, StatusCode::OK);
        assert_eq!(served.header("content-type"), Some("application/json"));
        let printed = Workplace::new().run(&["openapi"], "");
        assert_eq!(printed.expect(0, "hallpass openapi").out.trim_end(), served.text());
    }
    assert_eq!(DOCUMENT.json["openapi"], "3.1.0");
    assert_eq!(DOCUMENT.json["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn every_example_matches_its_schema() {
    let components = &DOCUMENT.json["components"];
    let mut examples = 0;
    for (path, method, operation) in operations(&DOCUMENT.json) {
        let bodies = operation["requestBody"]["content"].as_object().into_iter().flatten();
        let responses = operation["responses"].as_object().unwrap().values();
        let answers = responses.flat_map(|it| it["content"].as_object().into_iter().flatten());
        for (_, content) in bodies.chain(answers) {
            if content["schema"].is_null() {
                continue;
            }
            let schema = json!({"allOf": [content["schema"]], "components": components});
            let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
            let several = content["examples"].as_object().into_iter().flatten().map(|(_, it)| &it["value"]);
            for example in content.get("example").into_iter().chain(several) {
                let errors: Vec<_> = validator.iter_errors(example).map(|error| error.to_string()).collect();
                assert!(errors.is_empty(), "{method} {path}: {example}: {errors:?}");
                examples += 1;
            }
        }
    }
    assert!(examples > 80, "only {examples} examples");
}

#[actix_rt::test]
async fn every_json_route_accepts_what_its_schema_accepts() {
    let app = TestApp::with(every_route).await;
    app.admin().await;
    app.add_user("other@example.com", PASSWORD).await;
    let other = app.users().find("other@example.com").await.unwrap().unwrap().id.to_string();
    let mut fields = 0;
    for (path, method, operation) in operations(&DOCUMENT.json) {
        let content = &operation["requestBody"]["content"]["application/json"];
        let Some(reference) = content["schema"]["$ref"].as_str() else { continue };
        let schema = DOCUMENT.json.pointer(reference.trim_start_matches('#')).unwrap();
        let send = async |body: Vec<u8>| {
            let email = if path.starts_with("/admin") { ADMIN } else { EMAIL };
            let signed_in = app.login(email, PASSWORD).await.expect_data("sign-in");
            let bearer = format!("Bearer {}", signed_in["token"].as_str().unwrap());
            let method = method.to_uppercase().parse().unwrap();
            app.ask(method, &path.replace("{id}", &other))
                .authorization(&bearer)
                .body("application/json", body)
                .send()
                .await
        };
        let example = content["example"].as_object().unwrap();

        for (field, expected) in schema["properties"].as_object().unwrap() {
            let what = format!("{method} {path}: {field}");
            assert!(expected["type"].is_string(), "{what}: the schema allows one type, which is not null");
            let other_type = if expected["type"] == "array" { json!("text") } else { json!([]) };
            let another = if expected["type"] == "object" { json!("text") } else { json!({}) };
            for wrong in [json!(null), other_type, another] {
                let mut body = example.clone();
                body.insert(field.clone(), wrong.clone());
                let reply = send(serde_json::to_vec(&body).unwrap()).await;
                reply.expect_failure(400, "json_malformed", &format!("{what}: {wrong}"));
            }
            let mut body = example.clone();
            body.remove(field);
            let reply = send(serde_json::to_vec(&body).unwrap()).await;
            let required = schema["required"].as_array().into_iter().flatten();
            // A password or `mail`, a code or a recovery code, a token or a code: no schema without a choice says that.
            let is_either = (path == "/admin/users/{id}/password" && field == "new_password")
                || (path == "/auth/second-factor" && field == "code")
                || (path == "/auth/link/redeem" && ["email", "code"].contains(&field.as_str()));
            if is_either || required.into_iter().any(|name| name == field) {
                reply.expect_failure(422, "validation_failed", &format!("{what}: missing"));
                assert!(reply.json()["fields"][field].is_array(), "{what}: {}", reply.text());
            } else {
                let is_read = ![400, 422].contains(&reply.status.as_u16());
                assert!(is_read || reply.text().contains("link_invalid"), "{what}: {}", reply.text());
            }
            fields += 1;
        }

        let text = serde_json::to_vec(example).unwrap();
        for unread in [&b",\"unread\":\"\xff\"}"[..], b",\"unread\":[{\"\xff\":1}]}"] {
            let body = [&text[..text.len() - 1], unread].concat();
            let what = format!("{method} {path}: not UTF-8 in an unknown field");
            send(body).await.expect_failure(400, "json_malformed", &what);
        }
    }
    assert!(fields > 12, "only {fields} fields");
}

#[test]
fn every_failure_of_a_route_is_in_the_document() {
    let mut listed = BTreeSet::new();
    for (_, _, operation) in operations(&DOCUMENT.json) {
        for response in operation["responses"].as_object().unwrap().values() {
            let examples = response["content"]["application/json"]["examples"].as_object();
            listed.extend(examples.into_iter().flatten().map(|(slug, _)| slug.as_str()));
        }
    }
    let expected = [
        "already_enrolled",
        "body_too_large",
        "credentials_invalid",
        "csrf_rejected",
        "email_taken",
        "email_unverified",
        "internal",
        "json_malformed",
        "last_admin",
        "link_invalid",
        "not_found",
        "overloaded",
        "password_wrong",
        "refresh_invalid",
        "registration_closed",
        "request_invalid",
        "role_missing",
        "second_factor_invalid",
        "second_factor_required",
        "second_factor_unenrolled",
        "sign_in_stale",
        "token_expired",
        "token_invalid",
        "token_missing",
        "token_revoked",
        "too_many_attempts",
        "unavailable",
        "unsupported_media_type",
        "validation_failed",
    ];
    assert_eq!(listed.into_iter().collect::<Vec<_>>(), expected);
    assert!(openapi::json().contains("method_not_allowed"), "a 405 is said once, for all paths");
}

#[actix_rt::test]
async fn the_page_that_shows_the_document_loads_nothing_from_elsewhere() {
    let app = TestApp::new().await;
    let page = app.get("/docs").send().await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let text = page.text();
    let mut loaded = 0;
    for attribute in ["src=\"", "href=\""] {
        for address in text.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap()) {
            if address == "data:," {
                continue;
            }
            assert!(address.starts_with('/') && !address.starts_with("//"), "{address}");
            let file = app.get(address).send().await;
            assert_eq!(file.status, StatusCode::OK, "{address}");
            assert!(!file.body.is_empty(), "{address}");
            loaded += 1;
        }
    }
    assert_eq!(loaded, 5, "two scripts, two styles and the document");
    assert!(!text.contains("<style") && !text.contains(" style=") && !text.contains(" on"), "nothing inline");
    let unknown = app.get("/docs/swagger-initializer.js").send().await;
    unknown.expect_failure(404, "not_found", "what is not loaded");
}

#[actix_rt::test]
async fn only_the_page_of_the_document_has_its_content_security_policy() {
    let app = TestApp::new().await;
    for path in ["/docs", "/docs/", "/docs/docs.js", "/docs/swagger-ui-bundle.js"] {
        let reply = app.get(path).send().await;
        let policy = reply.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
    for path in ["/openapi.json", "/health/live", "/user/"] {
        let reply = app.get(path).send().await;
        let policy = reply.header("content-security-policy").unwrap_or_default();
        assert!(!policy.contains("data:"), "{path}: {policy}");
    }
}

#[test]
fn the_page_of_routes_lists_every_operation() {
    let page = include_str!("../../docs/routes.md");
    for (path, method, _) in operations(&DOCUMENT.json) {
        let row = format!("| `{} {path}` |", method.to_uppercase());
        assert!(page.lines().any(|line| line.starts_with(&row)), "docs/routes.md lacks a row for {row}");
    }
}

#[test]
fn the_postman_collection_the_http_file_and_docs_api_are_up_to_date() {
    let printed = |form| Workplace::new().run(&["openapi", form], "").expect(0, form).out.clone();
    let file = |path| std::fs::read_to_string(path).unwrap();
    let collection: Value = serde_json::from_str(&printed("--postman")).unwrap();
    let kept: Value = serde_json::from_str(&file(COLLECTION)).unwrap();
    assert!(collection == kept, "hallpass openapi --postman >{COLLECTION}");
    assert!(printed("--markdown") == file(PAGE), "hallpass openapi --markdown >{PAGE}");
    assert!(printed("--http") == file(REQUESTS), "hallpass openapi --http >{REQUESTS}");
    Workplace::new().run(&["openapi", "--postman", "--markdown"], "").expect(2, "two forms at once");
}

#[test]
fn the_collection_has_every_request_and_every_variable() {
    fn requests<'a>(items: &'a Value, found: &mut BTreeSet<(&'a str, String)>) {
        for item in items.as_array().unwrap() {
            match item.get("request") {
                Some(request) => {
                    let path = request["url"]["raw"].as_str().unwrap().replace("{{base_url}}", "");
                    found.insert((request["method"].as_str().unwrap(), path.replace(":id", "{id}")));
                }
                None => requests(&item["item"], found),
            }
        }
    }

    let text = std::fs::read_to_string(COLLECTION).unwrap();
    let collection: Value = serde_json::from_str(&text).unwrap();
    for folder in collection["item"].as_array().unwrap() {
        let mut found = BTreeSet::new();
        requests(&folder["item"], &mut found);
        for (path, method, _) in operations(&DOCUMENT.json) {
            let request = (&*method.to_uppercase(), path.to_owned());
            assert!(found.contains(&request), "{} lacks {request:?}", folder["name"]);
        }
    }
    let known: Vec<_> =
        collection["variable"].as_array().unwrap().iter().map(|it| it["key"].as_str().unwrap()).collect();
    for variable in text.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap()) {
        let is_set = text.contains(&format!(".set('{variable}'"));
        assert!(known.contains(&variable) || is_set, "nothing sets {variable}");
    }
}

#[actix_rt::test]
async fn the_server_has_the_collection_with_its_own_address() {
    let app = TestApp::new().await;
    let reply = app.get("/postman.json").header("host", "id.example:8443").send().await;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(
        reply.header("content-disposition"),
        Some("attachment; filename=\"hallpass.postman_collection.json\"")
    );
    let mut sent = reply.json();
    assert_eq!(sent["variable"][0]["value"], "http://id.example:8443");
    sent["variable"][0]["value"] = "http://127.0.0.1:8080".into();
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(COLLECTION).unwrap()).unwrap();
    assert!(sent == kept, "hallpass openapi --postman >{COLLECTION}");
    // What would not be a part of JSON is no host either.
    for host in ["\"x", "a b", "x\\"] {
        let reply = app.get("/postman.json").header("host", host).send().await;
        assert_eq!(reply.json()["variable"][0]["value"], "http://127.0.0.1:8080", "{host}");
    }
    let app = TestApp::with(|settings| settings.server.public_url = Some("https://id.example/".into())).await;
    let sent = app.get("/postman.json").send().await.json();
    assert_eq!(sent["variable"][0]["value"], "https://id.example", "server.public_url counts more");
}
