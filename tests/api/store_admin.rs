//! The operations behind the admin's pages on each database, and the indexes that they use.

use chrono::{DateTime, Duration};
use hallpass::server::model::{Event, EventKind, EventPage, Lifetimes, UserPage, UserRecord};
use hallpass::server::store::{EVENT_STATEMENTS, HASH_STATEMENTS, PAGE_STATEMENTS, Store, StoreError};
use sqlx::{AssertSqlSafe, Connection, Executor, Row};
use uuid::Uuid;

use crate::store::on_each;
use crate::test_database::TestDatabase;

fn user(number: u128, roles: &[&str]) -> UserRecord {
    UserRecord {
        id: Uuid::from_u128(number),
        email: format!("user{number}@example.com"),
        email_verified_at: None,
        name: Some("Ada Lovelace".into()),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        password_hash: None,
        disabled_at: None,
        created_at: DateTime::UNIX_EPOCH,
        last_login_at: None,
        second_factors: vec![],
    }
}

async fn page(store: &Store, page: UserPage) -> Vec<u128> {
    let page = UserPage { limit: 10, ..page };
    let read = store.read(async |connection| connection.users_page(&page).await);
    read.await.unwrap().iter().map(|user| user.id.as_u128()).collect()
}

#[test]
fn the_stories_run_every_operation_that_the_store_lists() {
    let listed = include_str!("../../src/server/store/mod.rs");
    let stories = [
        include_str!("store.rs"),
        include_str!("store_accounts.rs"),
        include_str!("store_admin.rs"),
        include_str!("store_passkeys.rs"),
        include_str!("store_sealed.rs"),
    ];
    let rows = listed.lines().filter_map(|line| line.strip_prefix("//! | `")?.split_once("` |"));
    let mut count = 0;
    // Those have tests of their own.
    let elsewhere = ["fast_path", "transfer", "backup"];
    for (file, operations) in rows.filter(|(file, _)| !elsewhere.contains(file)) {
        for name in operations.split('`').skip(1).step_by(2) {
            let name = name.trim_start_matches("Store::");
            let is_called = |story: &&str| {
                // Called as a method, or named to the macros of `store_accounts`.
                story.contains(&format!(".{name}(")) || story.contains(&format!("(store, {name}("))
            };
            assert!(stories.iter().any(is_called), "{file}: {name} is in no story");
            count += 1;
        }
    }
    assert!(count > 40, "the list has another form: {count} operations were found");
}

#[actix_rt::test]
async fn an_event_that_is_repeated_is_counted_in_the_first() {
    on_each(async |store, _| {
        let event = |kind| Event::new(kind, DateTime::UNIX_EPOCH).user(Uuid::from_u128(1));
        for kind in
            [EventKind::UserRenamed, EventKind::UserRenamed, EventKind::SignedIn, EventKind::UserRenamed]
        {
            store.write(async |tx| tx.record_or_count(event(kind)).await).await.unwrap();
        }
        let page = EventPage { limit: 10, ..EventPage::default() };
        let events = store.read(async |connection| connection.events_page(&page).await).await.unwrap();
        let counts: Vec<_> = events
            .iter()
            .map(|one| (one.event.kind.as_str(), one.event.details.get("count").cloned()))
            .collect();
        let expected =
            [("user_renamed", None), ("signed_in", None), ("user_renamed", Some(serde_json::json!(2)))];
        assert_eq!(counts, expected);
    })
    .await;
}

#[actix_rt::test]
async fn users_wait_for_their_terms_whoever_wrote_them_and_are_found_by_them() {
    on_each(async |store, database| {
        let is_waiting =
            async || store.read(async |connection| connection.has_users_to_index().await).await.unwrap();
        assert!(!is_waiting().await);
        store
            .write(async |tx| {
                for number in 1..=3 {
                    tx.insert_user(&user(number, if number == 2 { &["admin", "editor"] } else { &[] }))
                        .await?;
                }
                Ok::<_, StoreError>(())
            })
            .await
            .unwrap();
        assert!(is_waiting().await);
        let index = async |terms: &[&str]| {
            let terms: Vec<String> = terms.iter().map(|term| (*term).to_owned()).collect();
            let write = store.write(async |tx| {
                let taken = tx.take_users_to_index(10).await?;
                let terms: Vec<_> = taken.iter().map(|user| (user.id, terms.clone())).collect();
                tx.replace_terms(&terms).await?;
                Ok::<_, StoreError>(taken.len())
            });
            write.await.unwrap()
        };
        assert_eq!(index(&["a", "b", "=r"]).await, 3);
        assert!(!is_waiting().await);
        // As an older server would.
        database.execute("update users set name = 'Grace' where email = 'user3@example.com'").await;
        database.execute("update users set last_login_at = 5 where email = 'user1@example.com'").await;
        assert_eq!(index(&["c"]).await, 1, "a name changed; a sign-in changes no term");
        let words = |from: &str, end: &str| Some((from.to_owned(), end.to_owned()));
        let all = UserPage::default;
        assert_eq!(page(store, all()).await, [3, 2, 1]);
        assert_eq!(page(store, UserPage { words: words("b", "c"), ..all() }).await, [2, 1]);
        assert_eq!(page(store, UserPage { words: words("b", "d"), ..all() }).await, [3, 2, 1], "each once");
        assert_eq!(page(store, UserPage { role: Some("=r".into()), ..all() }).await, [2, 1]);
        let both = UserPage { role: Some("=r".into()), words: words("c", "d"), ..all() };
        assert_eq!(page(store, both).await, Vec::<u128>::new());

        let admins = store.write(async |tx| tx.lock_admins().await).await.unwrap();
        assert_eq!(admins, [Uuid::from_u128(2)]);
        store
            .write(async |tx| {
                let id = Uuid::from_u128(2);
                tx.set_disabled(id, Some(DateTime::UNIX_EPOCH)).await?;
                assert!(tx.lock_admins().await?.is_empty(), "disabled");
                tx.set_disabled(id, None).await?;
                tx.set_email_verified(id, Some(DateTime::UNIX_EPOCH)).await?;
                tx.set_roles(id, &["administrator".into(), "sub-admin".into()]).await?;
                assert!(tx.lock_admins().await?.is_empty(), "roles that only look like it");
                Ok::<_, StoreError>(())
            })
            .await
            .unwrap();
    })
    .await;
}

