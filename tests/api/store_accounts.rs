//! The operations of second factors and of mail on each database: the same calls have the same outcomes.

use chrono::{DateTime, Duration, Utc};
use hallpass::server::model::{
    Authentication, Client, MailDetails, MailKind, MailPurpose, MailToken, NewMail, NewSession, SealedToken,
    SignInChallenge, UserRecord,
};
use hallpass::server::store::Store;
use uuid::Uuid;

use crate::store::on_each;

macro_rules! read {
    ($store:ident, $operation:ident($($argument:expr),*)) => {
        $store.read(async |connection| connection.$operation($($argument),*).await).await.unwrap()
    };
}

macro_rules! write {
    ($store:ident, $operation:ident($($argument:expr),*)) => {
        $store.write(async |tx| tx.$operation($($argument),*).await).await.unwrap()
    };
}

const ADA: Uuid = Uuid::from_u128(1);
const GRACE: Uuid = Uuid::from_u128(2);

fn at(secs: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + secs, 0).unwrap()
}

async fn add_users(store: &Store) {
    for (id, email) in [(ADA, "ada@example.com"), (GRACE, "grace@example.com")] {
        let user = UserRecord {
            id,
            email: email.into(),
            email_verified_at: None,
            name: None,
            roles: vec![],
            password_hash: Some("$2b$04$".into()),
            disabled_at: None,
            created_at: at(0),
            last_login_at: None,
            second_factors: vec![],
        };
        write!(store, insert_user(&user));
    }
}

async fn second_factors(store: &Store, user: Uuid) -> Vec<String> {
    read!(store, user(user)).unwrap().second_factors
}

#[actix_rt::test]
async fn an_authenticator_app_is_replaced_until_it_is_confirmed_and_each_step_is_used_once() {
    on_each(async |store, _| {
        add_users(store).await;
        assert_eq!(read!(store, totp(ADA)), None);
        assert_eq!(write!(store, put_totp(ADA, b"first", at(1))), 1);
        assert_eq!(write!(store, put_totp(ADA, b"second", at(2))), 1);
        let stored = read!(store, totp(ADA)).unwrap();
        assert_eq!((&stored.sealed[..], stored.confirmed_at), (&b"second"[..], None));
        assert_eq!(write!(store, use_totp_step(ADA, 1)), 0, "not confirmed");
        assert_eq!(write!(store, delete_totp(ADA)), 0, "not confirmed");

        assert_eq!(write!(store, confirm_totp(ADA, 7, at(3))), 1);
        assert_eq!(write!(store, confirm_totp(ADA, 8, at(4))), 0, "confirmed before");
        assert_eq!(write!(store, put_totp(ADA, b"third", at(4))), 0, "confirmed before");
        assert_eq!(read!(store, totp(ADA)).unwrap().confirmed_at, Some(at(3)));
        for (step, used) in [(7, 0), (8, 1), (8, 0), (6, 0), (10, 1), (9, 0)] {
            assert_eq!(write!(store, use_totp_step(ADA, step)), used, "step {step}");
        }
        assert_eq!(write!(store, use_totp_step(GRACE, 99)), 0, "another user");

        write!(store, set_second_factors(ADA));
        assert_eq!(second_factors(store, ADA).await, ["totp"]);
        assert_eq!(second_factors(store, GRACE).await, [""; 0]);
        assert_eq!(write!(store, delete_totp(ADA)), 1);
        write!(store, set_second_factors(ADA));
        assert_eq!(second_factors(store, ADA).await, [""; 0]);
    })
    .await;
}

#[actix_rt::test]
async fn recovery_codes_are_used_once_by_their_user_and_end_with_the_last_second_factor() {
    on_each(async |store, _| {
        add_users(store).await;
        write!(store, put_totp(ADA, b"sealed", at(1)));
        write!(store, confirm_totp(ADA, 1, at(1)));
        write!(store, set_second_factors(ADA));
        write!(store, replace_recovery_codes(ADA, &[[1; 32], [2; 32]], at(1)));
        write!(store, replace_recovery_codes(ADA, &[[3; 32], [4; 32], [5; 32]], at(2)));
        assert_eq!(read!(store, count_recovery_codes(ADA)), 3);
        assert_eq!(write!(store, use_recovery_code(ADA, &[1; 32])), 0, "replaced");
        assert_eq!(write!(store, use_recovery_code(GRACE, &[3; 32])), 0, "another user's");
        assert_eq!(write!(store, use_recovery_code(ADA, &[3; 32])), 1);
        assert_eq!(write!(store, use_recovery_code(ADA, &[3; 32])), 0, "used");
        write!(store, set_second_factors(ADA));
        assert_eq!(read!(store, count_recovery_codes(ADA)), 2);
        write!(store, insert_sign_in_challenge(&challenge([9; 32], 1)));
        write!(store, delete_second_factors(ADA));
        assert_eq!(read!(store, totp(ADA)), None);
        assert_eq!(read!(store, count_recovery_codes(ADA)), 0);
        assert_eq!(read!(store, sign_in_challenge(&[9; 32], at(2))), None);
        assert_eq!(second_factors(store, ADA).await, [""; 0]);
    })
    .await;
}

