//! Users and claims: where they come from, and which guard answers for them.

use actix_web::{App, web};
use hallpass::{AuthUser, Claims, Envelope, Refused};

use super::support::{Member, TestIssuer, get};

#[actix_rt::test]
async fn a_missing_user_is_a_revoked_token_and_an_unavailable_source_is_a_503() {
    async fn nickname(user: AuthUser<Member>) -> String {
        user.nickname.clone()
    }
    let issuer = TestIssuer::new();
    let app = || App::new().configure(issuer.waiting_guard().install()).route("/", web::get().to(nickname));
    assert_eq!(get(app(), &[("authorization", &issuer.bearer_of("ada"))]).await.1, "Ada");
    let (status, body, _) = get(app(), &[("authorization", &issuer.bearer_of("bob"))]).await;
    assert_eq!((status, body.contains("token_revoked")), (401, true));
    let (status, body, challenge) = get(app(), &[("authorization", &issuer.bearer_of("down"))]).await;
    assert_eq!((status, body.contains("unavailable"), challenge), (503, true, None));
}

#[actix_rt::test]
async fn claims_are_extracted_without_a_user_under_every_guard() {
    async fn subject(claims: Claims) -> String {
        claims.sub
    }
    let issuer = TestIssuer::new();
    let bearer = issuer.bearer();
    let header = [("authorization", bearer.as_str())];
    let installed = App::new().configure(issuer.waiting_guard().install()).route("/", web::get().to(subject));
    assert_eq!(get(installed, &header).await.1, "ada");
    let data = App::new().app_data(issuer.guard()).route("/", web::get().to(subject));
    assert_eq!(get(data, &header).await.1, "ada");
    let wrapped = App::new().route("/", web::get().to(subject)).wrap(issuer.waiting_guard().protect());
    assert_eq!(get(wrapped, &header).await.1, "ada");
}

#[actix_rt::test]
async fn several_guards_in_one_app_are_told_apart_by_their_user_types() {
    async fn both(staff: Result<AuthUser, Refused>, member: Result<AuthUser<Member>, Refused>) -> String {
        format!("{} {}", staff.is_ok(), member.is_ok())
    }
    let (staff, members) = (TestIssuer::new(), TestIssuer::new());
    let app = || {
        App::new()
            .configure(staff.guard().install())
            .configure(members.waiting_guard().install())
            .route("/", web::get().to(both))
    };
    assert_eq!(get(app(), &[("authorization", &staff.bearer())]).await.1, "true false");
    assert_eq!(get(app(), &[("authorization", &members.bearer())]).await.1, "false true");
}

#[actix_rt::test]
async fn a_handler_without_its_guard_is_an_internal_error_and_admits_nobody() {
    let app =
        App::new().wrap(Envelope::default()).route("/", web::get().to(|_: AuthUser<Member>| async { "in" }));
    let (status, body, _) = get(app, &[("authorization", "Bearer a.b.c")]).await;
    assert_eq!(status, 500);
    assert!(body.contains(r#""error":"internal""#) && !body.contains("Member"), "{body}");
}
