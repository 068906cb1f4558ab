//! A request is refused before any other extractor parses something: with the user as the first parameter, under the
//! middleware, and by `Authed`.

use std::cell::Cell;
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, Service, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::web::{self, Bytes, Form, Json, Path, Query};
use actix_web::{App, Error, HttpRequest, HttpResponse};
use futures_util::Stream;
use hallpass::{AuthUser, Authed};

use super::support::{Member, Numbered, TestIssuer};

/// A body that counts how often it is polled.
struct CountedBody {
    body: Option<Bytes>,
    polls: Rc<Cell<usize>>,
}

impl Stream for CountedBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.polls.set(self.polls.get() + 1);
        Poll::Ready(self.body.take().map(Ok))
    }
}

/// Sends a request with a malformed path, query and body; returns the status, and how often the body was polled.
async fn send_malformed(
    app: App<
        impl ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<impl MessageBody + 'static>,
            Error = Error,
            InitError = (),
        > + 'static,
    >,
    authorization: Option<&str>,
) -> (StatusCode, usize) {
    let polls = Rc::new(Cell::new(0));
    let counter = Rc::clone(&polls);
    let app = app.wrap_fn(move |mut request, service| {
        let body = CountedBody { body: Some(Bytes::from_static(b"{not json")), polls: Rc::clone(&counter) };
        request.set_payload(Payload::Stream { payload: Box::pin(body) });
        service.call(request)
    });
    let app = init_service(app).await;
    let mut request = TestRequest::post()
        .uri("/not-a-number?number=none")
        .insert_header(("content-type", "application/json"));
    if let Some(value) = authorization {
        request = request.insert_header(("authorization", value));
    }
    let status = call_service(&app, request.to_request()).await.status();
    (status, polls.get())
}

/// Runs `$check` for every extractor that fails on the malformed request.
macro_rules! for_each_failing_extractor {
    ($check:ident) => {
        $check!(Path<u32>, "path");
        $check!(Query<Numbered>, "query");
        $check!(Json<Numbered>, "json");
        $check!(Form<Numbered>, "form");
    };
}

/// The control: for a user, the other extractor does fail.
#[track_caller]
fn expect_its_own_failure(status: StatusCode, name: &str) {
    assert!(status.is_client_error() && status != StatusCode::UNAUTHORIZED, "{name}: {status}");
}

#[actix_rt::test]
async fn with_the_user_first_a_request_is_refused_before_another_extractor_parses_anything() {
    let issuer = TestIssuer::new();
    macro_rules! check {
        ($other:ty, $name:literal) => {{
            async fn first(_: AuthUser, _: $other) -> HttpResponse {
                HttpResponse::Ok().finish()
            }
            let app = || App::new().app_data(issuer.guard()).route("/{number}", web::post().to(first));
            for bad in [None, Some("Bearer no.such.token"), Some("Basic x")] {
                assert_eq!(send_malformed(app(), bad).await, (StatusCode::UNAUTHORIZED, 0), $name);
            }
            expect_its_own_failure(send_malformed(app(), Some(&issuer.bearer())).await.0, $name);
        }};
    }
    for_each_failing_extractor!(check);
}

#[actix_rt::test]
async fn under_the_middleware_order_does_not_matter_and_a_user_may_be_waited_for() {
    let issuer = TestIssuer::new();
    macro_rules! check {
        ($other:ty, $name:literal) => {{
            async fn last(_: $other, _: AuthUser<Member>) -> HttpResponse {
                HttpResponse::Ok().finish()
            }
            async fn unaware(_: $other) -> HttpResponse {
                HttpResponse::Ok().finish()
            }
            let app = |handler| App::new().route("/{number}", handler).wrap(issuer.waiting_guard().protect());
            for handler in [web::post().to(last), web::post().to(unaware)] {
                assert_eq!(send_malformed(app(handler), None).await, (StatusCode::UNAUTHORIZED, 0), $name);
            }
            let (status, _) = send_malformed(app(web::post().to(last)), Some(&issuer.bearer())).await;
            expect_its_own_failure(status, $name);
        }};
    }
    for_each_failing_extractor!(check);
}

#[actix_rt::test]
async fn an_extractor_in_authed_runs_only_after_the_decision_in_any_order() {
    let issuer = TestIssuer::new();
    macro_rules! check {
        ($other:ty, $name:literal) => {{
            async fn in_authed(_: web::Data<()>, _: Authed<$other, Member>, _: HttpRequest) -> HttpResponse {
                HttpResponse::Ok().finish()
            }
            let app = || {
                App::new()
                    .app_data(web::Data::new(()))
                    .app_data(issuer.waiting_guard())
                    .route("/{number}", web::post().to(in_authed))
            };
            for bad in [None, Some("Bearer no.such.token")] {
                assert_eq!(send_malformed(app(), bad).await, (StatusCode::UNAUTHORIZED, 0), $name);
            }
            // This user has to be waited for.
            expect_its_own_failure(send_malformed(app(), Some(&issuer.bearer())).await.0, $name);
        }};
    }
    for_each_failing_extractor!(check);
}

#[actix_rt::test]
async fn the_body_of_a_refused_request_is_read_neither_as_bytes_nor_as_a_stream() {
    async fn bytes(_: AuthUser, body: Bytes) -> Bytes {
        body
    }
    async fn stream(_: AuthUser, _: web::Payload) -> HttpResponse {
        HttpResponse::Ok().finish()
    }
    let issuer = TestIssuer::new();
    let app = |handler| App::new().app_data(issuer.guard()).route("/{number}", handler);
    for handler in [web::post().to(bytes), web::post().to(stream)] {
        assert_eq!(send_malformed(app(handler), None).await, (StatusCode::UNAUTHORIZED, 0));
    }
    let (status, polls) = send_malformed(app(web::post().to(bytes)), Some(&issuer.bearer())).await;
    assert_eq!(status, StatusCode::OK);
    assert!(polls > 0, "the control: a user's body is read");
}

#[actix_rt::test]
async fn a_body_that_authed_leaves_unread_is_there_for_a_later_extractor() {
    async fn handler(authed: Authed<Query<HashMap<String, String>>>, body: String) -> String {
        format!("{} {} {body}", authed.user.id, authed.inner.len())
    }
    let issuer = TestIssuer::new();
    let app = init_service(App::new().app_data(issuer.guard()).route("/", web::post().to(handler))).await;
    let request = TestRequest::post()
        .uri("/?a=1")
        .insert_header(("authorization", issuer.bearer()))
        .set_payload("hello");
    assert_eq!(read_body(call_service(&app, request.to_request()).await).await, "ada 1 hello");
}
