//! A server of an earlier release continues on the newest schema until it is replaced: its statements still run. They
//! are those of the release that knew migration 0001 alone, with values in them. A release adds the statements that are
//! new in it; one that no supported release runs any more is deleted.

use hallpass::server::store::Store;
use uuid::Uuid;

use crate::test_database::TestDatabase;

/// Statements of the release that knew migration 0001, in an order in which it could run them.
fn statements(database: &TestDatabase) -> Vec<String> {
    let user = database.uuid(Uuid::from_u128(1));
    let session = database.uuid(Uuid::from_u128(2));
    let [salt, digest, successor, pair] = [1, 2, 3, 4].map(|byte| database.literal(&[byte; 32]));
    let sealed = database.literal(&[5; 60]);
    let (yes, max, for_update) =
        if database.is_sqlite() { ("1", "max", "") } else { ("true", "greatest", " for update") };
    let users = "id, email, name, roles, password_hash, disabled_at, created_at, last_login_at";
    let mut statements = vec![
        format!(
            "insert into installation \
             (singleton, id, kdf_memory_kib, kdf_iterations, kdf_lanes, salt, sealed_key, created_at) \
             values (1, {user}, 65536, 3, 4, {salt}, {sealed}, 1000) on conflict do nothing"
        ),
        "select id, kdf_memory_kib, kdf_iterations, kdf_lanes, salt, sealed_key, created_at from installation".into(),
        format!(
            "update installation set kdf_memory_kib = 65536, kdf_iterations = 3, kdf_lanes = 4, salt = {salt}, \
             sealed_key = {sealed} where id = {user} and sealed_key = {sealed}"
        ),
        format!(
            "insert into signing_keys (kid, algorithm, purpose, created_at, signs_from, token_lifetime, sealed) \
             values ('k', 'EdDSA', 'access', 1000, 1000, \
             {max}(3600, coalesce((select max(token_lifetime) from signing_keys), 0)), {sealed})"
        ),
        "select kid, algorithm, purpose, created_at, signs_from, token_lifetime, sealed from signing_keys \
         order by signs_from, created_at, kid"
            .into(),
        format!("update signing_keys set created_at = 1000, signs_from = 1000, sealed = {sealed} where kid = 'k'"),
        "update signing_keys set token_lifetime = 7200 where token_lifetime < 7200".into(),
        format!(
            "insert into users ({users}) values ({user}, 'ada@example.com', 'Ada', 'admin editor', 'hash', null, 1000, null) \
             on conflict (email) do nothing"
        ),
        format!("select {users} from users where id = {user}{for_update}"),
        format!("select {users} from users where email = 'ada@example.com'"),
        format!("select {users} from users where email > '' order by email limit 10"),
        format!("update users set name = 'Grace' where id = {user}"),
        format!("update users set password_hash = 'other' where id = {user}"),
        format!("update users set disabled_at = 2000 where id = {user}"),
        format!("update users set last_login_at = 2000 where id = {user}"),
        format!(
            "insert into sessions (id, user_id, created_at, refreshed_at, last_seen_at, token_until, refresh_digest, \
             by_cookie, user_agent, address) \
             values ({session}, {user}, 1000, 1000, 1000, 5000, {digest}, {yes}, 'curl', '192.0.2.1')"
        ),
        format!(
            "select id, user_id, created_at, refreshed_at, last_seen_at, by_cookie, refresh_digest, user_agent, address, \
             ended_at from sessions where id = {session}{for_update}"
        ),
        format!(
            "update sessions set refresh_digest = {successor}, refreshed_at = 2000, \
             last_seen_at = {max}(last_seen_at, 2000), token_until = {max}(token_until, 6000), user_agent = 'curl', \
             address = '192.0.2.1' where id = {session}"
        ),
        format!("insert into rotations (digest, session_id, salt, at) values ({digest}, {session}, {salt}, 2000)"),
        format!("select salt, at from rotations where digest = {digest} and session_id = {session}"),
        format!("update sessions set last_seen_at = 3000 where id = {session} and last_seen_at < 3000"),
        format!("update sessions set ended_at = 3000 where id = {session} and ended_at is null"),
        "select id, token_until from sessions where ended_at is not null and token_until > 0".into(),
        format!(
            "insert into events (at, kind, user_id, session_id, address, request_id, details) \
             values (1000, 'signed_in', {user}, {session}, '192.0.2.1', 'r', null)"
        ),
        format!(
            "select events.id, at, kind, user_id, session_id, address, request_id, details, email from events \
             left join users on users.id = user_id \
             where events.id > 0 and at >= 0 and user_id = {user} order by events.id limit 10"
        ),
        format!("insert into changes (kind, subject, at) values ('user', {user}, 1000)"),
        format!(
            "insert into changes (kind, subject, at) \
             select 'session', id, 1000 from sessions where user_id = {user} and ended_at is null"
        ),
        "insert into attempts (slot, failures, last_at, window_began, in_window) values (1, 1, 1000, 1000, 1) \
         on conflict (slot) do update set failures = excluded.failures, last_at = excluded.last_at, \
         window_began = excluded.window_began, in_window = excluded.in_window"
            .into(),
        "select slot, failures, last_at, window_began, in_window from attempts where slot in (1, 2)".into(),
        "update attempts set failures = case when failures > 0 then failures - 1 else 0 end, \
         in_window = case when in_window > 0 then in_window - 1 else 0 end where slot in (1, 2)"
            .into(),
        format!(
            "insert into known_addresses (pair, until) values ({pair}, 9000) \
             on conflict (pair) do update set until = excluded.until"
        ),
        format!("select until from known_addresses where pair = {pair} and until > 0"),
        format!("update sessions set user_agent = null, address = null where user_id = {user}"),
        format!("delete from users where id = {user}"),
        "delete from signing_keys where kid = 'k'".into(),
        "delete from rotations where at < 9000".into(),
        "delete from events where at < 9000".into(),
        "delete from attempts where last_at < 9000".into(),
        "delete from known_addresses where until < 10000".into(),
        "delete from sessions where token_until < 9000".into(),
    ];
    statements.push(if database.is_sqlite() {
        "select last.seq, changes.seq, kind, subject from sqlite_sequence as last \
         left join changes on changes.seq > 0 where last.name = 'changes' order by changes.seq"
            .into()
    } else {
        "select pg_current_snapshot()::text, seq, kind, subject, xid from changes, changes_deleted, xid_sequence \
         where xid >= pg_snapshot_xmin(pg_current_snapshot()) or through < pg_snapshot_xmin(pg_current_snapshot()) \
         or pg_visible_in_snapshot(deleted_by, pg_current_snapshot())"
            .into()
    });
    statements
}

