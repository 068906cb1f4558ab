//! Passkeys, with an authenticator in software: enrolment, sign-in alone and as a second factor, and what is refused.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Duration;
use ciborium::Value as Cbor;
use ciborium::cbor;
use futures_util::future::join_all;
use hallpass::server::AuthServer;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{EMAIL, PASSWORD, Reply, TestApp};
use crate::session::Pair;
use crate::test_database::TestDatabase;

/// The flags of authenticator data: user present, user verified, backup eligible, backed up, with a credential.
const UP: u8 = 0x01;
const UV: u8 = 0x04;
const BE: u8 = 0x08;
const BS: u8 = 0x10;
const AT: u8 = 0x40;

/// An authenticator in software (WebAuthn, level 3, §6), with one credential.
pub struct Authenticator {
    key: EcdsaKeyPair,
    id: Vec<u8>,
    party: String,
    origin: String,
    flags: u8,
    pub count: u32,
    user: Vec<u8>,
}

impl Authenticator {
    pub fn new() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        Self {
            key,
            id: Uuid::new_v4().as_bytes().to_vec(),
            party: "localhost".into(),
            origin: "http://localhost:8080".into(),
            flags: UP | UV,
            count: 0,
            user: vec![],
        }
    }

    fn client_data(&self, kind: &str, options: &Value) -> Vec<u8> {
        json!({"type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": false})
            .to_string()
            .into_bytes()
    }

    fn data(&self, flags: u8) -> Vec<u8> {
        let party = digest(&SHA256, self.party.as_bytes());
        [party.as_ref(), &[flags], &self.count.to_be_bytes()].concat()
    }

    /// What `navigator.credentials.create()` returns.
    fn create(&mut self, options: &Value) -> Value {
        self.user = URL_SAFE_NO_PAD.decode(options["user"]["id"].as_str().unwrap()).unwrap();
        let point = self.key.public_key().as_ref();
        let (x, y) = (Cbor::Bytes(point[1..33].to_vec()), Cbor::Bytes(point[33..].to_vec()));
        let key = cbor!({1 => 2, 3 => -7, -1 => 1, -2 => x, -3 => y}).unwrap();
        let mut data = self.data(self.flags | AT);
        data.extend([0; 16]);
        data.extend((self.id.len() as u16).to_be_bytes());
        data.extend(&self.id);
        ciborium::into_writer(&key, &mut data).unwrap();
        let object = cbor!({"fmt" => "none", "attStmt" => {}, "authData" => Cbor::Bytes(data)}).unwrap();
        let mut attestation = vec![];
        ciborium::into_writer(&object, &mut attestation).unwrap();
        self.response(json!({
            "clientDataJSON": URL_SAFE_NO_PAD.encode(self.client_data("webauthn.create", options)),
            "attestationObject": URL_SAFE_NO_PAD.encode(attestation),
            "transports": ["internal"],
        }))
    }

    /// What `navigator.credentials.get()` returns.
    pub fn get(&mut self, options: &Value) -> Value {
        if self.count > 0 {
            self.count += 1;
        }
        let (data, client_data) = (self.data(self.flags), self.client_data("webauthn.get", options));
        let signed = [&data[..], digest(&SHA256, &client_data).as_ref()].concat();
        let signature = self.key.sign(&SystemRandom::new(), &signed).unwrap();
        self.response(json!({
            "clientDataJSON": URL_SAFE_NO_PAD.encode(client_data),
            "authenticatorData": URL_SAFE_NO_PAD.encode(data),
            "signature": URL_SAFE_NO_PAD.encode(signature),
            "userHandle": URL_SAFE_NO_PAD.encode(&self.user),
        }))
    }

    fn response(&self, response: Value) -> Value {
        let id = URL_SAFE_NO_PAD.encode(&self.id);
        json!({"id": id, "rawId": id, "type": "public-key", "response": response, "clientExtensionResults": {}})
    }
}

