//! Every operation of the store on each database: the same calls have the same outcomes.

use chrono::{DateTime, Duration, Utc};
use hallpass::server::model::{
    AttemptCounter, Authentication, Change, Client, CounterKey, Event, EventFilter, EventKind, KdfParams,
    KnownAddress, Lifetimes, NewSession, Retention, Rotation, SealedInstallation, SealedKey, SessionPlace,
    UserRecord,
};
use hallpass::server::store::{Position, Store, StoreError};
use uuid::Uuid;

use crate::test_database::TestDatabase;

/// A time with microseconds, which neither database stores.
fn at(secs: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + secs, 123_456_789).unwrap()
}

/// The same time as it is stored.
fn kept(secs: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis((1_800_000_000 + secs) * 1_000 + 123).unwrap()
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn user(number: u128, email: &str) -> UserRecord {
    UserRecord {
        id: id(number),
        email: email.into(),
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

fn session(number: u128, user: u128, secs: i64) -> NewSession {
    NewSession {
        id: id(number),
        user_id: id(user),
        at: at(secs),
        authentication: Authentication { at: at(secs), methods: vec!["pwd".into()] },
        token_until: at(secs + 3_600),
        refresh_digest: [number as u8; 32],
        by_cookie: number.is_multiple_of(2),
        client: Client::default(),
    }
}

const LIFETIMES: Lifetimes =
    Lifetimes { idle: Duration::hours(2), absolute: Duration::hours(4), grace: Duration::seconds(10) };

const RETENTION: Retention =
    Retention { sessions: LIFETIMES, leeway: Duration::zero(), events: Duration::days(30) };

/// Runs a story on each database.
pub async fn on_each(story: impl AsyncFn(&Store, &TestDatabase)) {
    for database in TestDatabase::each() {
        // Shown where the test fails.
        eprintln!("on {}", database.settings.url);
        let store = Store::open(&database.settings).await.unwrap();
        story(&store, &database).await;
        store.close().await;
    }
}

/// Returns a position for which no older transaction is open. In PostgreSQL a reader with an older open transaction in
/// its snapshot reloads everything after a deletion, and other tests have transactions open.
async fn position_past_open_transactions(store: &Store) -> Position {
    let position = async || store.read(async |connection| connection.position().await).await.unwrap();
    // A snapshot as text is "xmin:xmax:…": the oldest transaction that is open, and the next one to begin.
    let bound = |position: &Position, nth| match position {
        Position::Number(_) => 0,
        Position::Snapshot { snapshot, .. } => snapshot.split(':').nth(nth).unwrap().parse::<u64>().unwrap(),
    };
    let next_to_begin = bound(&position().await, 1);
    loop {
        let position = position().await;
        if bound(&position, 0) >= next_to_begin {
            return position;
        }
    }
}

/// Runs operations that must succeed, in one transaction.
async fn write<T>(
    store: &Store,
    work: impl AsyncFnMut(&mut hallpass::server::store::Transaction) -> Result<T, StoreError>,
) -> T {
    store.write(work).await.unwrap()
}

#[actix_rt::test]
async fn an_installation_is_created_once_and_resealed_once() {
    on_each(async |store, _| {
        let read = async || store.read(async |connection| connection.installation().await).await.unwrap();
        assert_eq!(read().await, None);
        let made = SealedInstallation {
            id: id(1),
            kdf: KdfParams { memory_kib: 65_536, iterations: 3, lanes: 4 },
            salt: vec![0, 1, 255],
            sealed_key: vec![9; 60],
            created_at: at(0),
            generation: 1,
            rekeyed_at: None,
        };
        let second = SealedInstallation { id: id(2), ..made.clone() };
        assert_eq!(write(store, async |tx| tx.insert_installation(&made).await).await, 1);
        assert_eq!(write(store, async |tx| tx.insert_installation(&second).await).await, 0);
        let stored = SealedInstallation { created_at: kept(0), ..made.clone() };
        assert_eq!(read().await, Some(stored.clone()));

        let resealed = SealedInstallation { salt: vec![7], sealed_key: vec![8; 60], ..stored.clone() };
        assert_eq!(write(store, async |tx| tx.replace_seal(&stored, &resealed).await).await, 1);
        assert_eq!(write(store, async |tx| tx.replace_seal(&stored, &made).await).await, 0, "not the last");
        assert_eq!(read().await, Some(resealed));
    })
    .await;
}

#[actix_rt::test]
async fn keys_are_sorted_by_the_time_from_which_they_sign_and_keep_the_longest_lifetime() {
    on_each(async |store, _| {
        let key = |kid: &str, signs_from: i64| SealedKey {
            kid: kid.into(),
            algorithm: "EdDSA".into(),
            purpose: "access".into(),
            created_at: at(0),
            signs_from: at(signs_from),
            sealed: vec![1, 2],
        };
        let kids = async || {
            let keys = store.read(async |connection| connection.signing_keys().await).await.unwrap();
            let show = |key: hallpass::server::model::StoredKey| {
                (key.sealed.kid, key.sealed.signs_from, key.token_lifetime.num_seconds())
            };
            keys.into_iter().map(show).collect::<Vec<_>>()
        };
        let shown = |kid: &str, secs, lifetime| (kid.to_owned(), kept(secs), lifetime);
        let hour = Duration::hours(1);
        write(store, async |tx| tx.insert_key(&key("late", 9), hour).await).await;
        write(store, async |tx| tx.insert_key(&key("a", 5), Duration::seconds(60)).await).await;
        // Of the same times: by bytes, in which capitals come first.
        write(store, async |tx| tx.insert_key(&key("B", 5), Duration::hours(2)).await).await;
        assert_eq!(kids().await, [shown("B", 5, 7_200), shown("a", 5, 3_600), shown("late", 9, 3_600)]);

        let locked = write(store, async |tx| tx.lock_signing_keys().await).await;
        assert_eq!(locked.len(), 3);
        assert_eq!((locked[0].sealed.created_at, &locked[0].sealed.sealed), (kept(0), &vec![1, 2]));
        write(store, async |tx| tx.raise_token_lifetime(Duration::seconds(5_000)).await).await;
        write(store, async |tx| tx.replace_key(&SealedKey { sealed: vec![3], ..key("a", 20) }).await).await;
        write(store, async |tx| tx.delete_key("late", at(1)).await).await;
        assert_eq!(kids().await, [shown("B", 5, 7_200), shown("a", 20, 5_000)]);
        let keys = store.read(async |connection| connection.signing_keys().await).await.unwrap();
        assert_eq!(keys[1].sealed.sealed, [3]);
        let twice = store.write(async |tx| tx.insert_key(&key("a", 1), hour).await).await;
        assert!(matches!(twice, Err(StoreError::Failed(_))), "{twice:?}");
    })
    .await;
}

#[actix_rt::test]
async fn a_user_is_stored_as_given_and_an_address_is_unique() {
    on_each(async |store, _| {
        let find =
            async |number| store.read(async |connection| connection.user(id(number)).await).await.unwrap();
        let by_email = async |email: &str| {
            store.read(async |connection| connection.user_by_email(email).await).await.unwrap()
        };
        let bare = user(1, "bare@example.com");
        let full = UserRecord {
            email_verified_at: Some(at(4)),
            name: Some("Ada Lovelace, Gräfin 🦀".into()),
            roles: vec!["admin".into(), "editor".into()],
            password_hash: Some("$2b$04$hash".into()),
            disabled_at: Some(at(1)),
            created_at: at(-2),
            last_login_at: Some(at(3)),
            ..user(2, "full@example.com")
        };
        for record in [&bare, &full] {
            assert_eq!(write(store, async |tx| tx.insert_user(record).await).await, 1);
        }
        let stored = UserRecord {
            email_verified_at: Some(kept(4)),
            disabled_at: Some(kept(1)),
            created_at: kept(-2),
            last_login_at: Some(kept(3)),
            ..full.clone()
        };
        assert_eq!(find(1).await, Some(UserRecord { created_at: kept(0), ..bare.clone() }));
        assert_eq!(find(2).await, Some(stored.clone()));
        assert_eq!(find(3).await, None);
        assert_eq!(by_email("full@example.com").await, Some(stored.clone()));
        assert_eq!(by_email("FULL@example.com").await, None, "the rules give lower case");
        assert_eq!(write(store, async |tx| tx.insert_user(&user(3, "full@example.com")).await).await, 0);
        assert_eq!(find(3).await, None);
        let several = [(4, "four"), (5, "full"), (6, "four"), (7, "seven")];
        let several = several.map(|(number, name)| user(number, &format!("{name}@example.com")));
        assert_eq!(write(store, async |tx| tx.insert_users(&several).await).await, 2);
        assert_eq!(
            (find(4).await.unwrap().email, find(7).await.unwrap().email),
            ("four@example.com".into(), "seven@example.com".into())
        );
        assert_eq!((find(5).await, find(6).await), (None, None));
        assert_eq!(write(store, async |tx| tx.insert_users(&[]).await).await, 0);
        let same_id = store.write(async |tx| tx.insert_user(&user(1, "other@example.com")).await).await;
        assert!(matches!(same_id, Err(StoreError::Failed(_))), "{same_id:?}");

        assert_eq!(write(store, async |tx| tx.lock_user(id(2)).await).await, Some(stored.clone()));
        write(store, async |tx| {
            tx.set_name(id(1), Some("Bare")).await?;
            tx.set_name(id(2), None).await?;
            tx.set_password_hash(id(1), "new").await?;
            tx.set_disabled(id(1), Some(at(5))).await?;
            tx.set_disabled(id(2), None).await?;
            tx.set_last_login(id(1), at(6)).await
        })
        .await;
        let changed = UserRecord {
            name: Some("Bare".into()),
            password_hash: Some("new".into()),
            disabled_at: Some(kept(5)),
            last_login_at: Some(kept(6)),
            created_at: kept(0),
            ..bare.clone()
        };
        assert_eq!(find(1).await, Some(changed));
        assert_eq!(find(2).await, Some(UserRecord { name: None, disabled_at: None, ..stored }));
    })
    .await;
}

#[actix_rt::test]
async fn users_are_paged_in_the_order_of_their_addresses_bytes() {
    on_each(async |store, _| {
        // As bytes sort them. A language's rules would skip the signs.
        let sorted = [
            "#@x.example",
            "+a@x.example",
            "-a@x.example",
            "0@x.example",
            "a+b@x.example",
            "a-b@x.example",
            "a.b@x.example",
            "a0@x.example",
            "a@x.example",
            "a_b@x.example",
            "aa@x.example",
            "ab@x.example",
            "z@x.example",
            "{@x.example",
            "~@x.example",
        ];
        for (number, email) in sorted.iter().enumerate().rev() {
            write(store, async |tx| tx.insert_user(&user(number as u128, email)).await).await;
        }
        let mut seen = Vec::new();
        loop {
            let after = seen.last().map_or("", String::as_str);
            let page = store.read(async |connection| connection.users_after(after, 4).await).await.unwrap();
            if page.is_empty() {
                break;
            }
            assert!(page.len() <= 4);
            seen.extend(page.into_iter().map(|user| user.email));
        }
        assert_eq!(seen, sorted);
    })
    .await;
}

#[actix_rt::test]
async fn a_session_is_refreshed_used_listed_and_ended() {
    on_each(async |store, _| {
        let get =
            async |number| store.read(async |connection| connection.session(id(number)).await).await.unwrap();
        let page = async |secs, after, limit| {
            let read = async |connection: &mut hallpass::server::store::Connection| {
                connection.sessions_of(id(100), at(secs), &LIFETIMES, after, limit).await
            };
            let sessions = store.read(read).await.unwrap();
            sessions.into_iter().map(|session| session.id.as_u128()).collect::<Vec<_>>()
        };
        let list = async |secs| page(secs, None, 10).await;
        let client = Client {
            address: Some("2001:db8::1".parse().unwrap()),
            user_agent: Some("Browser/1.0 (Ü)".into()),
            request_id: Some("not of the session".into()),
            ..Client::default()
        };
        write(store, async |tx| {
            tx.insert_user(&user(100, "ada@example.com")).await?;
            tx.insert_user(&user(200, "bob@example.com")).await?;
            tx.insert_session(&session(1, 100, 0)).await?;
            tx.insert_session(&NewSession { client: client.clone(), ..session(2, 100, 0) }).await?;
            tx.insert_session(&session(3, 100, 5)).await?;
            tx.insert_session(&session(4, 200, 5)).await
        })
        .await;
        let stored = get(2).await.unwrap();
        assert_eq!((stored.user_id, stored.by_cookie, stored.ended_at), (Some(id(100)), true, None));
        assert_eq!(
            (stored.created_at, stored.refreshed_at, stored.last_seen_at),
            (kept(0), kept(0), kept(0))
        );
        assert_eq!((stored.refresh_digest, &stored.client.user_agent), ([2; 32], &client.user_agent));
        assert_eq!((stored.client.address, &stored.client.request_id), (client.address, &None));
        assert_eq!(list(10).await, [3, 2, 1], "the latest first, then the higher id");
        assert_eq!(page(10, Some(SessionPlace { created_at: at(0), id: id(2) }), 5).await, [1]);
        assert_eq!(write(store, async |tx| tx.surplus_sessions(id(100), 2).await).await, [id(1)]);
        assert_eq!(write(store, async |tx| tx.lock_session(id(2)).await).await, Some(stored));
        let rotation = Rotation { salt: [5; 32], at: kept(50) };
        write(store, async |tx| {
            tx.insert_rotation(id(1), &[1; 32], &rotation).await?;
            tx.set_refresh_digest(id(1), &[11; 32], at(50), &client).await?;
            tx.extend_tokens(id(1), at(7_000)).await?;
            tx.extend_tokens(id(1), at(10)).await?;
            tx.set_last_seen(&[(id(1), at(40)), (id(2), at(60)), (id(77), at(60))]).await
        })
        .await;
        let refreshed = get(1).await.unwrap();
        assert_eq!((refreshed.refresh_digest, refreshed.refreshed_at), ([11; 32], kept(50)));
        assert_eq!(refreshed.last_seen_at, kept(50), "never set back");
        assert_eq!(get(2).await.unwrap().last_seen_at, kept(60));
        let first_use = async |session, digest| {
            write(store, async |tx| tx.rotation(id(session), &[digest; 32]).await).await
        };
        assert_eq!(first_use(1, 1).await, Some(rotation));
        assert_eq!(first_use(1, 2).await, None);
        assert_eq!(first_use(2, 1).await, None, "of another session");

        // Idle for two hours and without an access token, but for the one that was extended.
        assert_eq!(list(7_000).await, [3, 2, 1]);
        assert_eq!(list(7_203).await, [3, 1]);
        write(store, async |tx| tx.end_session(id(3), at(70)).await).await;
        write(store, async |tx| tx.end_session(id(3), at(80)).await).await;
        assert_eq!(get(3).await.unwrap().ended_at, Some(kept(70)), "the first time");
        assert_eq!(list(100).await, [2, 1]);
        write(store, async |tx| tx.end_sessions_of(id(100), at(90)).await).await;
        assert_eq!((list(100).await, get(4).await.unwrap().ended_at), (vec![], None));
        let ended = async |secs| {
            let read = store.read(async |connection| connection.ended_sessions(at(secs)).await).await;
            let mut ended = read.unwrap();
            ended.sort_unstable();
            ended
        };
        assert_eq!(ended(100).await, [(id(1), kept(7_000)), (id(2), kept(3_600)), (id(3), kept(3_605))]);
        assert_eq!(ended(3_600).await, [(id(1), kept(7_000)), (id(3), kept(3_605))]);

        write(store, async |tx| tx.delete_user(id(100)).await).await;
        assert_eq!(store.read(async |connection| connection.user(id(100)).await).await.unwrap(), None);
        let orphan = get(2).await.unwrap();
        assert_eq!((orphan.user_id, orphan.client), (None, Client::default()), "the id alone is kept");
        assert_eq!(ended(100).await.len(), 3);
    })
    .await;
}

#[actix_rt::test]
async fn events_are_recorded_in_order_and_found_by_user_time_and_number() {
    on_each(async |store, _| {
        let full = Event {
            address: Some("192.0.2.1".parse().unwrap()),
            request: Some("request-1".into()),
            ..Event::new(EventKind::SignedIn, at(1)).user(id(1)).session(id(5))
        };
        let full = full.detail("count", 3).detail("text", "\"quoted\" Ä");
        write(store, async |tx| {
            tx.insert_user(&user(1, "ada@example.com")).await?;
            tx.record(full.clone()).await?;
            tx.record(Event::new(EventKind::KeyAdded, at(0))).await
        })
        .await;
        write(store, async |tx| tx.record(Event::new(EventKind::SignInFailed, at(2)).user(id(9))).await)
            .await;
        let find = async |user, since, after, limit| {
            let filter = EventFilter { user, since, after, limit };
            store.read(async |connection| connection.events(&filter).await).await.unwrap()
        };
        let all = find(None, DateTime::UNIX_EPOCH, 0, 10).await;
        let told: Vec<_> =
            all.iter().map(|event| (event.event.kind.as_str(), event.email.as_deref())).collect();
        let ada = Some("ada@example.com");
        assert_eq!(told, [("signed_in", ada), ("key_added", None), ("sign_in_failed", None)]);
        assert_eq!(
            format!("{:?}", all[0].event),
            format!("{:?}", Event { at: kept(1), ..full }).replace("SignedIn", "\"signed_in\"")
        );
        assert!(all[0].number < all[1].number && all[1].number < all[2].number);
        assert_eq!(find(None, DateTime::UNIX_EPOCH, 0, 2).await, all[..2]);
        assert_eq!(find(None, DateTime::UNIX_EPOCH, all[0].number, 10).await, all[1..]);
        assert_eq!(find(None, kept(2), 0, 10).await, all[2..]);
        assert_eq!(find(Some(id(1)), DateTime::UNIX_EPOCH, 0, 10).await, all[..1]);
        write(store, async |tx| tx.delete_user(id(1)).await).await;
        assert_eq!(find(Some(id(1)), kept(0), 0, 1).await[0].email, None, "the event outlives the user");
    })
    .await;
}

#[actix_rt::test]
async fn counters_are_stored_and_taken_back_and_addresses_are_remembered() {
    on_each(async |store, _| {
        let (one, other) = (CounterKey::for_tests(7), CounterKey::for_tests(3));
        let lock = async |keys: &[CounterKey]| write(store, async |tx| tx.lock_counters(keys).await).await;
        let never = AttemptCounter::default();
        assert_eq!(lock(&[one, other]).await, [never, never]);
        let counted = AttemptCounter { failures: 2, last_at: at(1), window_began: at(0), in_window: 1 };
        write(store, async |tx| tx.put_counter(one, &counted).await).await;
        let stored = AttemptCounter { last_at: kept(1), window_began: kept(0), ..counted };
        assert_eq!(lock(&[one, other]).await, [stored, never], "in the order asked for");
        assert_eq!(lock(&[other, one]).await, [never, stored]);
        assert_eq!(lock(&[one]).await, [stored]);
        assert_eq!(lock(&[one, one]).await, [stored, stored]);
        for _ in 0..2 {
            write(store, async |tx| tx.uncount(&[one, other]).await).await;
        }
        let taken_back = AttemptCounter { failures: 0, in_window: 0, ..stored };
        assert_eq!(lock(&[one, other]).await, [taken_back, never], "never below zero");
        for keys in [&[][..], &[one, other, one, other]] {
            let refused = store.write(async |tx| tx.lock_counters(keys).await).await;
            assert!(matches!(refused, Err(StoreError::Failed(_))), "{refused:?}");
        }

        let known = async |byte, secs| {
            let address = KnownAddress::for_tests([byte; 32]);
            store
                .read(async |connection| connection.is_known_address(&address, at(secs)).await)
                .await
                .unwrap()
        };
        assert!(!known(1, 0).await);
        let address = KnownAddress::for_tests([1; 32]);
        for until in [5, 10] {
            write(store, async |tx| tx.remember_address(&address, at(until)).await).await;
        }
        assert_eq!((known(1, 9).await, known(1, 10).await, known(2, 0).await), (true, false, false));
    })
    .await;
}

/// Returns the changes since a position and the position after them; `None` if some are lost.
async fn read_on(store: &Store, from: &Position) -> (Position, Option<Vec<Change>>) {
    let new = store.read(async |connection| connection.changes_since(from).await).await.unwrap();
    (new.position, new.changes)
}

#[actix_rt::test]
async fn each_change_is_read_once_from_a_position_on() {
    on_each(async |store, _| {
        let start = store.read(async |connection| connection.position().await).await.unwrap();
        assert_eq!(read_on(store, &start).await.1, Some(vec![]));
        let all = [Change::User(id(1)), Change::Session(id(2)), Change::Keys];
        write(store, async |tx| {
            for change in all {
                tx.note_change(change, at(0)).await?;
            }
            Ok(())
        })
        .await;
        let (second, changes) = read_on(store, &start).await;
        assert_eq!(changes, Some(all.into()));
        assert_eq!(read_on(store, &second).await.1, Some(vec![]));
        write(store, async |tx| {
            tx.insert_user(&user(1, "ada@example.com")).await?;
            tx.insert_session(&session(3, 1, 0)).await?;
            tx.insert_session(&session(4, 1, 0)).await?;
            tx.end_session(id(3), at(0)).await
        })
        .await;
        let (third, changes) = read_on(store, &second).await;
        assert_eq!(changes, Some(vec![Change::Session(id(3))]));
        write(store, async |tx| tx.end_sessions_of(id(1), at(0)).await).await;
        let (_, changes) = read_on(store, &third).await;
        assert_eq!(changes, Some(vec![Change::Session(id(4))]), "the one that was left");
        assert_eq!(
            read_on(store, &start).await.1.map(|all| all.len()),
            Some(5),
            "an earlier position stays good"
        );
        store.ping().await.unwrap();
    })
    .await;
}

#[actix_rt::test]
async fn an_error_rolls_back_everything_even_if_it_is_ignored() {
    on_each(async |store, _| {
        let position = store.read(async |connection| connection.position().await).await.unwrap();
        let refused = store
            .write(async |tx| {
                tx.insert_user(&user(1, "ada@example.com")).await?;
                tx.record(Event::new(EventKind::UserAdded, at(0))).await?;
                tx.note_change(Change::User(id(1)), at(0)).await?;
                Err::<(), _>(StoreError::Failed("changed our mind".into()))
            })
            .await;
        assert!(
            matches!(&refused, Err(StoreError::Failed(text)) if text == "changed our mind"),
            "{refused:?}"
        );
        // A rule that goes on after an error must not be told that its writes took place.
        let passed_over = store
            .write(async |tx| {
                tx.insert_user(&user(2, "bob@example.com")).await?;
                let _ = tx.insert_user(&user(2, "eve@example.com")).await;
                Ok::<_, StoreError>(())
            })
            .await;
        assert!(matches!(passed_over, Err(StoreError::Failed(_))), "{passed_over:?}");
        let users = store.read(async |connection| connection.users_after("", 10).await).await.unwrap();
        assert_eq!(users, []);
        let filter = EventFilter { user: None, since: DateTime::UNIX_EPOCH, after: 0, limit: 10 };
        assert_eq!(store.read(async |connection| connection.events(&filter).await).await.unwrap(), []);
        assert_eq!(read_on(store, &position).await.1, Some(vec![]));
        write(store, async |tx| tx.insert_user(&user(1, "ada@example.com")).await).await;
    })
    .await;
}

/// 2,500 rows, more than two batches of a deletion.
const ROWS: &str = "with recursive n (i) as (select 1 union all select i + 1 from n where i < 2500)";

#[actix_rt::test]
async fn exactly_the_expired_rows_are_deleted_however_many_there_are() {
    on_each(async |store, database| {
        let now = at(0);
        let before = |age: Duration| (now - age).timestamp_millis();
        write(store, async |tx| {
            tx.insert_user(&user(1, "ada@example.com")).await?;
            // In use; over, but with a token that a clock may still show as good; over.
            tx.insert_session(&session(1, 1, -3_600)).await?;
            tx.insert_session(&session(2, 1, -7_200)).await?;
            tx.end_session(id(2), at(-7_200)).await?;
            tx.insert_session(&session(3, 1, -7_205)).await?;
            tx.end_session(id(3), at(-7_205)).await?;
            tx.insert_session(&session(4, 1, -20_000)).await?;
            tx.remember_address(&KnownAddress::for_tests([1; 32]), at(1)).await?;
            tx.remember_address(&KnownAddress::for_tests([2; 32]), at(-1)).await?;
            tx.insert_rotation(id(1), &[1; 32], &Rotation { salt: [0; 32], at: at(-3_609) }).await?;
            tx.insert_rotation(id(1), &[2; 32], &Rotation { salt: [0; 32], at: at(-3_611) }).await?;
            tx.record(Event::new(EventKind::KeyAdded, now - Duration::days(29))).await
        })
        .await;
        let (key, gone) = (CounterKey::for_tests(5_000), CounterKey::for_tests(5_001));
        let counted = |at| AttemptCounter { failures: 1, last_at: at, window_began: at, in_window: 1 };
        write(store, async |tx| {
            tx.put_counter(key, &counted(now - Duration::hours(24))).await?;
            tx.put_counter(gone, &counted(now - Duration::hours(26))).await
        })
        .await;
        let start = store.read(async |connection| connection.position().await).await.unwrap();
        let (old_event, old_change) = (before(Duration::days(31)), before(Duration::hours(2)));
        let subject = database.uuid(id(1));
        database
            .execute(&format!(
                "{ROWS} insert into events (at, kind) select {old_event}, 'signed_in' from n; \
                 {ROWS} insert into changes (kind, subject, at) select 'user', {subject}, {old_change} from n; \
                 {ROWS} insert into attempts (slot, failures, last_at, window_began, in_window) \
                 select i, 1, 0, 0, 1 from n;"
            ))
            .await;
        write(store, async |tx| tx.note_change(Change::Keys, now).await).await;
        assert_eq!(read_on(store, &start).await.1.map(|all| all.len()), Some(2_501));
        let after = position_past_open_transactions(store).await;

        store.delete_expired(now, &RETENTION).await.unwrap();
        store.delete_expired(now, &RETENTION).await.unwrap();
        assert_eq!(read_on(store, &start).await.1, None, "some were deleted before they were read");
        assert_eq!(read_on(store, &after).await.1, Some(vec![]), "all of them had been read");
        let filter = EventFilter { user: None, since: DateTime::UNIX_EPOCH, after: 0, limit: 10_000 };
        let events = store.read(async |connection| connection.events(&filter).await).await.unwrap();
        assert_eq!(events.iter().map(|event| event.event.kind.as_str()).collect::<Vec<_>>(), ["key_added"]);
        let keys = [CounterKey::for_tests(2_500), gone];
        let counters = write(store, async |tx| tx.lock_counters(&keys).await).await;
        assert_eq!(counters, [AttemptCounter::default(); 2]);
        assert_eq!(write(store, async |tx| tx.lock_counters(&[key]).await).await[0].failures, 1);
        let has = async |number| {
            store.read(async |connection| connection.session(id(number)).await).await.unwrap().is_some()
        };
        assert_eq!([has(1).await, has(2).await, has(3).await, has(4).await], [true, true, false, false]);
        let is_known = async |byte| {
            let address = KnownAddress::for_tests([byte; 32]);
            let long_ago = now - Duration::days(1);
            store.read(async |connection| connection.is_known_address(&address, long_ago).await).await.unwrap()
        };
        assert_eq!((is_known(1).await, is_known(2).await), (true, false));
        let rotations = write(store, async |tx| {
            Ok((tx.rotation(id(1), &[1; 32]).await?.is_some(), tx.rotation(id(1), &[2; 32]).await?.is_some()))
        });
        assert_eq!(rotations.await, (true, false));
    })
    .await;
}
