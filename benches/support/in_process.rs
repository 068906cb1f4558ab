//! Whole apps without a socket: a request goes through actix's HTTP/1 code and the app as in a server, but through no
//! kernel and no second thread.

#![allow(dead_code, reason = "each benchmark is a separate crate and uses a part of this")]

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use actix_http::{HttpService, KeepAlive};
use actix_service::map_config;
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Service, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{App, Error, HttpResponse, web};
use chrono::Duration;
use futures_util::future::LocalBoxFuture;
use hallpass::clock::Clock;
use hallpass::server::AuthServer;
use hallpass::server::accounts::NewUser;
use hallpass::server::config::{DatabaseUrl, Settings};
use hallpass::server::credentials::{Hasher, Origin, Password};
use hallpass::server::keys::vault::Vault;
use hallpass::server::keys::{installation, new_signing_key};
use hallpass::server::model::KdfParams;
use hallpass::server::store::Store;
use hallpass::testing::Mint;
use hallpass::{AuthUser, Envelope, Guard};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const EMAIL: &str = "ada@example.com";
const PASSWORD: &str = "correct horse battery";
const PEER: ([u8; 4], u16) = ([127, 0, 0, 1], 50_000);

/// The client's end of a connection: it sends a request again as soon as it has read the answer.
struct Client {
    request: Vec<u8>,
    left: usize,
    is_waiting: bool,
    answer: Vec<u8>,
    waker: Option<Waker>,
}

