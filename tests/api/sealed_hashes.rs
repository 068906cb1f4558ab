//! Password hashes sealed at rest: whoever has the database and not the passphrase can try no password.

use std::time::Instant;

use hallpass::server::store::Store;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{EMAIL, PASSPHRASE, PASSWORD, TestApp};
use crate::key_commands::founded;
use crate::process::{Finished, Server, Workplace};
use crate::test_database::TestDatabase;

const SEALED: &str = "$sealed$AQEAAAAB";

impl TestApp {
    /// Stores a hash of [`PASSWORD`] like a command, which has no passphrase.
    async fn store_plain_hash(&self) -> String {
        let hash = bcrypt::hash(PASSWORD, 4).unwrap();
        self.database
            .execute(&format!("update users set password_hash = '{hash}' where email = '{EMAIL}'"))
            .await;
        hash
    }

    async fn stored_hash(&self, email: &str) -> String {
        self.users().find(email).await.unwrap().unwrap().password_hash.unwrap()
    }

    async fn seal_all(&self) {
        let mut after = Uuid::nil();
        while let Some(last) = self.server.seal_hashes(after).await.unwrap() {
            after = last;
        }
    }
}

#[actix_rt::test]
async fn every_hash_that_a_server_writes_is_sealed() {
    let app = TestApp::with(|settings| settings.throttle.on = false).await;
    assert!(app.stored_hash(EMAIL).await.starts_with(SEALED), "added");
    let bob = "bob@example.com";
    let body = json!({"email": bob, "password": PASSWORD});
    assert_eq!(app.post("/auth/register").json(body).send().await.status, 201);
    assert!(app.stored_hash(bob).await.starts_with(SEALED), "registered");
    let token = app.login(bob, PASSWORD).await.expect_data("the sealed hash")["token"].clone();
    let body = json!({"current_password": PASSWORD, "new_password": "nine copper kettles"});
    let bearer = format!("Bearer {}", token.as_str().unwrap());
    let before = app.stored_hash(bob).await;
    app.post("/user/password").authorization(&bearer).json(body).send().await.expect_data("changed");
    let after = app.stored_hash(bob).await;
    assert!(after.starts_with(SEALED) && after != before, "a new password");

    app.store_plain_hash().await;
    app.login(EMAIL, PASSWORD).await.expect_data("a plain hash of another program");
    assert!(app.stored_hash(EMAIL).await.starts_with(SEALED), "replaced at the sign-in");

    let admin = app.admin().await;
    let body = json!({"email": "eve@example.com", "password": PASSWORD});
    assert_eq!(app.act(&admin, "POST", "/admin/users", Some(body)).await.status, 201);
    let before = app.stored_hash("eve@example.com").await;
    assert!(before.starts_with(SEALED), "added by an admin");
    let id = app.users().find("eve@example.com").await.unwrap().unwrap().id;
    let body = json!({"new_password": "nine copper kettles"});
    let reply = app.act(&admin, "POST", &format!("/admin/users/{id}/password"), Some(body)).await;
    assert_eq!(reply.status, 204);
    let after = app.stored_hash("eve@example.com").await;
    assert!(after.starts_with(SEALED) && after != before, "set by an admin");
}

#[actix_rt::test]
async fn a_hash_that_was_moved_to_another_user_lets_nobody_in() {
    let app = TestApp::new().await;
    app.add_user("eve@example.com", "the password of eve").await;
    let stolen = app.stored_hash("eve@example.com").await;
    app.database
        .execute(&format!("update users set password_hash = '{stolen}' where email = '{EMAIL}'"))
        .await;
    app.login(EMAIL, "the password of eve").await.expect_failure(500, "internal", "another user's hash");
    app.login("eve@example.com", "the password of eve").await.expect_data("its own");
}

#[actix_rt::test]
async fn what_a_command_wrote_is_sealed_and_that_is_no_change_of_the_password() {
    let app = TestApp::new().await;
    let other = app.another().await;
    let data = app.login(EMAIL, PASSWORD).await.expect_data("a session of before");
    let plain = app.store_plain_hash().await;
    let wrong = other.login(EMAIL, "wrong horse battery").await;
    wrong.expect_refused("credentials_invalid", "a plain hash is compared as it is");
    let (events, position) = (app.recorded_events().await.len(), position(&app).await);
    app.seal_all().await;
    let stored = app.stored_hash(EMAIL).await;
    assert!(stored.starts_with(SEALED), "{stored}");
    assert_eq!(app.password_hash(app.user_id().await).await, plain, "the same hash");
    assert_eq!(app.recorded_events().await.len(), events, "no event");
    let store = app.server.store();
    let changes = store.read(async |connection| connection.changes_since(&position).await).await.unwrap();
    assert_eq!(changes.changes, Some(vec![]), "no change for the other servers");
    for server in [&app, &other] {
        server.server.sync_changes().await.unwrap();
        server.get_user(data["token"].as_str().unwrap()).await.expect_data("the token of before");
    }
    let body = json!({"refresh_token": data["refresh_token"]});
    other.post("/auth/refresh").json(body).send().await.expect_data("the refresh token of before");
    other.login(EMAIL, PASSWORD).await.expect_data("at the other server");
    app.seal_all().await;
    assert_eq!(app.server.seal_hashes(Uuid::nil()).await.unwrap(), None, "nothing is left");
}

