//! Compares the guard, which remembers tokens, decisions, users and answers, with the plain path:
//! `jsonwebtoken::decode` and the database, for each request anew.

use chrono::Duration;
use hallpass::server::keys::rotation::{self, Reason};
use hallpass::server::model::UserRecord;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{EMAIL, PASSWORD, Reply, TestApp};

const OTHER: &str = "grace@example.com";
const LIFETIME: i64 = 900;
/// How far ahead of the clock a token's beginning may be.
const AHEAD: i64 = 60;

/// Something that happens. Numbers choose one of the tokens or keys that there are, modulo their count.
#[derive(Debug, Clone)]
enum Step {
    Login {
        other: bool,
    },
    /// A request with a token, of which one bit may be wrong.
    Use {
        token: usize,
        damage: Option<(usize, u8)>,
    },
    Logout {
        token: usize,
    },
    LogoutAll {
        token: usize,
    },
    Rename {
        token: usize,
    },
    Roles {
        other: bool,
        roles: usize,
    },
    Disable {
        other: bool,
    },
    Enable {
        other: bool,
    },
    Delete {
        other: bool,
    },
    Rotate,
    RevokeKey {
        key: usize,
    },
    Pass {
        seconds: i64,
    },
    Restart,
    Tidy,
}

fn step() -> impl Strategy<Value = Step> {
    let one = || 0_usize..1_000;
    prop_oneof![
        6 => any::<bool>().prop_map(|other| Step::Login { other }),
        8 => (one(), proptest::option::of((one(), 0_u8..8))).prop_map(|(token, damage)| Step::Use { token, damage }),
        2 => one().prop_map(|token| Step::Logout { token }),
        1 => one().prop_map(|token| Step::LogoutAll { token }),
        3 => one().prop_map(|token| Step::Rename { token }),
        2 => (any::<bool>(), 0_usize..3).prop_map(|(other, roles)| Step::Roles { other, roles }),
        1 => any::<bool>().prop_map(|other| Step::Disable { other }),
        2 => any::<bool>().prop_map(|other| Step::Enable { other }),
        1 => Just(Step::Delete { other: true }),
        2 => Just(Step::Rotate),
        1 => one().prop_map(|key| Step::RevokeKey { key }),
        6 => prop_oneof![-120_i64..0, 0_i64..15, 0_i64..1_000].prop_map(|seconds| Step::Pass { seconds }),
        1 => Just(Step::Restart),
        1 => Just(Step::Tidy),
    ]
}

/// Answers as the plain path does: the user, or the `error` of the refusal.
async fn plainly(app: &TestApp, token: &str) -> Result<Value, &'static str> {
    let claims = decoded(app, token).ok_or("token_invalid")?;
    let (now, time) = (app.clock.now(), |name: &str| claims[name].as_i64().unwrap());
    if time("nbf").max(time("iat")) > now.timestamp() + AHEAD {
        return Err("token_invalid");
    }
    if now.timestamp() >= time("exp") {
        return Err("token_expired");
    }
    let id = |name: &str| Uuid::parse_str(claims[name].as_str().unwrap()).unwrap();
    let (user, session) = (id("sub"), id("sid"));
    let session = app.server.store().read(async |connection| connection.session(session).await);
    let user = app.server.store().read(async |connection| connection.user(user).await);
    match (session.await.unwrap(), user.await.unwrap()) {
        (Some(session), Some(user)) if session.ended_at.is_none() && user.disabled_at.is_none() => {
            Ok(shown(&user))
        }
        _ => Err("token_revoked"),
    }
}

