//! Every bad credential on every guarded route.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Duration;
use hallpass::token::{Algorithm, Grant, Issuer, KeyMaterial, SigningKey};
use serde_json::{Value, json};

use crate::app::{EMAIL, PASSWORD, TestApp};
use crate::session::Pair;

/// Some paths that need a token. The audit in `audit.rs` covers all.
pub const GUARDED_PATHS: &[&str] = &["/user", "/user/", "/user/password"];

struct Case {
    name: &'static str,
    /// The values of the header `Authorization`.
    headers: Vec<String>,
    error: &'static str,
}

fn case(name: &'static str, header: impl Into<String>, error: &'static str) -> Case {
    Case { name, headers: vec![header.into()], error }
}

/// The parts of a compact JWS, to change them.
struct Parts {
    header: Value,
    claims: Value,
    signature: String,
}

impl Parts {
    fn of(token: &str) -> Self {
        let mut parts = token.split('.');
        let mut json =
            || serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts.next().unwrap()).unwrap()).unwrap();
        let (header, claims) = (json(), json());
        Self { header, claims, signature: parts.next().unwrap().to_owned() }
    }

    fn with_header(mut self, name: &str, value: Value) -> String {
        self.header[name] = value;
        self.join()
    }

    fn with_claim(mut self, name: &str, value: Value) -> String {
        self.claims[name] = value;
        self.join()
    }

    fn join(&self) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.{}", part(&self.header), part(&self.claims), self.signature)
    }
}

/// Missing, malformed, forged and expired credentials.
async fn bad_credentials(app: &TestApp) -> Vec<Case> {
    let good = app.token().await;
    let genuine = || Parts::of(&good);
    let bearer = |token: &str| format!("Bearer {token}");

    let claims = genuine().claims;
    let (issuer, audience) = (claims["iss"].as_str().unwrap(), claims["aud"].as_str().unwrap());
    let foreign_key =
        |algorithm| SigningKey::with_kid("elsewhere", algorithm, &KeyMaterial::generate(algorithm).unwrap());
    let foreign = |key: &SigningKey| {
        let grant = Grant { subject: claims["sub"].as_str().unwrap().to_owned(), ..Grant::default() };
        Issuer::new(issuer, audience, Duration::hours(1)).issue(key, &grant, app.clock.now()).unwrap().token
    };
    let elsewhere = foreign(&foreign_key(Algorithm::Hs256).unwrap());
    let material = KeyMaterial::generate(Algorithm::EdDsa).unwrap();
    let other_installation = foreign(&SigningKey::new(Algorithm::EdDsa, &material).unwrap());

    // The public key used as a shared secret, the classic algorithm confusion (RFC 8725 §2.1).
    let public = good.split('.').next().unwrap().as_bytes().repeat(2);
    let confused_key = SigningKey::with_kid(
        genuine().header["kid"].as_str().unwrap(),
        Algorithm::Hs256,
        &KeyMaterial::from_bytes(public),
    );
    let confused = foreign(&confused_key.unwrap());

    let mut flipped = good.clone().into_bytes();
    let last = flipped.len() - 10;
    flipped[last] = if flipped[last] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();

    let mut unsigned = genuine();
    unsigned.header["alg"] = json!("none");
    unsigned.signature.clear();

    let invalid = "token_invalid";
    let missing = "token_missing";
    let mut cases = vec![
        Case { name: "no header", headers: vec![], error: missing },
        case("an empty header", "", missing),
        case("the scheme alone", "Bearer", missing),
        case("another scheme", "Basic YWRhOnBhc3M=", missing),
        case("another scheme with a good token", format!("Token {good}"), missing),
        case("a lone word", "opensesame", missing),
        case("a word that is no token", "Bearer opensesame", invalid),
        case("two words", format!("Bearer {good} {good}"), invalid),
        case("a comma", format!("Bearer {good},"), invalid),
        case("one part short", bearer(good.rsplit_once('.').unwrap().0), invalid),
        case("one part more", bearer(&format!("{good}.e30")), invalid),
        case("no signature", bearer(&format!("{}.", good.rsplit_once('.').unwrap().0)), invalid),
        case("a changed signature", bearer(&flipped), invalid),
        case("alg none", bearer(&unsigned.join()), invalid),
        case("alg of another family", bearer(&genuine().with_header("alg", json!("HS256"))), invalid),
        case("the public key as a secret", bearer(&confused), invalid),
        case("an unknown kid", bearer(&genuine().with_header("kid", json!("elsewhere"))), invalid),
        case(
            "a key of its own in jwk",
            bearer(&genuine().with_header("jwk", json!({"kty": "OKP"}))),
            invalid,
        ),
        case(
            "a key elsewhere in jku",
            bearer(&genuine().with_header("jku", json!("https://evil.example"))),
            invalid,
        ),
        case(
            "a certificate in x5u",
            bearer(&genuine().with_header("x5u", json!("https://evil.example"))),
            invalid,
        ),
        case("an unknown crit", bearer(&genuine().with_header("crit", json!(["exp"]))), invalid),
        case("another typ", bearer(&genuine().with_header("typ", json!("JWT"))), invalid),
        case("another subject", bearer(&genuine().with_claim("sub", json!("somebody"))), invalid),
        case("a later expiry", bearer(&genuine().with_claim("exp", json!(99_999_999_999_i64))), invalid),
        case("another installation's key", bearer(&other_installation), invalid),
        case("an HS256 token of another issuer", bearer(&elsewhere), invalid),
        case("over 8 KiB", bearer(&format!("{}.{}.x", "a".repeat(4096), "b".repeat(4096))), invalid),
        Case { name: "two good headers", headers: vec![bearer(&good), bearer(&good)], error: invalid },
        Case {
            name: "a good and an empty header",
            headers: vec![bearer(&good), String::new()],
            error: invalid,
        },
    ];

    let early = {
        app.clock.advance(Duration::minutes(5));
        let token = app.token().await;
        app.clock.advance(Duration::minutes(-5));
        token
    };
    cases.push(case("from five minutes ahead", bearer(&early), invalid));
    let expired = {
        app.clock.advance(Duration::hours(-1));
        let token = app.token().await;
        app.clock.advance(Duration::hours(1));
        token
    };
    cases.push(case("issued an hour ago", bearer(&expired), "token_expired"));
    cases.push(case("issued an hour ago, bare", expired, "token_expired"));
    cases
}

