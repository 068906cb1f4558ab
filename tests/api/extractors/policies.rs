//! `Require`: roles, the time of the sign-in, and an app's own policy.

use actix_web::{App, web};
use chrono::{DateTime, Duration, Utc};
use hallpass::{AllOf, AnyOf, AuthUser, Policy, Refusal, Require, Role, SignedInWithin, User};

use super::support::{Admin, Editor, TestIssuer, get};

/// An app's own policy: an editor with an address of the company.
struct CompanyEditor;

impl Policy<User> for CompanyEditor {
    fn judge(user: &AuthUser, _: DateTime<Utc>) -> Result<(), Refusal> {
        if user.email.ends_with("@example.com") && user.roles.iter().any(|role| role == "editor") {
            Ok(())
        } else {
            Err(Refusal::RoleMissing)
        }
    }
}

#[actix_rt::test]
async fn each_policy_in_a_signature_admits_the_users_who_meet_it() {
    async fn admitted<P: 'static>(user: Require<P>) -> String {
        user.email.clone()
    }
    let issuer = TestIssuer::new();
    macro_rules! statuses {
        ($policy:ty) => {{
            let mut statuses = Vec::new();
            for roles in [&[][..], &["editor"], &["admin"], &["admin", "editor"]] {
                let app = App::new().app_data(issuer.guard()).route("/", web::get().to(admitted::<$policy>));
                let header = format!("Bearer {}", issuer.token(roles));
                let (status, body, challenge) = get(app, &[("authorization", &header)]).await;
                if status == 403 {
                    assert!(body.contains("role_missing"), "{body}");
                    assert!(challenge.unwrap().contains(r#"error="insufficient_scope""#));
                }
                statuses.push(status);
            }
            statuses
        }};
    }
    assert_eq!(statuses!(Role<Admin>), [403, 403, 200, 200]);
    assert_eq!(statuses!(AnyOf<(Role<Admin>, Role<Editor>)>), [403, 200, 200, 200]);
    assert_eq!(statuses!(AllOf<(Role<Admin>, Role<Editor>)>), [403, 403, 403, 200]);
    assert_eq!(statuses!(AnyOf<(AllOf<(Role<Admin>, Role<Editor>)>, CompanyEditor)>), [403, 200, 403, 200]);
    assert_eq!(statuses!(CompanyEditor), [403, 200, 403, 200]);

    let app = App::new().app_data(issuer.guard()).route("/", web::get().to(admitted::<Role<Admin>>));
    assert_eq!(get(app, &[]).await.0, 401, "a caller without a token is unknown, not forbidden");
}

#[actix_rt::test]
async fn a_sign_in_that_is_too_long_ago_asks_for_a_new_one() {
    async fn fresh(_: Require<SignedInWithin<10>>) -> &'static str {
        "fresh"
    }
    let issuer = TestIssuer::new();
    let token = issuer.bearer();
    let app = || App::new().app_data(issuer.guard()).route("/", web::get().to(fresh));
    issuer.clock.advance(Duration::minutes(10));
    assert_eq!(get(app(), &[("authorization", &token)]).await.0, 200);
    issuer.clock.advance(Duration::seconds(1));
    let (status, body, challenge) = get(app(), &[("authorization", &token)]).await;
    assert_eq!(status, 401);
    assert!(body.contains("sign_in_stale"), "{body}");
    assert!(challenge.unwrap().contains(r#"error="insufficient_user_authentication""#));
}
