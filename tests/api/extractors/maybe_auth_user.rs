//! `MaybeAuthUser`, and why `Option<AuthUser>` is no substitute for it.

use actix_web::{App, web};
use chrono::Duration;
use hallpass::{AuthUser, Refused};

use super::support::{TestIssuer, get, greet};

#[actix_rt::test]
async fn a_caller_without_a_credential_is_anonymous_and_one_with_a_bad_credential_is_refused() {
    let issuer = TestIssuer::new();
    let app = || App::new().app_data(issuer.guard()).route("/", web::get().to(greet));
    assert_eq!(get(app(), &[]).await.1, "anonymous");
    assert_eq!(get(app(), &[("authorization", &issuer.bearer())]).await.1, "ada@example.com");
    assert_eq!(get(app(), &[("authorization", "Bearer no.such.token")]).await.0, 401);
    let expired = issuer.bearer();
    issuer.clock.advance(Duration::hours(1));
    let (status, body, _) = get(app(), &[("authorization", &expired)]).await;
    assert_eq!(status, 401);
    assert!(body.contains("token_expired"), "{body}");
}

#[actix_rt::test]
async fn an_optional_user_hides_a_forged_token_as_the_documentation_warns() {
    async fn optional(user: Option<AuthUser>) -> String {
        user.map_or_else(|| "guest".to_owned(), |user| user.email.clone())
    }
    async fn result(user: Result<AuthUser, Refused>) -> String {
        user.map_or_else(|refused| refused.reason().code().to_owned(), |user| user.email.clone())
    }
    let issuer = TestIssuer::new();
    let forged = [("authorization", "Bearer no.such.token")];
    let app = App::new().app_data(issuer.guard()).route("/", web::get().to(optional));
    assert_eq!(get(app, &forged).await.1, "guest", "if actix refuses here, the warning can be dropped");
    let app = App::new().app_data(issuer.guard()).route("/", web::get().to(result));
    assert_eq!(get(app, &forged).await.1, "token_invalid");
}