#[actix_rt::test]
async fn every_guarded_route_refuses_every_bad_credential() {
    let app = TestApp::new().await;
    for path in GUARDED_PATHS {
        for case in bad_credentials(&app).await {
            let request =
                case.headers.iter().fold(app.get(path), |request, value| request.authorization(value));
            request.send().await.expect_refused(case.error, &format!("{path}: {}", case.name));
        }
    }
}

#[actix_rt::test]
async fn the_scheme_is_accepted_in_any_case_with_any_spaces_and_left_out() {
    let app = TestApp::new().await;
    let token = app.token().await;
    for prefix in ["Bearer ", "bearer ", "BEARER ", "bEARER    ", ""] {
        app.get("/user/").authorization(&format!("{prefix}{token}")).send().await.expect_data(prefix);
    }
}

#[actix_rt::test]
async fn a_bare_token_is_missing_where_the_setting_turns_it_off() {
    let app = TestApp::with(|settings| settings.token.accept_bare = false).await;
    let token = app.token().await;
    app.get("/user/").authorization(&token).send().await.expect_refused("token_missing", "bare");
    app.get_user(&token).await.expect_data("with its scheme");
}

#[actix_rt::test]
async fn a_token_in_the_query_or_in_a_form_is_ignored() {
    let app = TestApp::new().await;
    let token = app.token().await;
    app.get(&format!("/user/?access_token={token}")).send().await.expect_refused("token_missing", "query");
    let form = format!("access_token={token}");
    let request = app.get("/user/").body("application/x-www-form-urlencoded", form);
    request.send().await.expect_refused("token_missing", "form");
}

