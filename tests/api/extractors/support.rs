//! An issuer of tokens, an app's own users, and one request to an app.

use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, Error};
use chrono::{DateTime, Duration, Utc};
use hallpass::clock::Clock;
use hallpass::token::{Algorithm, Grant, Issuer, KeyMaterial, Keyring, SigningKey};
use hallpass::{Claims, Guard, GuardBuilder, MaybeAuthUser, RoleName, Unavailable, User, UserSource};
use serde::Deserialize;

const ISSUER: &str = "https://id.example";

/// An issuer of tokens, with guards that accept them.
pub struct TestIssuer {
    key: Arc<SigningKey>,
    pub clock: Clock,
}

impl TestIssuer {
    pub fn new() -> Self {
        let key =
            SigningKey::new(Algorithm::EdDsa, &KeyMaterial::generate(Algorithm::EdDsa).unwrap()).unwrap();
        Self {
            key: Arc::new(key),
            clock: Clock::manual(DateTime::from_timestamp(Clock::system().now().timestamp(), 0).unwrap()),
        }
    }

    pub fn builder(&self) -> GuardBuilder<User> {
        let keys = Keyring::from(Arc::clone(&self.key));
        Guard::builder()
            .jwks(&serde_json::to_string(&keys.jwks()).unwrap())
            .issuer(ISSUER)
            .audience(ISSUER)
            .clock(self.clock.clone())
    }

    pub fn guard(&self) -> Guard {
        self.builder().build().unwrap()
    }

    /// A guard whose users are found only after a wait.
    pub fn waiting_guard(&self) -> Guard<Member> {
        self.builder().users(Members).build().unwrap()
    }

    /// A token of the user `ada`.
    pub fn token(&self, roles: &[&str]) -> String {
        self.sign(&Grant {
            subject: "ada".into(),
            email: Some("ada@example.com".into()),
            email_verified: Some(true),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            session: Some(session_begun(self.clock.now())),
            ..Grant::default()
        })
    }

    /// The header value for a token of the user `ada`, an editor.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.token(&["editor"]))
    }

    /// The header value for a token of the user `subject`.
    pub fn bearer_of(&self, subject: &str) -> String {
        format!("Bearer {}", self.sign(&Grant { subject: subject.into(), ..Grant::default() }))
    }

    fn sign(&self, grant: &Grant) -> String {
        let issuer = Issuer::new(ISSUER, ISSUER, Duration::hours(1));
        issuer.issue(&self.key, grant, self.clock.now()).unwrap().token
    }
}

fn session_begun(at: DateTime<Utc>) -> String {
    let timestamp = uuid::Timestamp::from_unix_time(at.timestamp().unsigned_abs(), 0, 0, 0);
    uuid::Uuid::new_v7(timestamp).to_string()
}

/// An app's own user, who has to be waited for.
#[derive(Debug)]
pub struct Member {
    pub nickname: String,
}

pub struct Members;

impl UserSource for Members {
    type User = Member;

    async fn find(&self, claims: &Claims) -> Result<Option<Arc<Member>>, Unavailable> {
        // Pending once, as a query would be.
        actix_rt::task::yield_now().await;
        match claims.sub.as_str() {
            "ada" => Ok(Some(Arc::new(Member { nickname: "Ada".into() }))),
            "down" => Err(Unavailable),
            _ => Ok(None),
        }
    }
}

pub struct Admin;
impl RoleName for Admin {
    const NAME: &'static str = "admin";
}

pub struct Editor;
impl RoleName for Editor {
    const NAME: &'static str = "editor";
}

/// A query or body with a number.
#[derive(Debug, Deserialize)]
pub struct Numbered {
    #[allow(dead_code, reason = "the tests send none")]
    number: u32,
}

/// A handler that tells a user from an anonymous caller.
pub async fn greet(visitor: MaybeAuthUser) -> String {
    visitor.user().map_or_else(|| "anonymous".to_owned(), |user| user.email.clone())
}

/// Sends `GET /` to an app; returns status, body and challenge.
pub async fn get(
    app: App<
        impl ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<impl MessageBody + 'static>,
            Error = Error,
            InitError = (),
        > + 'static,
    >,
    headers: &[(&str, &str)],
) -> (u16, String, Option<String>) {
    let app = init_service(app).await;
    let request =
        headers.iter().fold(TestRequest::get().uri("/"), |request, header| request.insert_header(*header));
    let response = call_service(&app, request.to_request()).await;
    let status = response.status().as_u16();
    let challenge =
        response.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    (status, String::from_utf8(read_body(response).await.to_vec()).unwrap(), challenge)
}