fn challenge(digest: [u8; 32], secs: i64) -> SignInChallenge {
    SignInChallenge {
        digest,
        user_id: ADA,
        methods: vec!["pwd".into()],
        by_cookie: true,
        created_at: at(secs),
        expires_at: at(secs + 300),
    }
}

#[actix_rt::test]
async fn a_waiting_sign_in_takes_so_many_answers_and_the_newest_is_never_one_too_many() {
    on_each(async |store, _| {
        add_users(store).await;
        write!(store, insert_sign_in_challenge(&challenge([1; 32], 0)));
        assert_eq!(read!(store, sign_in_challenge(&[1; 32], at(299))), Some(challenge([1; 32], 0)));
        assert_eq!(read!(store, sign_in_challenge(&[1; 32], at(300))), None, "expired");
        assert_eq!(write!(store, count_answer(&[1; 32], 2, at(300))), 0, "expired");
        for counted in [1, 1, 0] {
            assert_eq!(write!(store, count_answer(&[1; 32], 2, at(1))), counted);
        }
        write!(store, delete_sign_in_challenge(&[1; 32]));
        assert_eq!(read!(store, sign_in_challenge(&[1; 32], at(1))), None);

        // In one millisecond the digests order them: the last one comes last of all.
        for number in 10..30 {
            write!(store, insert_sign_in_challenge(&challenge([number; 32], 1)));
            assert!(read!(store, sign_in_challenge(&[number; 32], at(1))).is_some(), "{number}");
        }
        write!(store, insert_sign_in_challenge(&challenge([2; 32], 2)));
        let mut left = 0;
        for number in 10..30 {
            left += usize::from(read!(store, sign_in_challenge(&[number; 32], at(1))).is_some());
        }
        assert_eq!(left, 9, "ten in all");
    })
    .await;
}

#[actix_rt::test]
async fn the_methods_of_a_session_are_set() {
    on_each(async |store, _| {
        add_users(store).await;
        let session = NewSession {
            id: Uuid::from_u128(5),
            user_id: ADA,
            at: at(0),
            authentication: Authentication { at: at(0), methods: vec!["pwd".into()] },
            token_until: at(3_600),
            refresh_digest: [5; 32],
            by_cookie: false,
            client: Client::default(),
        };
        write!(store, insert_session(&session));
        let methods = ["pwd", "otp", "mfa"].map(str::to_owned);
        write!(store, set_methods(session.id, &methods));
        let stored = read!(store, session(session.id)).unwrap();
        assert_eq!(stored.authentication.methods, methods);
    })
    .await;
}

fn mail(number: u128, kind: MailKind, secs: i64) -> NewMail {
    NewMail {
        id: Uuid::from_u128(number),
        kind,
        recipient: "ada@example.com".into(),
        user: Some(ADA),
        details: MailDetails { by_admin: true, ..MailDetails::default() },
        at: at(secs),
    }
}