#[actix_rt::test]
async fn the_statements_of_the_previous_release_run_on_the_newest_schema() {
    for database in TestDatabase::each() {
        Store::open(&database.settings).await.unwrap().close().await;
        for statement in statements(&database) {
            // Shown where it fails.
            eprintln!("{statement}");
            database.execute(&statement).await;
        }
    }
}

/// An earlier server writes rows that lack what was added after it. Whatever such a column means without a value, a
/// newer server must be able to read it.
#[actix_rt::test]
async fn a_newer_server_reads_what_the_previous_release_wrote() {
    for database in TestDatabase::each() {
        let store = Store::open(&database.settings).await.unwrap();
        let written = statements(&database);
        let until = written.iter().position(|statement| statement.contains("user_agent = null")).unwrap();
        for statement in &written[..until] {
            database.execute(statement).await;
        }
        let (user, session) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let read = store.read(async |connection| connection.user(user).await).await.unwrap().unwrap();
        assert_eq!((read.email.as_str(), read.roles.len()), ("ada@example.com", 2));
        assert_eq!(read.email_verified_at, None);
        let read = store.read(async |connection| connection.session(session).await).await.unwrap().unwrap();
        assert_eq!(read.user_id, Some(user));
        let keys = store.read(async |connection| connection.signing_keys().await).await.unwrap();
        assert_eq!(keys.len(), 1);
        store.close().await;
    }
}