async fn position(app: &TestApp) -> hallpass::server::store::Position {
    app.server.store().read(async |connection| connection.position().await).await.unwrap()
}

#[actix_rt::test]
async fn several_servers_seal_thousands_and_leave_none_out() {
    for database in TestDatabase::each() {
        let app = TestApp::on(database, |_| {}).await;
        let other = app.another().await;
        let hash = bcrypt::hash(PASSWORD, 4).unwrap();
        let row = |number: u128| {
            let id = app.database.uuid(Uuid::from_u128(number << 64 | 1));
            format!("({id}, 'user{number}@example.com', '', '{hash}', 0)")
        };
        let rows: Vec<_> = (0..1_300).map(row).collect();
        let insert = "insert into users (id, email, roles, password_hash, created_at) values";
        app.database.execute(&format!("{insert} {}", rows.join(", "))).await;
        futures_util::future::join(app.seal_all(), other.seal_all()).await;
        // Each leaves out what the other has locked, and finds it at its next look.
        app.seal_all().await;
        let users = app.server.store();
        let users = users.read(async |connection| connection.users_after("", 5_000).await).await.unwrap();
        assert_eq!(users.len(), 1_301);
        for user in users {
            let stored = user.password_hash.unwrap();
            assert!(stored.starts_with(SEALED), "{} has {stored}", user.email);
            app.server.hashes().open(user.id, &stored).unwrap();
        }
        other.login("user700@example.com", PASSWORD).await.expect_data("one of them");
    }
}

/// In the second half of each imported hash, so that a piece of one is found too.
const MARK: &str = "MARKofAHASH";

/// Counts what looks like a bcrypt hash, or like the second half of one, in the database file and its log.
fn hashes_in_files(place: &Workplace) -> usize {
    let files: Vec<u8> = ["hallpass.db", "hallpass.db-wal"]
        .iter()
        .flat_map(|name| std::fs::read(place.path(name)).unwrap_or_default())
        .collect();
    let count = |text: &str| memchr::memmem::find_iter(&files, text.as_bytes()).count();
    ["$2a$", "$2b$", "$2x$", "$2y$", "pbkdf2_", MARK].into_iter().map(count).sum()
}

#[test]
fn neither_the_database_file_nor_its_log_holds_a_bcrypt_hash_once_a_server_runs() {
    let place = Workplace::new();
    place.add_user();
    // Such as bcrypt writes, each another.
    let hashes: Vec<String> = (0..3_000_u32)
        .map(|number| {
            let random = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
            format!("$2b$12${number:05}.{}u{MARK}{}u", &random[..15], &random[15..34])
        })
        .collect();
    let lines: String = hashes
        .iter()
        .enumerate()
        .map(|(number, hash)| format!("user{number}@example.com,{hash}\n"))
        .collect();
    std::fs::write(place.path("users.csv"), format!("email,password_hash\n{lines}")).unwrap();
    let import = || place.run(&["user", "import", "users.csv"], "");
    import().expect(0, "before the first start");
    assert!(hashes_in_files(&place) >= 6_000, "the control: they are found where they are");

    let server = place.serve();
    let began = Instant::now();
    let wait_until_none_is_left = || {
        while hashes_in_files(&place) > 0 {
            assert!(began.elapsed().as_secs() < 120, "{} are left", hashes_in_files(&place));
            std::thread::yield_now();
        }
    };
    wait_until_none_is_left();
    assert_eq!(server.login().0, 200, "the sealed hash");
    // Beside a running server.
    place.run(&["user", "passwd", EMAIL, "--password-stdin"], format!("{PASSWORD}\n")).expect(0, "passwd");
    wait_until_none_is_left();
    assert_eq!(server.login().0, 200, "the new hash");
    server.stop("TERM").expect(0, "stop");

    // One that is planted is found.
    actix_rt::System::new().block_on(async {
        let store = Store::open(&place.database()).await.unwrap();
        let user =
            store.read(async |connection| connection.user_by_email(EMAIL).await).await.unwrap().unwrap();
        store.write(async |tx| tx.set_password_hash(user.id, &hashes[7]).await).await.unwrap();
        store.close().await;
    });
    assert!(hashes_in_files(&place) > 0);
}

fn export(place: &Workplace, flags: &[&str], input: &str) -> Finished {
    place.run(&[&["user", "export", "--json"], flags].concat(), input)
}

fn exported_hash(written: &Finished) -> Value {
    serde_json::from_str::<Value>(written.expect(0, "export").out.lines().next().unwrap()).unwrap()
        ["password_hash"]
        .clone()
}

