//! Compares the server with a simple model of sessions, over random sequences of actions.

use actix_web::http::Method;
use chrono::{DateTime, Duration, Utc};
use proptest::prelude::*;
use serde_json::json;

use crate::app::{EMAIL, PASSWORD, Reply, TestApp};

const IDLE: i64 = 2_000;
const ABSOLUTE: i64 = 6_000;
const GRACE: i64 = 10;
const LIFETIME: i64 = 900;

/// An action. Numbers choose one of the existing tokens or sessions, modulo their count.
#[derive(Debug, Clone)]
enum Step {
    Login,
    Refresh { session: usize, token: usize },
    Use { access: usize },
    Logout { access: usize },
    LogoutByRefresh { session: usize, token: usize },
    LogoutAll { access: usize },
    EndSession { access: usize, session: usize },
    Rename,
    Disable,
    Enable,
    NewPassword,
    Pass { seconds: i64 },
    Restart,
    Tidy,
}

fn step() -> impl Strategy<Value = Step> {
    let any = || 0_usize..1_000;
    prop_oneof![
        4 => Just(Step::Login),
        8 => (any(), any()).prop_map(|(session, token)| Step::Refresh { session, token }),
        // The newest token of a session, as an honest client has it.
        8 => any().prop_map(|session| Step::Refresh { session, token: usize::MAX }),
        4 => any().prop_map(|access| Step::Use { access }),
        2 => any().prop_map(|access| Step::Logout { access }),
        1 => (any(), any()).prop_map(|(session, token)| Step::LogoutByRefresh { session, token }),
        1 => any().prop_map(|access| Step::LogoutAll { access }),
        1 => (any(), any()).prop_map(|(access, session)| Step::EndSession { access, session }),
        2 => Just(Step::Rename),
        1 => Just(Step::Disable),
        2 => Just(Step::Enable),
        1 => Just(Step::NewPassword),
        6 => prop_oneof![-300_i64..0, 0_i64..15, 0_i64..1_500].prop_map(|seconds| Step::Pass { seconds }),
        2 => Just(Step::Restart),
        2 => Just(Step::Tidy),
    ]
}

struct Session {
    id: String,
    alive: bool,
    created: DateTime<Utc>,
    refreshed: DateTime<Utc>,
    /// The refresh tokens, each with the time of its first use. The last one is valid.
    tokens: Vec<(String, Option<DateTime<Utc>>)>,
}

struct Access {
    token: String,
    session: usize,
    issued: DateTime<Utc>,
    expires: DateTime<Utc>,
}

/// The model: the expected state.
#[derive(Default)]
struct Model {
    sessions: Vec<Session>,
    access: Vec<Access>,
    disabled: bool,
    names: usize,
}

impl Model {
    /// Returns the expected `error` of a guarded request with this access token; `None` for success.
    fn refusal(&self, access: &Access, now: DateTime<Utc>) -> Option<&'static str> {
        let age = (now - access.issued).num_seconds();
        match age {
            // No token outlives its session.
            _ if now >= access.expires => Some("token_expired"),
            ..-60 => Some("token_invalid"),
            _ if !self.sessions[access.session].alive => Some("token_revoked"),
            _ => None,
        }
    }

    fn end_all(&mut self) {
        self.sessions.iter_mut().for_each(|session| session.alive = false);
    }
}

struct Bench {
    app: TestApp,
    model: Model,
}

impl Bench {
    fn now(&self) -> DateTime<Utc> {
        self.app.clock.now()
    }

    async fn bearer(&self, method: Method, path: &str, access: usize) -> Reply {
        let token = &self.model.access[access].token;
        self.app.ask(method, path).authorization(&format!("Bearer {token}")).send().await
    }

    fn keep(&mut self, session: usize, reply: &Reply) {
        let data = reply.expect_data("tokens");
        let token = data["token"].as_str().unwrap().to_owned();
        let issued = self.now();
        let Session { created, refreshed, .. } = &self.model.sessions[session];
        let end = (*created + Duration::seconds(ABSOLUTE)).min(*refreshed + Duration::seconds(IDLE));
        let lifetime = (end - issued).num_seconds().clamp(1, LIFETIME);
        let expires = issued + Duration::seconds(lifetime);
        self.model.access.push(Access { token, session, issued, expires });
    }

    /// Sends a guarded request with an access token, and compares the answer with the model.
    async fn ask(&self, method: Method, path: &str, access: usize) -> bool {
        let expected = self.model.refusal(&self.model.access[access], self.now());
        let reply = self.bearer(method, path, access).await;
        match expected {
            Some(error) => reply.expect_failure(401, error, path),
            None => assert!(reply.status.is_success(), "{path}: {}", reply.text()),
        }
        expected.is_none()
    }

    async fn refresh(&mut self, session: usize, token: usize) {
        let now = self.now();
        let Session { alive, created, refreshed, tokens, .. } = &self.model.sessions[session];
        let token = token.min(tokens.len() - 1);
        let (text, used) = tokens[token].clone();
        let lives = *alive
            && now - *created < Duration::seconds(ABSOLUTE)
            && now - *refreshed < Duration::seconds(IDLE);
        let reply = self.app.post("/auth/refresh").json(json!({"refresh_token": text})).send().await;
        match used {
            _ if !lives => reply.expect_failure(401, "refresh_invalid", "over"),
            None => {
                let successor =
                    reply.expect_data("the first use")["refresh_token"].as_str().unwrap().to_owned();
                let kept = &mut self.model.sessions[session];
                kept.tokens[token].1 = Some(now);
                kept.refreshed = now;
                kept.tokens.push((successor, None));
                self.keep(session, &reply);
            }
            Some(used) if now < used + Duration::seconds(GRACE) => {
                let successor = &self.model.sessions[session].tokens[token + 1].0;
                assert_eq!(reply.expect_data("a repeat")["refresh_token"], **successor);
                self.keep(session, &reply);
            }
            Some(_) => {
                reply.expect_failure(401, "refresh_invalid", "theft");
                self.model.sessions[session].alive = false;
            }
        }
    }