#[actix_rt::test]
async fn no_page_of_users_reads_the_whole_table_or_sorts_it() {
    on_each(async |_, database| {
        for ([sqlite, postgres], texts) in PAGE_STATEMENTS {
            let sql = if database.is_sqlite() { sqlite } else { postgres };
            let plan =
                plan(database, sql, &[&["uuid", "bigint", "bigint"][..], &["text"; 3][..*texts]].concat())
                    .await;
            assert!(!plan.contains("SCAN users\n") && !plan.contains("Seq Scan"), "{sql}\n{plan}");
            // At most 50,000 terms are sorted; every other page is read in the order of an index.
            let sorts = plan.contains("USE TEMP B-TREE FOR ORDER BY") || plan.contains("Sort Key");
            assert!(!sorts || sql.contains("(select user_id from user_terms"), "{sql}\n{plan}");
        }
    })
    .await;
}

#[actix_rt::test]
async fn postgres_reads_few_rows_for_a_search_that_finds_few_whatever_it_knows_of_the_tables() {
    on_each(async |_, database| {
        if database.is_sqlite() {
            return;
        }
        let mut connection = database.postgres_connection().await;
        let fill = "insert into users (id, email, roles, created_at) \
                    select lpad(to_hex(n), 32, '0')::uuid, 'user' || n || '@example.com', '', 0 from generate_series(1, 20000) n; \
                    insert into user_terms (term, user_id) select email, id from users; \
                    insert into user_terms (term, user_id) select 'example.com', id from users;";
        connection.execute(fill).await.unwrap();
        let ([_, statement], _) = PAGE_STATEMENTS.iter().find(|([one, other], _)| one != other).unwrap();
        let prepare = format!("prepare page (uuid, bigint, bigint, text, text) as {statement}");
        connection.execute(sqlx::raw_sql(AssertSqlSafe(prepare))).await.unwrap();
        for is_analyzed in [false, true] {
            if is_analyzed {
                connection.execute("analyze users, user_terms").await.unwrap();
            }
            for mode in ["force_generic_plan", "force_custom_plan"] {
                connection.execute(AssertSqlSafe(format!("set plan_cache_mode = {mode}"))).await.unwrap();
                let explain = "explain (analyze, costs off, timing off) \
                               execute page ('ffffffff-ffff-ffff-ffff-ffffffffffff', -1, 51, 'user777', 'user778')";
                let rows = sqlx::raw_sql(explain).fetch_all(&mut connection).await.unwrap();
                let plan: String = rows.iter().map(|row| row.get::<String, _>(0) + "\n").collect();
                let number = |text: &str| text.trim_end_matches(')').parse::<u64>().unwrap();
                let read = plan.lines().filter_map(|line| line.split_once("(actual rows=")?.1.split_once(" loops="));
                let most = read.map(|(rows, loops)| number(rows) * number(loops)).max().unwrap();
                assert_eq!(most, 11, "user777, and user7770 to user7779; {mode}, analyzed: {is_analyzed}\n{plan}");
            }
        }
        connection.close().await.unwrap();
    })
    .await;
}

#[actix_rt::test]
async fn a_look_for_hashes_to_seal_reads_the_index_of_those_alone() {
    on_each(async |_, database| {
        for sql in HASH_STATEMENTS {
            let plan = plan(database, sql, &["uuid"]).await;
            assert!(plan.contains("users_to_seal") && !plan.contains("Sort"), "{sql}\n{plan}");
        }
    })
    .await;
}