impl TestApp {
    async fn creation_options(&self, token: &str) -> Value {
        let body = Some(json!({"password": PASSWORD}));
        self.act(token, "POST", "/user/passkeys/options", body).await.expect_data("options")
    }

    pub async fn add_passkey(&self, token: &str, authenticator: &mut Authenticator) -> Reply {
        let options = self.creation_options(token).await;
        let body = json!({"name": "Phone", "credential": authenticator.create(&options)});
        self.act(token, "POST", "/user/passkeys", Some(body)).await
    }

    /// Adds a passkey to [`EMAIL`]; returns a token of the session that added it.
    pub async fn with_passkey(&self, authenticator: &mut Authenticator) -> String {
        let pair = Pair::of(&self.login(EMAIL, PASSWORD).await);
        let added = self.add_passkey(&pair.access, authenticator).await;
        assert_eq!(added.status, 201, "{}", added.text());
        Pair::of(&self.refresh(&pair.refresh).await).access
    }

    pub async fn request_options(&self, body: Value) -> Value {
        self.post("/auth/passkey/options").json(body).send().await.expect_data("options")
    }

    pub async fn sign_in_by(&self, credential: Value) -> Reply {
        self.post("/auth/passkey").json(json!({"credential": credential})).send().await
    }
}

fn claims(reply: &Reply) -> Value {
    let data = reply.expect_data("signed in");
    let payload = data["token"].as_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[actix_rt::test]
async fn a_passkey_is_added_and_signs_in_without_an_address_as_both_factors() {
    let app = TestApp::new().await;
    let mut key = Authenticator::new();
    let pair = Pair::of(&app.login(EMAIL, PASSWORD).await);
    let options = app.creation_options(&pair.access).await;
    assert_eq!(options["rp"], json!({"id": "localhost", "name": "Hallpass"}));
    assert_eq!(options["attestation"], "none");
    let body = json!({"name": "Phone", "credential": key.create(&options)});
    let added = app.act(&pair.access, "POST", "/user/passkeys", Some(body.clone())).await;
    assert_eq!(added.status, 201, "{}", added.text());
    let passkey = added.json()["data"].take();
    assert_eq!(
        (&passkey["name"], &passkey["synced"], &passkey["last_used_at"]),
        (&json!("Phone"), &json!(false), &json!(null))
    );
    assert_eq!(app.get_user(&pair.access).await.expect_data("user")["second_factors"], json!(["passkey"]));

    let options = app.request_options(json!({})).await;
    assert_eq!(
        (&options["userVerification"], &options["allowCredentials"]),
        (&json!("required"), &json!([]))
    );
    let credential = key.get(&options);
    let signed_in = app.sign_in_by(credential.clone()).await;
    assert_eq!(claims(&signed_in)["amr"], json!(["hwk", "mfa"]));
    let again = app.sign_in_by(credential).await;
    again.expect_refused("second_factor_invalid", "a replayed assertion");
    let token = Pair::of(&signed_in).access;
    let again = app.act(&token, "POST", "/user/passkeys", Some(body)).await;
    again.expect_failure(401, "second_factor_invalid", "a replayed registration");
    let list = app.act(&token, "GET", "/user/passkeys", None).await.expect_data("passkeys");
    assert!(list[0]["last_used_at"].is_string(), "{list}");
}

#[actix_rt::test]
async fn a_passkey_is_the_second_factor_of_a_sign_in_by_password() {
    let app = TestApp::new().await;
    let mut key = Authenticator::new();
    key.flags = UP | BE | BS;
    app.with_passkey(&mut key).await;
    let asked = app.login(EMAIL, PASSWORD).await;
    asked.expect_refused("second_factor_required", "the right password");
    assert_eq!(asked.json()["methods"], json!(["passkey"]));
    let challenge = asked.json()["challenge"].as_str().unwrap().to_owned();
    let options = app.request_options(json!({"challenge": challenge})).await;
    let known =
        json!({"type": "public-key", "id": URL_SAFE_NO_PAD.encode(&key.id), "transports": ["internal"]});
    assert_eq!(options["allowCredentials"], json!([known]));
    assert_eq!(options["userVerification"], "discouraged");
    let answer = async |challenge: &str, credential: Value| {
        let body = json!({"challenge": challenge, "credential": credential});
        app.post("/auth/second-factor").json(body).send().await
    };
    let alone = app.request_options(json!({})).await;
    let other = answer(&challenge, key.get(&alone)).await;
    other.expect_refused("second_factor_invalid", "the challenge of another ceremony");
    let signed_in = answer(&challenge, key.get(&options)).await;
    assert_eq!(claims(&signed_in)["amr"], json!(["pwd", "hwk", "mfa"]));

    let options = app.request_options(json!({})).await;
    let unverified = app.sign_in_by(key.get(&options)).await;
    unverified.expect_refused("second_factor_invalid", "alone, without verification of the user");
    let unknown = app.post("/auth/passkey/options").json(json!({"challenge": "x"})).send().await;
    unknown.expect_refused("second_factor_invalid", "an unknown challenge");
}

#[actix_rt::test]
async fn the_passkey_of_another_user_is_no_second_factor() {
    let app = TestApp::new().await;
    let (mut adas, mut bobs) = (Authenticator::new(), Authenticator::new());
    app.with_passkey(&mut adas).await;
    app.add_user("bob@example.com", PASSWORD).await;
    let bob = Pair::of(&app.login("bob@example.com", PASSWORD).await).access;
    assert_eq!(app.add_passkey(&bob, &mut bobs).await.status, 201);
    let challenge = app.challenge().await;
    let options = app.request_options(json!({"challenge": challenge})).await;
    let body = json!({"challenge": challenge, "credential": bobs.get(&options)});
    let reply = app.post("/auth/second-factor").json(body).send().await;
    reply.expect_refused("second_factor_invalid", "of another user");
    bobs.user.clone_from(&adas.user);
    let options = app.request_options(json!({})).await;
    app.sign_in_by(bobs.get(&options)).await.expect_refused("second_factor_invalid", "it names another user");
}

#[actix_rt::test]
async fn what_does_not_answer_a_challenge_of_this_server_from_its_page_is_refused() {
    let app = TestApp::new().await;
    let mut key = Authenticator::new();
    let token = app.with_passkey(&mut key).await;
    let mut refused = async |what: &str, change: &dyn Fn(&mut Authenticator)| {
        let options = app.request_options(json!({})).await;
        let kept = (key.origin.clone(), key.party.clone(), key.flags, key.id.clone());
        change(&mut key);
        let reply = app.sign_in_by(key.get(&options)).await;
        reply.expect_refused("second_factor_invalid", what);
        (key.origin, key.party, key.flags, key.id) = kept;
    };
    refused("another origin", &|key| key.origin = "http://localhost.example".into()).await;
    refused("the loopback by its address", &|key| key.origin = "http://127.0.0.1:8080".into()).await;
    refused("another party", &|key| key.party = "example.com".into()).await;
    refused("nobody was there", &|key| key.flags = UV).await;
    refused("it has become one that is copied", &|key| key.flags |= BE).await;
    refused("an unknown credential", &|key| key.id = vec![1; 16]).await;
    let options = app.request_options(json!({})).await;
    app.pass(Duration::seconds(300)).await;
    app.sign_in_by(key.get(&options)).await.expect_refused("second_factor_invalid", "after 300 s");
    let forged = json!({"challenge": URL_SAFE_NO_PAD.encode([7; 56])});
    app.sign_in_by(key.get(&forged)).await.expect_refused("second_factor_invalid", "a challenge of nobody's");
    for credential in [json!({}), json!({"rawId": "%", "type": "public-key", "response": {}})] {
        let reply = app.sign_in_by(credential).await;
        reply.expect_failure(422, "validation_failed", "no credential");
        assert!(reply.json()["fields"]["credential"].is_array());
    }
    let mut other = Authenticator::new();
    other.origin = "https://elsewhere.example".into();
    let reply = app.add_passkey(&token, &mut other).await;
    reply.expect_failure(401, "second_factor_invalid", "made for a page of another site");
}

#[actix_rt::test]
async fn a_counter_that_does_not_grow_is_a_copied_key() {
    let app = TestApp::new().await;
    let mut key = Authenticator::new();
    key.count = 10;
    app.with_passkey(&mut key).await;
    let sign_in = async |key: &mut Authenticator| {
        let options = app.request_options(json!({})).await;
        app.sign_in_by(key.get(&options)).await
    };
    sign_in(&mut key).await.expect_data("11");
    key.count = 10;
    sign_in(&mut key).await.expect_refused("second_factor_invalid", "11 again");
    let events = app.recorded_events().await;
    let id = app.user_id().await;
    let [.., cloned, failed] = &events[..] else { panic!("{events:?}") };
    assert_eq!((cloned.event.kind.as_str(), cloned.event.user), ("passkey_cloned", Some(id)));
    assert_eq!((failed.event.kind.as_str(), failed.event.user), ("sign_in_failed", Some(id)));
    key.count = 20;
    sign_in(&mut key).await.expect_data("21");
    key.count = 0;
    sign_in(&mut key).await.expect_refused("second_factor_invalid", "one that no longer counts");
}

#[actix_rt::test]
async fn of_twenty_requests_at_two_servers_with_one_assertion_one_succeeds() {
    for database in TestDatabase::each() {
        let app = TestApp::on(database, |settings| settings.throttle.on = false).await;
        let other = app.another().await;
        let mut key = Authenticator::new();
        app.with_passkey(&mut key).await;
        let options = app.request_options(json!({})).await;
        let credential = key.get(&options);
        let ask = |number: usize| {
            let server = if number.is_multiple_of(2) { &app } else { &other };
            server.sign_in_by(credential.clone())
        };
        let replies = join_all((0..20).map(ask)).await;
        assert_eq!(replies.iter().filter(|reply| reply.status.as_u16() == 200).count(), 1);
    }
}

#[actix_rt::test]
async fn passkeys_are_renamed_and_removed_by_their_user_alone() {
    let app = TestApp::new().await;
    let (mut key, mut second) = (Authenticator::new(), Authenticator::new());
    let token = app.with_passkey(&mut key).await;
    assert_eq!(app.add_passkey(&token, &mut second).await.status, 201);
    let same = app.add_passkey(&token, &mut second).await;
    same.expect_failure(409, "already_enrolled", "the same credential");
    let list = app.act(&token, "GET", "/user/passkeys", None).await.expect_data("two");
    assert_eq!(list.as_array().unwrap().len(), 2);
    let path = format!("/user/passkeys/{}", list[0]["id"].as_str().unwrap());
    app.add_user("bob@example.com", PASSWORD).await;
    let bob = Pair::of(&app.login("bob@example.com", PASSWORD).await).access;
    app.act(&bob, "DELETE", &path, None).await.expect_failure(404, "not_found", "of another user");
    let name = || Some(json!({"name": "Old phone"}));
    app.act(&bob, "PATCH", &path, name()).await.expect_failure(404, "not_found", "of another user");
    let renamed = app.act(&token, "PATCH", &path, name()).await.expect_data("renamed");
    assert_eq!(renamed["name"], "Old phone");
    app.act(&token, "PATCH", "/user/passkeys/x", name()).await.expect_failure(404, "not_found", "no id");
    let export = app.act(&token, "GET", "/user/export", None).await.expect_data("export");
    assert_eq!(export["passkeys"][0]["name"], "Old phone");

    assert_eq!(app.act(&token, "DELETE", &path, None).await.status, 204);
    let options = app.request_options(json!({})).await;
    app.sign_in_by(key.get(&options)).await.expect_refused("second_factor_invalid", "a key that was removed");
    app.sign_in_by(second.get(&options)).await.expect_data("the other");
    app.pass(Duration::seconds(601)).await;
    let other = format!("/user/passkeys/{}", list[1]["id"].as_str().unwrap());
    app.act(&token, "DELETE", &other, None).await.expect_failure(
        401,
        "sign_in_stale",
        "601 s after the sign-in",
    );
    app.act(&token, "GET", "/user/passkeys", None).await.expect_data("a list needs no fresh sign-in");
    let id = app.user_id().await;
    app.users().delete(id, false).await.unwrap();
    let options = app.request_options(json!({})).await;
    app.sign_in_by(second.get(&options))
        .await
        .expect_refused("second_factor_invalid", "of a deleted account");
}

#[actix_rt::test]
async fn a_disabled_user_signs_in_by_no_passkey() {
    let app = TestApp::new().await;
    let mut key = Authenticator::new();
    app.with_passkey(&mut key).await;
    app.users().disable(app.user_id().await).await.unwrap();
    let options = app.request_options(json!({})).await;
    app.sign_in_by(key.get(&options)).await.expect_refused("second_factor_invalid", "disabled");
}

#[actix_rt::test]
async fn by_cookie_a_passkey_signs_in_too() {
    let app = TestApp::new().await;
    let mut key = Authenticator::new();
    app.with_passkey(&mut key).await;
    let options = app.request_options(json!({})).await;
    let body = json!({"credential": key.get(&options), "cookie": true});
    let reply = app.post("/auth/passkey").json(body).send().await;
    assert!(reply.expect_data("signed in").get("refresh_token").is_none());
    assert!(reply.header("set-cookie").unwrap().starts_with("__Host-hallpass=hpr_"));
}

#[actix_rt::test]
async fn whether_a_passkey_is_synced_is_as_its_last_sign_in_said() {
    let app = TestApp::new().await;
    let mut key = Authenticator::new();
    key.flags = UP | UV | BE;
    let token = app.with_passkey(&mut key).await;
    let synced = async || {
        app.act(&token, "GET", "/user/passkeys", None).await.expect_data("list")[0]["synced"].clone()
    };
    assert_eq!(synced().await, false);
    key.flags |= BS;
    let options = app.request_options(json!({})).await;
    app.sign_in_by(key.get(&options)).await.expect_data("signed in");
    assert_eq!(synced().await, true);
}

#[actix_rt::test]
async fn a_reset_of_second_factors_removes_passkeys_too() {
    let app = TestApp::new().await;
    let mut key = Authenticator::new();
    app.with_passkey(&mut key).await;
    let asked = app.challenge().await;
    let path = format!("/admin/users/{}/second-factors", app.user_id().await);
    assert_eq!(app.act(&app.admin().await, "DELETE", &path, None).await.status, 204);
    let options = app.request_options(json!({})).await;
    app.sign_in_by(key.get(&options)).await.expect_refused("second_factor_invalid", "alone");
    let options = app.post("/auth/passkey/options").json(json!({"challenge": asked})).send().await;
    options.expect_refused("second_factor_invalid", "there is nothing to wait for");
    app.login(EMAIL, PASSWORD).await.expect_data("the password is enough");
}

#[actix_rt::test]
async fn a_role_that_needs_a_second_factor_is_content_with_a_passkey() {
    let app = TestApp::with(|settings| settings.second_factor.required_roles = vec!["editor".into()]).await;
    app.add_user_with_roles("eve@example.com", &["editor"]).await;
    let pair = Pair::of(&app.login("eve@example.com", PASSWORD).await);
    let sessions = async || app.act(&pair.access, "GET", "/user/sessions", None).await;
    sessions().await.expect_failure(403, "second_factor_unenrolled", "before");
    let mut key = Authenticator::new();
    assert_eq!(app.add_passkey(&pair.access, &mut key).await.status, 201);
    sessions().await.expect_data("after");
    assert_eq!(claims(&app.refresh(&pair.refresh).await)["amr"], json!(["pwd", "hwk", "mfa"]));
}

#[actix_rt::test]
async fn failures_by_passkey_delay_those_of_their_address_and_no_password() {
    let app = TestApp::with(|settings| settings.throttle.address_free = 3).await;
    let mut key = Authenticator::new();
    app.with_passkey(&mut key).await;
    let sign_in = async |key: &mut Authenticator, peer: &str| {
        let options = app.request_options(json!({})).await;
        let body = json!({"credential": key.get(&options)});
        app.post("/auth/passkey").peer(peer).json(body).send().await
    };
    for _ in 0..10 {
        sign_in(&mut key, "192.0.2.1").await.expect_data("successes are not counted");
    }
    let mut unknown = Authenticator::new();
    for _ in 0..3 {
        let reply = sign_in(&mut unknown, "192.0.2.1").await;
        reply.expect_refused("second_factor_invalid", "an unknown credential");
    }
    sign_in(&mut key, "192.0.2.1").await.expect_failure(429, "too_many_attempts", "the same address");
    sign_in(&mut key, "198.51.100.7").await.expect_data("another address");
    let body = json!({"email": EMAIL, "password": PASSWORD});
    let by_password = app.post("/auth/login").peer("192.0.2.1").json(body).send().await;
    by_password.expect_refused("second_factor_required", "a password from that address");
}

#[actix_rt::test]
async fn a_passkey_makes_its_address_known_to_the_account() {
    let app = TestApp::new().await;
    let mut key = Authenticator::new();
    app.with_passkey(&mut key).await;
    let login = async |password: &str, peer: &str| {
        let body = json!({"email": EMAIL, "password": password});
        app.post("/auth/login").peer(peer).json(body).send().await
    };
    while login("wrong horse battery", "198.51.100.66").await.status != 429 {}
    assert_eq!(login(PASSWORD, "192.0.2.7").await.status, 429, "an unknown place");
    let options = app.request_options(json!({})).await;
    let body = json!({"credential": key.get(&options)});
    app.post("/auth/passkey").peer("192.0.2.7").json(body).send().await.expect_data("by passkey");
    login(PASSWORD, "192.0.2.7").await.expect_refused("second_factor_required", "a known place");
}

#[actix_rt::test]
async fn each_act_on_a_passkey_is_an_event() {
    let app = TestApp::new().await;
    let mut key = Authenticator::new();
    let token = app.with_passkey(&mut key).await;
    let list = app.act(&token, "GET", "/user/passkeys", None).await.expect_data("list");
    let path = format!("/user/passkeys/{}", list[0]["id"].as_str().unwrap());
    app.act(&token, "PATCH", &path, Some(json!({"name": "Old phone"}))).await.expect_data("renamed");
    let options = app.request_options(json!({})).await;
    app.sign_in_by(key.get(&options)).await.expect_data("signed in");
    assert_eq!(app.act(&token, "DELETE", &path, None).await.status, 204);
    app.sign_in_by(key.get(&options)).await.expect_refused("second_factor_invalid", "removed");
    let events = app.recorded_events().await;
    let kinds: Vec<_> = events.iter().map(|recorded| recorded.event.kind.as_str()).collect();
    let kinds: Vec<_> = kinds.into_iter().filter(|kind| *kind != "refreshed").collect();
    assert_eq!(
        kinds,
        [
            "user_added",
            "signed_in",
            "second_factor_added",
            "passkey_renamed",
            "signed_in",
            "second_factor_removed",
            "sign_in_failed",
        ]
    );
    let failed = &events.last().unwrap().event;
    assert_eq!((failed.user, &failed.details["method"]), (None, &json!("passkey")), "whose it was is gone");
}

#[actix_rt::test]
async fn a_server_whose_passkeys_no_browser_would_accept_does_not_start() {
    let app = TestApp::new().await;
    let mut settings = app.server.settings().clone();
    settings.passkey.rp_id = Some("example.com".into());
    settings.passkey.origins = vec!["http://example.com".into()];
    let store = app.server.store().clone();
    let opened = AuthServer::open(settings, store, app.vault().await, app.clock.clone()).await;
    let reason = opened.unwrap_err().to_string();
    assert!(reason.contains("over https, and over http on localhost alone"), "{reason}");
}