/// The claims of a token that another library accepts with the published keys, apart from its times.
fn decoded(app: &TestApp, token: &str) -> Option<Value> {
    let header = decode_header(token).ok()?;
    let jwks = serde_json::to_value(app.server.jwks()).unwrap();
    let jwk = jwks["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["kid"] == header.kid.as_deref().unwrap_or(""))?;
    let key = DecodingKey::from_jwk(&serde_json::from_value(jwk.clone()).unwrap()).unwrap();
    let mut validation = Validation::new(jsonwebtoken::Algorithm::EdDSA);
    // It would ask the system's clock.
    (validation.validate_exp, validation.validate_nbf) = (false, false);
    validation.set_issuer(&[app.server.issuer()]);
    validation.set_audience(&[app.server.issuer()]);
    let is_access_token = header.typ.as_deref() == Some("at+jwt");
    Some(decode::<Value>(token, &key, &validation).ok()?.claims).filter(|_| is_access_token)
}

/// The user as clients see them.
fn shown(user: &UserRecord) -> Value {
    let time = |time: chrono::DateTime<chrono::Utc>| time.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({
        "id": user.id.to_string(),
        "email": user.email,
        "email_verified": user.email_verified_at.is_some(),
        "name": user.name,
        "roles": user.roles,
        "created_at": time(user.created_at),
        "last_login_at": user.last_login_at.map(time),
    })
}

struct Bench {
    app: TestApp,
    tokens: Vec<String>,
    names: usize,
}

impl Bench {
    async fn check(&self, token: &str) {
        let expected = plainly(&self.app, token).await;
        let reply = self.app.get_user(token).await;
        match expected {
            Ok(user) => assert_eq!(reply.expect_data("a good token"), user),
            Err(error) => reply.expect_refused(error, token),
        }
    }

    async fn bearer(&self, method: actix_web::http::Method, path: &str, token: usize, body: Value) -> Reply {
        let token = &self.tokens[token % self.tokens.len()];
        self.app.ask(method, path).authorization(&format!("Bearer {token}")).json(body).send().await
    }

    /// The id of one of the two users, if they were not deleted.
    async fn id(&self, other: bool) -> Option<Uuid> {
        Some(self.app.users().find(if other { OTHER } else { EMAIL }).await.unwrap()?.id)
    }

    async fn take(&mut self, step: &Step) {
        use actix_web::http::Method;
        let users = self.app.users();
        let has_tokens = !self.tokens.is_empty();
        match *step {
            Step::Login { other } => {
                let reply = self.app.login(if other { OTHER } else { EMAIL }, PASSWORD).await;
                if reply.status.is_success() {
                    self.tokens.push(reply.json()["data"]["token"].as_str().unwrap().to_owned());
                }
            }
            Step::Use { token, damage } if has_tokens => {
                let mut token = self.tokens[token % self.tokens.len()].clone().into_bytes();
                if let Some((at, bit)) = damage {
                    let at = at % token.len();
                    token[at] ^= 1 << bit;
                }
                // Others are not header characters, or name another scheme.
                if token.iter().all(u8::is_ascii_graphic) {
                    self.check(std::str::from_utf8(&token).unwrap()).await;
                }
            }
            Step::Logout { token } if has_tokens => {
                self.bearer(Method::POST, "/auth/logout", token, json!({})).await;
            }
            Step::LogoutAll { token } if has_tokens => {
                self.bearer(Method::POST, "/auth/logout-all", token, json!({})).await;
            }
            Step::Rename { token } if has_tokens => {
                self.names += 1;
                let body = json!({"name": format!("Ada {}", self.names)});
                self.bearer(Method::PATCH, "/user/", token, body).await;
            }
            Step::Roles { other, roles } => {
                if let Some(id) = self.id(other).await {
                    let roles = ["editor", "reader", "writer"][..roles]
                        .iter()
                        .map(|role| (*role).to_owned())
                        .collect();
                    let changes =
                        hallpass::server::accounts::UserChanges { roles: Some(roles), ..Default::default() };
                    users.update(id, &changes).await.unwrap();
                }
            }
            Step::Disable { other } | Step::Enable { other } => match (self.id(other).await, step) {
                (Some(id), Step::Disable { .. }) => users.disable(id).await.unwrap(),
                (Some(id), _) => users.enable(id).await.unwrap(),
                (None, _) => {}
            },
            Step::Delete { other } => {
                if let Some(id) = self.id(other).await {
                    users.delete(id, false).await.unwrap();
                }
            }
            Step::Rotate => {
                let (vault, reason) = (self.app.vault().await, Reason::Requested { trust_clock: false });
                // After the clock was moved back it may refuse to.
                let server = &self.app.server;
                let _ = rotation::rotate(server.store(), &vault, server.settings(), &self.app.clock, reason)
                    .await;
            }
            Step::RevokeKey { key } => {
                let keys = self.app.signing_keys().await;
                let kid = &keys[key % keys.len()].sealed.kid;
                rotation::revoke(self.app.server.store(), kid, self.app.clock.now()).await.unwrap();
            }
            Step::Pass { seconds } => self.app.clock.advance(Duration::seconds(seconds)),
            Step::Restart => self.app.restart().await,
            Step::Tidy => self.app.server.delete_expired().await.unwrap(),
            _ => {}
        }
        self.app.server.sync_changes().await.unwrap();
        // Twice, so that the second finds what the first has left in memory.
        for token in self.tokens.iter().chain(&self.tokens) {
            self.check(token).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_remembered_each_answer_is_that_of_the_plain_path(
        steps in proptest::collection::vec(step(), 1..30),
    ) {
        actix_rt::System::new().block_on(async {
            let app = TestApp::with(|settings| {
                settings.token.lifetime = std::time::Duration::from_secs(LIFETIME as u64);
                settings.throttle.on = false;
            })
            .await;
            app.add_user(OTHER, PASSWORD).await;
            let mut bench = Bench { app, tokens: vec![], names: 0 };
            for step in &steps {
                bench.take(step).await;
            }
        });
    }
}