/// The server's end.
#[derive(Clone)]
struct Connection(Rc<RefCell<Client>>);

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut client = self.0.borrow_mut();
        if client.is_waiting {
            client.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if client.left > 0 {
            client.left -= 1;
            client.is_waiting = true;
            client.answer.clear();
            buf.put_slice(&client.request);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut client = self.0.borrow_mut();
        client.answer.extend_from_slice(bytes);
        client.is_waiting = false;
        if let Some(waker) = client.waker.take() {
            waker.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// An app, and what it needs to live.
pub struct InProcess {
    serve: Box<dyn Fn(Connection) -> LocalBoxFuture<'static, ()>>,
    _kept: Option<(AuthServer, TempDir)>,
}

impl InProcess {
    async fn new<T, B>(app: App<T>, kept: Option<(AuthServer, TempDir)>) -> Self
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
        // As the server has it (run/listener.rs), and as actix-web has it.
        let keep_alive = if kept.is_some() { KeepAlive::Os } else { KeepAlive::default() };
        let factory =
            HttpService::build().keep_alive(keep_alive).h1(map_config(app, |()| AppConfig::default()));
        let service = factory.new_service(()).await.unwrap();
        let serve = move |connection| -> LocalBoxFuture<'static, ()> {
            let served = service.call((connection, Some(SocketAddr::from(PEER))));
            Box::pin(async { served.await.unwrap() })
        };
        Self { serve: Box::new(serve), _kept: kept }
    }

    /// Sends `request` so many times over one connection. Returns the last answer.
    pub async fn answer(&self, request: &[u8], times: usize) -> String {
        let client =
            Client { request: request.to_vec(), left: times, is_waiting: false, answer: vec![], waker: None };
        let connection = Connection(Rc::new(RefCell::new(client)));
        (self.serve)(connection.clone()).await;
        let answer = std::mem::take(&mut connection.0.borrow_mut().answer);
        String::from_utf8(answer).unwrap()
    }
}

/// One kind of request, and the app that answers it.
pub struct Case {
    pub app: InProcess,
    pub request: Vec<u8>,
}

impl Case {
    /// The names of all cases.
    pub const NAMES: [&'static str; 10] = [
        "bare",
        "user",
        "live",
        "expired",
        "garbage",
        "library_bare",
        "library_envelope",
        "library_extractor",
        "library_middleware",
        "library_all",
    ];

    /// Prepares the case `name`.
    pub async fn prepare(name: &str) -> Self {
        match name {
            "bare" => Self::bare().await,
            "user" => Self::server(|token| get("/user/", Some(token))).await,
            "live" => Self::server(|_| get("/health/live", None)).await,
            "garbage" => Self::server(|_| get("/user/", Some("not.a.token"))).await,
            "expired" => Self::expired().await,
            library => Self::library(library).await,
        }
    }

    /// Sends the request so many times. Returns the last answer.
    pub async fn run(&self, times: usize) -> String {
        self.app.answer(&self.request, times).await
    }

    async fn server(request: impl FnOnce(&str) -> Vec<u8>) -> Self {
        let (app, token) = server(Clock::system()).await;
        Self { app, request: request(&token) }
    }

    async fn expired() -> Self {
        let clock = Clock::manual(Clock::system().now());
        let (app, token) = server(clock.clone()).await;
        clock.advance(Duration::seconds(3_601));
        app._kept.as_ref().unwrap().0.sync_changes().await.unwrap();
        Self { app, request: get("/user/", Some(&token)) }
    }

    /// actix-web alone: a handler without a guard that answers with the bytes of `GET /user/`.
    async fn bare() -> Self {
        let guarded = Self::server(|token| get("/user/", Some(token))).await;
        let answer = guarded.run(1).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        // The framework adds these two itself.
        let is_own = |line: &&str| !line.starts_with("date:") && !line.starts_with("content-length:");
        let header = |line: &'static str| {
            let (name, value) = line.split_once(": ").unwrap();
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let head: &'static str = head.to_owned().leak();
        let headers: Vec<(HeaderName, HeaderValue)> =
            head.lines().skip(1).filter(is_own).map(header).collect();
        let headers: &'static [(HeaderName, HeaderValue)] = headers.leak();
        let body: &'static str = body.to_owned().leak();
        let handler = move || async move {
            let mut response = HttpResponse::Ok();
            for header in headers {
                response.insert_header(header.clone());
            }
            response.body(body)
        };
        let app = InProcess::new(App::new().route("/user/", web::get().to(handler)), None).await;
        Self { app, request: guarded.request }
    }

    /// An app of one's own with the guard.
    async fn library(name: &str) -> Self {
        let mint = Mint::new();
        let guard: Guard = mint.guard();
        let hello = |user: AuthUser| async move { HttpResponse::Ok().body(user.email.clone()) };
        let anybody = || async { HttpResponse::Ok().body("ada@example.com") };
        let app = match name {
            "library_bare" => InProcess::new(App::new().route("/hello", web::get().to(anybody)), None).await,
            "library_envelope" => {
                let app = App::new().wrap(Envelope::default()).route("/hello", web::get().to(anybody));
                InProcess::new(app, None).await
            }
            "library_all" => {
                let app = App::new().wrap(guard.protect()).wrap(Envelope::default());
                InProcess::new(app.route("/hello", web::get().to(hello)), None).await
            }
            "library_extractor" => {
                InProcess::new(App::new().app_data(guard).route("/hello", web::get().to(hello)), None).await
            }
            "library_middleware" => {
                let app = App::new().wrap(guard.protect()).route("/hello", web::get().to(hello));
                InProcess::new(app, None).await
            }
            other => panic!("there is no case {other}"),
        };
        Self { app, request: get("/hello", Some(&mint.token_for("ada").to_string())) }
    }
}

fn get(path: &str, token: Option<&str>) -> Vec<u8> {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n{authorization}\r\n").into_bytes()
}

/// The server with one user, and a token of theirs.
async fn server(clock: Clock) -> (InProcess, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.database.url = DatabaseUrl::Sqlite(folder.path().join("bench.db"));
    settings.password.bcrypt_cost = 4;
    let store = Store::open(&settings.database).await.unwrap();
    let (vault, sealed) =
        Vault::create_with(&"a river of lanterns".into(), KdfParams::for_tests(), clock.now()).unwrap();
    let key = new_signing_key(&vault, settings.token.algorithm, clock.now(), clock.now() - Duration::days(1))
        .unwrap();
    assert!(installation::insert(&store, &sealed, &key, Duration::hours(1)).await.unwrap());
    let server = AuthServer::open(settings, store, vault, clock).await.unwrap();
    let hash = Hasher::start(1, 1, 4).unwrap().hash(&Password::from(PASSWORD), Origin::LOCAL).await.unwrap();
    let user = NewUser {
        email: EMAIL.into(),
        email_is_verified: true,
        name: Some("Ada Lovelace".into()),
        roles: vec!["editor".into()],
        password_hash: Some(hash),
    };
    server.users().add(user).await.unwrap();
    let app = InProcess::new(hallpass::server::app(&server), Some((server, folder))).await;
    let body = format!(r#"{{"email":"{EMAIL}","password":"{PASSWORD}"}}"#);
    let login = format!(
        "POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = app.answer(login.as_bytes(), 1).await;
    let (_, rest) = answer.split_once(r#""token":""#).expect(&answer);
    let token = rest.split('"').next().unwrap().to_owned();
    (app, token)
}