#[actix_rt::test]
async fn no_page_of_events_reads_the_whole_table_or_sorts_it() {
    on_each(async |_, database| {
        for (sql, types) in EVENT_STATEMENTS {
            let types = match types {
                _ if !sql.contains("$2") => vec!["bigint"],
                types => [&["bigint"; 5][..], types].concat(),
            };
            let plan = plan(database, sql, &types).await;
            let scans = plan.contains("SCAN events\n") || plan.contains("Seq Scan");
            let sorts = plan.contains("USE TEMP B-TREE FOR ORDER BY") || plan.contains("Sort Key");
            assert!(!scans && !sorts, "{sql}\n{plan}");
        }
    })
    .await;
}

#[actix_rt::test]
async fn events_are_counted_as_they_are_recorded_and_the_rows_of_a_past_hour_become_one() {
    on_each(async |store, database| {
        let at = |hours: i64| DateTime::UNIX_EPOCH + Duration::days(20_000) + Duration::hours(hours);
        for hours in [0, 0, 1, 25] {
            let event = Event::new(EventKind::SignedIn, at(hours));
            store.write(async |tx| tx.record(event.clone()).await).await.unwrap();
        }
        // Another connection, and a copy of many at once.
        let many = format!(
            "insert into events (at, kind) values ({0}, 'signed_in'), ({0}, 'signed_in'), ({0}, 'refreshed')",
            at(1).timestamp_millis()
        );
        database.execute(&many).await;
        let counts = async |step: Duration| {
            let (from, until) = (at(0).timestamp_millis(), at(48).timestamp_millis());
            let step = step.num_milliseconds();
            let read = store.read(async |connection| connection.event_counts(from, until, step).await);
            let mut counts: Vec<_> = read.await.unwrap();
            counts.sort();
            let hour = Duration::hours(1).num_milliseconds();
            counts.into_iter().map(|(kind, at, count)| (kind, (at - from) / hour, count)).collect::<Vec<_>>()
        };
        let expected = [("refreshed", 1, 1), ("signed_in", 0, 2), ("signed_in", 1, 3), ("signed_in", 25, 1)];
        let expected = expected.map(|(kind, hour, count)| (kind.to_owned(), hour, count));
        assert_eq!(counts(Duration::hours(1)).await, expected);
        store.merge_event_counts(at(100)).await.unwrap();
        store.merge_event_counts(at(100)).await.unwrap();
        assert_eq!(counts(Duration::hours(1)).await, expected, "merged");
        let by_day = [("refreshed", 0, 1), ("signed_in", 0, 5), ("signed_in", 24, 1)];
        assert_eq!(
            counts(Duration::days(1)).await,
            by_day.map(|(kind, hour, count)| (kind.to_owned(), hour, count))
        );
        store.merge_event_counts(at(24 * 400 + 10)).await.unwrap();
        assert_eq!(counts(Duration::hours(1)).await, [("signed_in".to_owned(), 25, 1)], "after 400 days");

        let page = EventPage { limit: 2, ..EventPage::default() };
        let newest = store.read(async |connection| connection.events_page(&page).await).await.unwrap();
        assert_eq!(
            newest.iter().map(|event| event.event.kind.as_str()).collect::<Vec<_>>(),
            ["refreshed", "signed_in"]
        );
        let none = store.read(async |connection| connection.stored_sessions_of(Uuid::nil(), 10).await);
        assert_eq!(none.await.unwrap(), []);
        let forgotten = store.write(async |tx| tx.forget_events_of(Uuid::nil()).await);
        let forgotten: Result<u64, StoreError> = forgotten.await;
        assert_eq!(forgotten.unwrap(), 0);
        let lifetimes =
            Lifetimes { idle: Duration::hours(2), absolute: Duration::hours(4), grace: Duration::zero() };
        let all = store.read(async |connection| connection.count_all(at(0), &lifetimes).await).await.unwrap();
        assert_eq!(all, (0, 0, 0, 0));
    })
    .await;
}

/// Asks the database how it runs a statement whose parameters have these types.
async fn plan(database: &TestDatabase, sql: &str, types: &[&str]) -> String {
    if database.is_sqlite() {
        let mut connection = database.sqlite_connection().await;
        let query = AssertSqlSafe(format!("explain query plan {sql}"));
        let rows = sqlx::query(query).fetch_all(&mut connection).await.unwrap();
        return rows.iter().map(|row| row.get::<String, _>("detail") + "\n").collect();
    }
    let mut connection = database.postgres_connection().await;
    // In a table of no rows a scan is the cheapest.
    let set_up = format!(
        "set enable_seqscan = off; set enable_bitmapscan = off; set enable_hashjoin = off; set enable_mergejoin = off; \
         prepare page ({}) as {sql}",
        types.join(", ")
    );
    connection.execute(sqlx::raw_sql(AssertSqlSafe(set_up))).await.unwrap();
    let max = format!("'{}'", Uuid::max());
    let values = types.iter().map(|kind| match *kind {
        "uuid" => max.as_str(),
        "text" => "'a'",
        _ => "50",
    });
    let explain = format!("explain execute page ({})", values.collect::<Vec<_>>().join(", "));
    let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut connection).await.unwrap();
    let plan = rows.iter().map(|row| row.get::<String, _>(0) + "\n").collect();
    connection.close().await.unwrap();
    plan
}