#[test]
fn an_export_unseals_the_hashes_with_the_passphrase_or_leaves_them_out() {
    let place = founded();
    let with = export(&place, &["--key-stdin"], &format!("{PASSPHRASE}\n"));
    let hash = exported_hash(&with);
    assert!(hash.as_str().unwrap().starts_with("$hallpass$1$2b$04$"), "{hash}");
    assert_eq!(exported_hash(&export(&place, &["--without-hashes"], "")), Value::Null);
    export(&place, &["--key-stdin"], "another river of lanterns\n").expect_error(3, "wrong passphrase");
    place.run_detached(&["user", "export"], "").expect_error(2, "--key-stdin");
    let both = export(&place, &["--without-hashes", "--key-stdin"], &format!("{PASSPHRASE}\n"));
    both.expect(2, "both flags");

    let other = Workplace::new();
    std::fs::write(other.path("users"), &with.out).unwrap();
    other.run(&["user", "import", "users"], "").expect(0, "import of the unsealed hashes");
    assert_eq!(other.serve().login().0, 200, "they are good in another installation");
}

/// Passwords of users of other programs: each in a form of its own.
fn foreign_hashes() -> Vec<(&'static str, String)> {
    let salt = b"a salt of 16 byt";
    let digest = |rounds| {
        let mut digest = [0; 32];
        pbkdf2::pbkdf2_hmac::<sha2::Sha256>(PASSWORD.as_bytes(), salt, rounds, &mut digest);
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest)
    };
    vec![
        ("bcrypt@example.com", bcrypt::hash(PASSWORD, 4).unwrap()),
        ("django@example.com", format!("pbkdf2_sha256$100${}${}", "a salt of 16 byt", digest(100))),
    ]
}

#[test]
fn sealed_hashes_outlive_a_new_passphrase_a_new_installation_key_and_another_installation() {
    const NEW_PASSPHRASE: &str = "nine copper kettles in the rain";
    let place = founded();
    let foreign = foreign_hashes();
    let lines: String = foreign.iter().map(|(email, hash)| format!("{email},{hash}\n")).collect();
    std::fs::write(place.path("users.csv"), format!("email,password_hash\n{lines}")).unwrap();
    let server = place.serve();
    place.run(&["user", "import", "users.csv"], "").expect(0, "import");
    let sign_in_all = |server: &Server, when: &str| {
        for (email, _) in &foreign {
            let body = json!({"email": email, "password": PASSWORD});
            let (status, answer) = server.ask("POST /auth/login", None, Some(&body));
            assert_eq!(status, 200, "{email} {when}: {answer}");
        }
        assert_eq!(server.login().0, 200, "{EMAIL} {when}");
    };
    let began = Instant::now();
    while hashes_in_files(&place) > 0 {
        assert!(began.elapsed().as_secs() < 60, "they are not sealed");
        std::thread::yield_now();
    }
    // The first sign-in replaces each by one of ours, the others compare that.
    sign_in_all(&server, "imported and sealed");
    sign_in_all(&server, "hashed anew");

    let both = format!("{PASSPHRASE}\n{NEW_PASSPHRASE}\n");
    place.run(&["key", "passphrase", "--key-stdin"], both).expect(0, "a new passphrase");
    sign_in_all(&server, "after a new passphrase");
    let passphrase = format!("{NEW_PASSPHRASE}\n");
    place.run(&["key", "rekey", "--key-stdin"], &passphrase).expect(0, "a new installation key");
    sign_in_all(&server, "after a new installation key");
    server.stop("TERM").expect(0, "stop");
    let start = place.command(["serve", "--bind", "127.0.0.1:0", "--key-stdin"]);
    let server = Server::start(start, &passphrase);
    sign_in_all(&server, "after a restart");
    server.stop("TERM").expect(0, "stop");

    let written = export(&place, &["--key-stdin"], &passphrase);
    written.expect(0, "export");
    assert_eq!(
        written.out.matches("\"$hallpass$1$2b$04$").count(),
        3,
        "each is one of ours: {}",
        written.out
    );
    let other = Workplace::new();
    std::fs::write(other.path("users"), &written.out).unwrap();
    other.run(&["user", "import", "users"], "").expect(0, "import elsewhere");
    sign_in_all(&other.serve(), "in another installation");
}

#[test]
fn a_sealed_hash_of_another_installation_is_refused_by_name() {
    let place = founded();
    let server = place.serve();
    assert_eq!(server.login().0, 200, "which seals the hash, if nothing has before");
    server.stop("TERM").expect(0, "stop");
    let stored = actix_rt::System::new().block_on(async {
        let store = Store::open(&place.database()).await.unwrap();
        let user =
            store.read(async |connection| connection.user_by_email(EMAIL).await).await.unwrap().unwrap();
        store.close().await;
        user.password_hash.unwrap()
    });
    assert!(stored.starts_with(SEALED), "{stored}");
    let other = Workplace::new();
    std::fs::write(other.path("users.csv"), format!("email,password_hash\n{EMAIL},{stored}\n")).unwrap();
    let refused = other.run(&["user", "import", "users.csv"], "");
    refused.expect(1, "import");
    let reason =
        "line 2: password_hash is sealed by the installation that it comes from; hallpass user export there";
    assert!(refused.err.contains(reason), "{}", refused.err);
}