#[actix_rt::test]
async fn a_mail_waits_until_it_is_claimed_once_delayed_and_deleted_once() {
    on_each(async |store, _| {
        add_users(store).await;
        assert_eq!(read!(store, count_mails()), (0, None));
        let sealed = SealedToken { digest: [1; 32], sealed: b"sealed".to_vec() };
        write!(store, insert_mail(&mail(1, MailKind::Reset, 5), Some(&sealed)));
        write!(store, insert_mail(&mail(2, MailKind::Changed, 3), None));
        assert_eq!(read!(store, count_mails()), (2, Some(at(3))));
        let waiting = read!(store, waiting_mails(Uuid::nil(), 9));
        assert_eq!(waiting.iter().map(|mail| mail.id.as_u128()).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((waiting[0].kind.as_str(), &waiting[0].token), ("reset", &Some(sealed.clone())));
        assert!(waiting[0].details.by_admin);
        assert_eq!(read!(store, waiting_mails(Uuid::from_u128(1), 9)).len(), 1, "after the first");

        let hour = Duration::hours(1);
        let due = async |secs| {
            let due = read!(store, due_mails(at(secs), hour, 9));
            due.iter().map(|mail| mail.id.as_u128()).collect::<Vec<_>>()
        };
        assert_eq!(due(5).await, [2, 1], "those that wait longest first");
        assert_eq!(due(4).await, [2]);
        assert_eq!(due(5 - 3_601).await, [1], "set by a clock that was ahead");

        let id = Uuid::from_u128(1);
        assert!(write!(store, claim_mail(id, at(5), at(65))));
        assert!(!write!(store, claim_mail(id, at(5), at(66))), "another server was first");
        write!(store, delay_mail(id, at(70), "550 no such user"));
        let other = SealedToken { digest: [2; 32], sealed: b"other".to_vec() };
        write!(store, set_mail_token(id, GRACE, &other));
        let changed = read!(store, waiting_mails(Uuid::nil(), 1)).remove(0);
        assert_eq!((changed.tries, changed.next_try_at), (1, at(70)));
        assert_eq!(changed.last_error.as_deref(), Some("550 no such user"));
        assert_eq!((changed.user, changed.token), (Some(GRACE), Some(other)));

        write!(store, delete_waiting_mails(ADA));
        assert_eq!(read!(store, count_mails()).0, 2, "the undo of a change stays, and the other user's mail");
        write!(store, delete_waiting_mails(GRACE));
        assert_eq!(read!(store, count_mails()).0, 1);
        assert!(write!(store, delete_mail(Uuid::from_u128(2))));
        assert!(!write!(store, delete_mail(Uuid::from_u128(2))), "deleted before");
    })
    .await;
}

fn token(number: u8, purpose: MailPurpose) -> MailToken {
    MailToken {
        digest: [number; 32],
        purpose,
        user: ADA,
        email: "old@example.com".into(),
        code: (purpose == MailPurpose::Link).then_some([99; 32]),
        browser: Some([98; 32]),
        created_at: at(i64::from(number)),
        expires_at: at(100),
    }
}

#[actix_rt::test]
async fn a_token_of_a_mail_works_once_until_it_expires_or_is_revoked() {
    on_each(async |store, _| {
        add_users(store).await;
        let purposes = [MailPurpose::Verify, MailPurpose::Reset, MailPurpose::Undo, MailPurpose::Link];
        let add = async || {
            for (number, purpose) in (1..).zip(purposes) {
                write!(store, insert_mail_token(&token(number, purpose)));
            }
        };
        let left = async || {
            let mut left = vec![];
            for number in 1..=4 {
                left.extend(read!(store, mail_token(&[number; 32], at(99))).map(|token| token.purpose));
            }
            left
        };
        add().await;
        let link = read!(store, mail_token(&[4; 32], at(99)));
        assert_eq!(link, Some(token(4, MailPurpose::Link)), "as it was stored");
        assert_eq!(read!(store, mail_token(&[4; 32], at(100))), None, "expired");
        assert!(write!(store, delete_mail_token(&[1; 32])));
        assert!(!write!(store, delete_mail_token(&[1; 32])), "used");
        write!(store, delete_mail_tokens(ADA, MailPurpose::Reset));
        assert_eq!(left().await, [MailPurpose::Undo, MailPurpose::Link]);
        write!(store, revoke_mail_tokens(ADA));
        assert_eq!(left().await, [MailPurpose::Undo]);
        assert!(read!(store, is_reserved("old@example.com", GRACE, at(99))));
        assert!(!read!(store, is_reserved("old@example.com", ADA, at(99))), "its own");
        assert!(!read!(store, is_reserved("old@example.com", GRACE, at(100))), "expired");
        write!(store, delete_undo_tokens(ADA, at(4)));
        assert_eq!(left().await, [MailPurpose::Undo], "of an earlier change");
        write!(store, delete_undo_tokens(ADA, at(3)));
        assert_eq!(left().await, []);
        add().await;
        for tried in [true, true, false] {
            let counted = write!(store, count_code_try(ADA, at(50), 2));
            assert_eq!(counted.is_some(), tried);
        }
        assert!(write!(store, count_code_try(GRACE, at(50), 2)).is_none());
    })
    .await;
}

#[actix_rt::test]
async fn an_address_is_set_unless_another_account_has_it() {
    on_each(async |store, _| {
        add_users(store).await;
        assert!(!write!(store, set_email(ADA, "grace@example.com", at(1))));
        assert!(write!(store, set_email(ADA, "countess@example.com", at(1))));
        write!(store, remove_password(ADA));
        let user = read!(store, user(ADA)).unwrap();
        assert_eq!((user.email.as_str(), user.email_verified_at), ("countess@example.com", Some(at(1))));
        assert_eq!(user.password_hash, None);
        assert!(read!(store, user(GRACE)).unwrap().password_hash.is_some());
    })
    .await;
}
