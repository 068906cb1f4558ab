//! Passkeys in the store, on each database.

use chrono::{DateTime, Duration, Utc};
use hallpass::server::model::{Lifetimes, Passkey, Retention, UserRecord};
use hallpass::server::store::{Store, StoreError, Transaction};
use uuid::Uuid;

use crate::store::on_each;

fn at(secs: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + secs, 0).unwrap()
}

fn user(number: u128) -> UserRecord {
    UserRecord {
        id: Uuid::from_u128(number),
        email: format!("{number}@example.com"),
        email_verified_at: None,
        name: None,
        roles: vec![],
        password_hash: None,
        disabled_at: None,
        created_at: at(0),
        last_login_at: None,
        second_factors: vec![],
    }
}

fn passkey(number: u128, user: u128) -> Passkey {
    Passkey {
        id: Uuid::from_u128(100 + number),
        user_id: Uuid::from_u128(user),
        credential_id: vec![number as u8; 16],
        public_key: vec![0xa5, number as u8],
        transports: vec!["hybrid".into(), "internal".into()],
        name: format!("Key {number}"),
        sign_count: 0,
        syncable: true,
        synced: false,
        created_at: at(number as i64),
        last_used_at: None,
    }
}

async fn write<T>(store: &Store, act: impl AsyncFn(&mut Transaction) -> Result<T, StoreError>) -> T {
    store.write(async |tx| act(tx).await).await.unwrap()
}

async fn passkeys_of(store: &Store, user: u128) -> Vec<Passkey> {
    store.read(async |connection| connection.passkeys_of(Uuid::from_u128(user)).await).await.unwrap()
}

/// Users 1 and 2, with the passkeys 1, 2 and 3; the third is user 2's.
async fn with_passkeys(store: &Store) {
    write(store, async |tx| {
        for number in [1, 2] {
            tx.insert_user(&user(number)).await?;
        }
        for (number, user) in [(2, 1), (1, 1), (3, 2)] {
            assert_eq!(tx.insert_passkey(&passkey(number, user)).await?, 1);
        }
        tx.set_second_factors(Uuid::from_u128(1)).await
    })
    .await;
}

#[actix_rt::test]
async fn passkeys_are_stored_as_given_listed_in_order_and_found_by_their_credential() {
    on_each(async |store, _| {
        with_passkeys(store).await;
        assert_eq!(passkeys_of(store, 1).await, [passkey(1, 1), passkey(2, 1)]);
        let find = async |id: &[u8]| {
            store.read(async |connection| connection.passkey_by_credential(id).await).await.unwrap()
        };
        assert_eq!(find(&[3; 16]).await, Some(passkey(3, 2)));
        assert_eq!(find(&[3; 15]).await, None);
        let known = Passkey { id: Uuid::from_u128(999), ..passkey(3, 1) };
        assert_eq!(write(store, async |tx| tx.insert_passkey(&known).await).await, 0, "a known credential");
        let user = store.read(async |connection| connection.user(Uuid::from_u128(1)).await).await.unwrap();
        assert_eq!(user.unwrap().second_factors, ["passkey"]);
    })
    .await;
}

#[actix_rt::test]
async fn a_passkey_is_renamed_and_deleted_as_its_users_alone_and_goes_with_its_user() {
    on_each(async |store, _| {
        with_passkeys(store).await;
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (first, second) = (passkey(1, 1).id, passkey(2, 1).id);
        write(store, async |tx| {
            assert_eq!(tx.rename_passkey(two, first, "Mine").await?, 0, "another user's");
            assert_eq!(tx.rename_passkey(one, first, "Phone").await?, 1);
            assert_eq!(tx.delete_passkey(two, second).await?, 0, "another user's");
            assert_eq!(tx.delete_passkey(one, second).await?, 1);
            assert_eq!(tx.delete_passkey(one, second).await?, 0, "gone");
            Ok(())
        })
        .await;
        let renamed = Passkey { name: "Phone".into(), ..passkey(1, 1) };
        assert_eq!(passkeys_of(store, 1).await, [renamed]);
        write(store, async |tx| tx.delete_user(one).await).await;
        assert_eq!(passkeys_of(store, 1).await, []);
        assert_eq!(passkeys_of(store, 2).await, [passkey(3, 2)]);
    })
    .await;
}

#[actix_rt::test]
async fn passkeys_since_a_time_are_deleted() {
    on_each(async |store, _| {
        with_passkeys(store).await;
        let deleted =
            write(store, async |tx| tx.delete_passkeys_since(Uuid::from_u128(1), at(2)).await).await;
        assert_eq!(deleted, 1);
        assert_eq!(passkeys_of(store, 1).await, [passkey(1, 1)]);
        assert_eq!(passkeys_of(store, 2).await, [passkey(3, 2)], "another user's");
    })
    .await;
}

#[actix_rt::test]
async fn a_counter_that_does_not_grow_changes_nothing_unless_it_stays_zero() {
    on_each(async |store, _| {
        with_passkeys(store).await;
        let id = passkey(1, 1).id;
        for (count, is_used) in
            [(0, true), (0, true), (5, true), (5, false), (4, false), (0, false), (u32::MAX, true)]
        {
            let used = write(store, async |tx| tx.use_passkey(id, count, true, at(60)).await).await;
            assert_eq!(used == 1, is_used, "{count}");
        }
        let used =
            Passkey { sign_count: u32::MAX, synced: true, last_used_at: Some(at(60)), ..passkey(1, 1) };
        assert_eq!(passkeys_of(store, 1).await, [used, passkey(2, 1)]);
        let gone = Uuid::from_u128(999);
        assert_eq!(write(store, async |tx| tx.use_passkey(gone, 1, false, at(60)).await).await, 0);
    })
    .await;
}

#[actix_rt::test]
async fn a_challenge_is_answered_once_and_remembered_for_an_hour_after_its_end() {
    let keep = Retention {
        sessions: Lifetimes {
            idle: Duration::hours(2),
            absolute: Duration::hours(4),
            grace: Duration::zero(),
        },
        leeway: Duration::zero(),
        events: Duration::days(30),
    };
    on_each(async |store, _| {
        let answer = async || write(store, async |tx| tx.use_challenge(&[7; 32], at(300)).await).await;
        assert_eq!((answer().await, answer().await), (1, 0));
        store.delete_expired(at(300 + 3_600), &keep).await.unwrap();
        assert_eq!(answer().await, 0, "a clock that steps back makes it good again");
        store.delete_expired(at(300 + 3_601), &keep).await.unwrap();
        assert_eq!(answer().await, 1, "deleted");
    })
    .await;
}
