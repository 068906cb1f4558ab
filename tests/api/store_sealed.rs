//! The store's operations on what is sealed and sealed anew, on every database.

use chrono::DateTime;
use hallpass::server::model::{EarlierKey, Handover, UserRecord};
use hallpass::server::store::{MAIL_OUTBOX, Store, StoreError};
use uuid::Uuid;

use crate::test_database::TestDatabase;

async fn on_each(story: impl AsyncFn(&Store, &TestDatabase)) {
    for database in TestDatabase::each() {
        let store = Store::open(&database.settings).await.unwrap();
        story(&store, &database).await;
        store.close().await;
    }
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

#[actix_rt::test]
async fn hashes_that_are_not_sealed_are_found_and_replaced_unless_they_were_changed_meanwhile() {
    on_each(async |store, _| {
        let hashes = [Some("$2b$04$one"), None, Some("$sealed$two"), Some("$2b$04$three"), Some("last")];
        store
            .write(async |tx| {
                for (number, hash) in (1..).zip(hashes) {
                    let user = UserRecord {
                        id: id(number),
                        email: format!("user{number}@example.com"),
                        email_verified_at: None,
                        name: None,
                        roles: vec![],
                        password_hash: hash.map(str::to_owned),
                        disabled_at: None,
                        created_at: DateTime::UNIX_EPOCH,
                        last_login_at: None,
                        second_factors: vec![],
                    };
                    tx.insert_user(&user).await?;
                }
                Ok::<_, StoreError>(())
            })
            .await
            .unwrap();
        let is_any = async |after| {
            store.read(async |connection| connection.has_hashes_to_seal(after).await).await.unwrap()
        };
        assert!(is_any(id(0)).await && is_any(id(4)).await && !is_any(id(5)).await);
        let (plain, all) = store
            .write(async |tx| {
                let plain = tx.lock_hashes_to_seal(id(0), 2).await?;
                Ok::<_, StoreError>((plain, tx.lock_hashes_after(id(1), 10).await?))
            })
            .await
            .unwrap();
        let users = |rows: &[(Uuid, String, String)]| -> Vec<u128> {
            rows.iter().map(|(user, ..)| user.as_u128()).collect()
        };
        assert_eq!((users(&plain), users(&all)), (vec![1, 4], vec![3, 4, 5]));
        let awkward = "$sealed$ \" ' \\ ö \n";
        let anew = [
            (id(1), "$2b$04$one".to_owned(), awkward.to_owned()),
            (id(4), "changed meanwhile".to_owned(), "$sealed$four".to_owned()),
            (id(9), "no such user".to_owned(), "$sealed$nine".to_owned()),
        ];
        let replace = store.write(async |tx| tx.replace_hashes(&anew).await);
        assert_eq!(replace.await.unwrap(), 1);
        let hash = async |number| {
            let user = store.read(async |connection| connection.user(id(number)).await).await.unwrap();
            user.unwrap().password_hash.unwrap()
        };
        assert_eq!((hash(1).await.as_str(), hash(4).await.as_str()), (awkward, "$2b$04$three"));
    })
    .await;
}

#[actix_rt::test]
async fn how_far_sealing_anew_has_come_is_stored_for_each_table() {
    on_each(async |store, _| {
        let reseals = async || store.read(async |connection| connection.reseals().await).await.unwrap();
        store
            .write(async |tx| {
                tx.insert_reseal("users").await?;
                tx.insert_reseal("mail_outbox").await?;
                tx.set_reseal("users", id(7)).await
            })
            .await
            .unwrap();
        assert_eq!(reseals().await, [("mail_outbox".into(), None), ("users".into(), Some(id(7)))]);
        store.write(async |tx| tx.delete_reseal("users").await).await.unwrap();
        assert_eq!(reseals().await, [("mail_outbox".into(), None)]);

        let earlier = [1, 2].map(|generation| EarlierKey { generation, sealed: vec![generation as u8; 60] });
        for some in [&earlier[..1], &earlier] {
            store.write(async |tx| tx.replace_earlier_keys(some).await).await.unwrap();
            let read = store.read(async |connection| connection.earlier_keys().await).await.unwrap();
            assert_eq!(read, some);
        }
    })
    .await;
}

#[actix_rt::test]
async fn sealed_values_are_read_with_what_is_beside_them_and_replaced() {
    on_each(async |store, database| {
        for (number, sealed) in
            [(1, "null".to_owned()), (2, database.literal(b"seal")), (3, database.literal(b"x"))]
        {
            let id = database.uuid(id(number));
            database
                .execute(&format!(
                    "insert into mail_outbox (id, kind, recipient, details, sealed, created_at, next_try_at) \
                     values ({id}, 'verify', 'ö@example.com', '{{}}', {sealed}, 0, 0)"
                ))
                .await;
        }
        let rows = async |after, limit| {
            store.write(async |tx| tx.lock_sealed(&MAIL_OUTBOX, after, limit).await).await.unwrap()
        };
        let found = rows(id(0), 1).await;
        assert_eq!((found.len(), found[0].key, found[0].sealed.as_slice()), (1, id(2), &b"seal"[..]));
        let about = [id(2).as_bytes().to_vec(), b"verify".to_vec(), "ö@example.com".into()];
        assert_eq!(found[0].about, about);
        store.write(async |tx| tx.replace_sealed(&MAIL_OUTBOX, id(2), b"anew").await).await.unwrap();
        let found: Vec<_> = rows(id(0), 10).await.into_iter().map(|row| (row.key, row.sealed)).collect();
        assert_eq!(found, [(id(2), b"anew".to_vec()), (id(3), b"x".to_vec())]);
    })
    .await;
}

#[actix_rt::test]
async fn a_request_for_the_installation_key_is_answered_once_and_deleted() {
    on_each(async |store, _| {
        let asked = |number| Handover {
            id: id(number),
            from: 1,
            to: 2,
            public_key: vec![number as u8; 32],
            answer: None,
            created_at: DateTime::from_timestamp(number as i64, 0).unwrap(),
        };
        store
            .write(async |tx| {
                for number in 1..=3 {
                    tx.insert_handover(&asked(number)).await?;
                }
                Ok::<_, StoreError>(())
            })
            .await
            .unwrap();
        let answer = async |bytes: &[u8]| {
            store.write(async |tx| tx.answer_handover(id(2), bytes).await).await.unwrap()
        };
        assert_eq!((answer(b"first").await, answer(b"second").await), (1, 0));
        let one = store.read(async |connection| connection.handover(id(2)).await).await.unwrap();
        assert_eq!(one, Some(Handover { answer: Some(b"first".to_vec()), ..asked(2) }));
        store.write(async |tx| tx.delete_handover(id(1)).await).await.unwrap();
        let all = async || store.read(async |connection| connection.handovers().await).await.unwrap();
        assert_eq!(all().await, [one.unwrap(), asked(3)]);
        store.write(async |tx| tx.delete_handovers().await).await.unwrap();
        assert_eq!(all().await, []);
    })
    .await;
}
