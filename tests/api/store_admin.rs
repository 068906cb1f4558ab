//! The operations behind the admin's pages on each database, and the indexes that they use.

use hallpass::server::model::{UserPage, UserRecord};
use hallpass::server::store::{PAGE_STATEMENTS, Store, StoreError};
use sqlx::{AssertSqlSafe, Connection, Executor, Row};
use uuid::Uuid;

use crate::test_database::TestDatabase;

async fn on_each(story: impl AsyncFn(&Store, &TestDatabase)) {
    for database in TestDatabase::each() {
        eprintln!("on {}", database.settings.url);
        let store = Store::open(&database.settings).await.unwrap();
        story(&store, &database).await;
        store.close().await;
    }
}

fn user(number: u128, roles: &[&str]) -> UserRecord {
    UserRecord {
        id: Uuid::from_u128(number),
        email: format!("user{number}@example.com"),
        email_verified_at: None,
        name: Some("Ada Lovelace".into()),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        password_hash: None,
        disabled_at: None,
        created_at: chrono::DateTime::UNIX_EPOCH,
        last_login_at: None,
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
    let told = concat!(include_str!("store.rs"), include_str!("store_admin.rs"));
    let rows = listed.lines().filter_map(|line| line.strip_prefix("//! | `")?.split_once("` |"));
    let mut count = 0;
    for (file, operations) in rows.filter(|(file, _)| !["fast_path", "transfer"].contains(file)) {
        for name in operations.split('`').skip(1).step_by(2) {
            let name = name.trim_start_matches("Store::");
            assert!(told.contains(&format!(".{name}(")), "{file}: {name} is in no story");
            count += 1;
        }
    }
    assert!(count > 40, "the list has another form: {count} operations were found");
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
                for user in &taken {
                    tx.replace_terms(user.id, &terms).await?;
                }
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
                tx.set_disabled(id, Some(chrono::DateTime::UNIX_EPOCH)).await?;
                assert!(tx.lock_admins().await?.is_empty(), "disabled");
                tx.set_disabled(id, None).await?;
                tx.set_email_verified(id, Some(chrono::DateTime::UNIX_EPOCH)).await?;
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
        for (sql, texts) in PAGE_STATEMENTS {
            let plan = plan(database, sql, *texts).await;
            assert!(!plan.contains("SCAN users\n") && !plan.contains("Seq Scan"), "{sql}\n{plan}");
            // At most a thousand terms are sorted; every other page is read in the order of an index.
            let sorts = plan.contains("USE TEMP B-TREE FOR ORDER BY") || plan.contains("Sort Key");
            assert!(!sorts || sql.contains(" in (select user_id"), "{sql}\n{plan}");
        }
    })
    .await;
}

/// Asks the database how it runs a statement of a page.
async fn plan(database: &TestDatabase, sql: &str, texts: usize) -> String {
    if database.is_sqlite() {
        let mut connection = database.sqlite_connection().await;
        let query = AssertSqlSafe(format!("explain query plan {sql}"));
        let rows = sqlx::query(query).fetch_all(&mut connection).await.unwrap();
        return rows.iter().map(|row| row.get::<String, _>("detail") + "\n").collect();
    }
    let mut connection = database.postgres_connection().await;
    let types = ", text".repeat(texts);
    let values = ", 'a'".repeat(texts);
    // In a table of no rows a scan is the cheapest.
    let set_up = format!(
        "set enable_seqscan = off; set enable_bitmapscan = off; set enable_hashjoin = off; set enable_mergejoin = off; \
         prepare page (uuid, bigint, bigint{types}) as {sql}"
    );
    connection.execute(sqlx::raw_sql(AssertSqlSafe(set_up))).await.unwrap();
    let explain = format!("explain execute page ('{}', 0, 50{values})", Uuid::max());
    let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut connection).await.unwrap();
    let plan = rows.iter().map(|row| row.get::<String, _>(0) + "\n").collect();
    connection.close().await.unwrap();
    plan
}