    async fn take(&mut self, step: &Step) {
        let (sessions, accesses) = (self.model.sessions.len(), self.model.access.len());
        let users = self.app.users();
        match *step {
            Step::Login => {
                let reply = self.app.login(EMAIL, PASSWORD).await;
                if self.model.disabled {
                    return reply.expect_failure(401, "credentials_invalid", "disabled");
                }
                let refresh = reply.expect_data("login")["refresh_token"].as_str().unwrap().to_owned();
                let now = self.now();
                self.model.sessions.push(Session {
                    id: String::new(),
                    alive: true,
                    created: now,
                    refreshed: now,
                    tokens: vec![(refresh, None)],
                });
                self.keep(sessions, &reply);
                let listed = self.bearer(Method::GET, "/user/sessions", accesses).await.expect_data("listed");
                let own = listed.as_array().unwrap().iter().find(|entry| entry["current"] == true).unwrap();
                self.model.sessions[sessions].id = own["id"].as_str().unwrap().to_owned();
            }
            Step::Refresh { session, token } if sessions > 0 => self.refresh(session % sessions, token).await,
            Step::Use { access } if accesses > 0 => {
                self.ask(Method::GET, "/user/", access % accesses).await;
            }
            Step::Logout { access } if accesses > 0 => {
                let access = access % accesses;
                if self.ask(Method::POST, "/auth/logout", access).await {
                    let session = self.model.access[access].session;
                    self.model.sessions[session].alive = false;
                }
            }
            Step::LogoutByRefresh { session, token } if sessions > 0 => {
                let session = &mut self.model.sessions[session % sessions];
                let token = session.tokens[token.min(session.tokens.len() - 1)].0.clone();
                let reply = self.app.post("/auth/logout").json(json!({"refresh_token": token})).send().await;
                assert_eq!(reply.status, 204, "{}", reply.text());
                session.alive = false;
            }
            Step::LogoutAll { access } if accesses > 0 => {
                let is_good = self.ask(Method::POST, "/auth/logout-all", access % accesses).await;
                if is_good {
                    self.model.end_all();
                }
            }
            Step::EndSession { access, session } if accesses > 0 => {
                let (access, session) = (access % accesses, session % sessions);
                let now = self.now();
                let expected = self.model.refusal(&self.model.access[access], now);
                let path = format!("/user/sessions/{}", self.model.sessions[session].id);
                let reply = self.bearer(Method::DELETE, &path, access).await;
                match (expected, self.model.sessions[session].alive) {
                    (Some(error), _) => reply.expect_failure(401, error, "end a session"),
                    (None, false) => reply.expect_failure(404, "not_found", "a session that has ended"),
                    // One that is over and cleared away may be gone.
                    (None, true) => assert!([204, 404].contains(&reply.status.as_u16())),
                }
                if expected.is_none() {
                    self.model.sessions[session].alive = false;
                }
            }
            Step::Rename => {
                self.model.names += 1;
                let name = format!("Ada {}", self.model.names);
                users.rename(self.app.user_id().await, Some(&name)).await.unwrap();
            }
            Step::Disable | Step::Enable => {
                self.model.disabled = matches!(step, Step::Disable);
                let id = self.app.user_id().await;
                if self.model.disabled {
                    users.disable(id).await.unwrap();
                    self.model.end_all();
                } else {
                    users.enable(id).await.unwrap();
                }
            }
            Step::NewPassword => {
                let id = self.app.user_id().await;
                users.set_password(id, &self.app.password_hash(id).await).await.unwrap();
                self.model.end_all();
            }
            Step::Pass { seconds } => self.app.clock.advance(Duration::seconds(seconds)),
            Step::Restart => self.app.restart().await,
            Step::Tidy => self.app.server.delete_expired().await.unwrap(),
            _ => {}
        }
        // What the operator did beside the server is heard by then.
        self.app.server.sync_changes().await.unwrap();
        for access in 0..self.model.access.len() {
            if self.ask(Method::GET, "/user/", access).await && self.model.names > 0 {
                let user = self.bearer(Method::GET, "/user/", access).await.expect_data("user");
                assert_eq!(user["name"], format!("Ada {}", self.model.names));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_each_token_is_good_exactly_as_long_as_a_plain_model_says(
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        actix_rt::System::new().block_on(async {
            let app = TestApp::with(|settings| {
                let seconds = |seconds: i64| std::time::Duration::from_secs(seconds as u64);
                settings.token.lifetime = seconds(LIFETIME);
                settings.session.idle_lifetime = seconds(IDLE);
                settings.session.refresh_lifetime = seconds(ABSOLUTE);
                settings.session.reuse_grace = seconds(GRACE);
                settings.throttle.on = false;
            })
            .await;
            let mut bench = Bench { app, model: Model::default() };
            for step in &steps {
                bench.take(step).await;
            }
        });
    }
}