#[actix_rt::test]
async fn a_token_from_a_clock_that_is_60_s_ahead_is_accepted() {
    let app = TestApp::new().await;
    app.clock.advance(Duration::seconds(60));
    let token = app.token().await;
    app.clock.advance(Duration::seconds(-60));
    app.get_user(&token).await.expect_data("60 s ahead");
}

#[actix_rt::test]
async fn the_claims_and_the_header_are_those_of_the_contract() {
    let app = TestApp::new().await;
    let parts = Parts::of(&app.token().await);
    let names = |value: &Value| {
        let mut names: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(names(&parts.header), "alg kid typ");
    assert_eq!(parts.header["alg"], "EdDSA");
    assert_eq!(parts.header["typ"], "at+jwt");
    assert_eq!(
        names(&parts.claims),
        "amr aud auth_time email email_verified exp iat iss jti nbf roles sid sub"
    );
    assert!(parts.claims["iss"].as_str().unwrap().starts_with("urn:uuid:"));
    assert_eq!(parts.claims["aud"], parts.claims["iss"]);
    assert_eq!(parts.claims["exp"].as_i64().unwrap() - parts.claims["iat"].as_i64().unwrap(), 3600);
    assert_eq!(parts.claims["nbf"], parts.claims["iat"]);
    assert_eq!(parts.claims["roles"], json!(["editor"]));
}

#[actix_rt::test]
async fn the_time_and_method_of_the_sign_in_stay_through_a_refresh_and_are_new_with_a_new_password() {
    let app = TestApp::new().await;
    let began = app.clock.now().timestamp();
    let first = Pair::of(&app.login(EMAIL, PASSWORD).await);
    app.pass(Duration::minutes(11)).await;
    let second = Pair::of(&app.refresh(&first.refresh).await);
    let repeated = Pair::of(&app.refresh(&first.refresh).await);
    for (what, access) in
        [("first", first.access), ("second", second.access), ("repeated", repeated.access.clone())]
    {
        let claims = Parts::of(&access).claims;
        assert_eq!((&claims["auth_time"], &claims["amr"]), (&json!(began), &json!(["pwd"])), "{what}");
    }
    let body = json!({"current_password": PASSWORD, "new_password": "another horse battery"});
    let changed = app.post("/user/password").authorization(&format!("Bearer {}", repeated.access)).json(body);
    let claims = Parts::of(&Pair::of(&changed.send().await).access).claims;
    assert_eq!(claims["auth_time"], json!(app.clock.now().timestamp()));
}

#[actix_rt::test]
async fn a_session_of_a_server_before_auth_time_was_signed_in_at_its_beginning_by_password() {
    let app = TestApp::new().await;
    let began = app.clock.now().timestamp();
    let pair = Pair::of(&app.login(EMAIL, PASSWORD).await);
    app.database.execute("update sessions set auth_time = null, amr = null").await;
    app.pass(Duration::minutes(11)).await;
    let claims = Parts::of(&Pair::of(&app.refresh(&pair.refresh).await).access).claims;
    assert_eq!((&claims["auth_time"], &claims["amr"]), (&json!(began), &json!(["pwd"])));
}

#[actix_rt::test]
async fn each_algorithm_of_the_settings_signs_tokens_that_are_accepted() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Hs256] {
        let app = TestApp::with(|settings| settings.token.algorithm = algorithm).await;
        let token = app.token().await;
        assert_eq!(Parts::of(&token).header["alg"], algorithm.to_string());
        app.get_user(&token).await.expect_data("its own token");
    }
}

#[actix_rt::test]
async fn another_installation_with_the_same_names_refuses_the_token() {
    let named = || {
        TestApp::with(|settings| {
            settings.token.issuer = Some("https://id.example".into());
            settings.token.audience = Some("https://api.example".into());
        })
    };
    let (one, other) = (named().await, named().await);
    let token = one.token().await;
    one.get_user(&token).await.expect_data("at home");
    other.get_user(&token).await.expect_refused("token_invalid", "elsewhere");
}
