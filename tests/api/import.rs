//! `hallpass user import` and `hallpass user export`, and the first sign-in with a hash of another program.

use hallpass::server::accounts::NewUser;
use serde_json::Value;

use crate::app::{EMAIL, PASSWORD, TestApp};
use crate::process::{Finished, Workplace};

/// A hash of [`PASSWORD`] as other programs store it.
fn bcrypt_hash() -> String {
    bcrypt::hash(PASSWORD, 4).unwrap()
}

fn import(place: &Workplace, name: &str, text: &str) -> Finished {
    std::fs::write(place.path(name), text).unwrap();
    place.run(&["user", "import", name], "")
}

fn users(place: &Workplace) -> Vec<Value> {
    serde_json::from_str(&place.run(&["user", "list", "--json"], "").out).unwrap()
}

#[test]
fn users_of_csv_and_of_json_lines_can_sign_in() {
    let hash = bcrypt_hash();
    for (name, text) in [
        (
            "users.csv",
            format!(
                "email,name,roles,password_hash\nAda@Example.com,\"Lovelace, Ada\",admin;editor,{hash}\nsso@example.com,,,\n"
            ),
        ),
        (
            "users.csv",
            format!(
                "\u{feff}password_hash,roles,email,name\r\n{hash},editor; admin,ada@example.com,\"Lovelace, Ada\"\r\n,,sso@example.com,\r\n"
            ),
        ),
        (
            "users.jsonl",
            format!(
                "{{\"email\":\"ada@example.com\",\"name\":\"Lovelace, Ada\",\"roles\":\"editor;admin\",\"password_hash\":\"{hash}\"}}\n\n{{\"email\":\"sso@example.com\"}}"
            ),
        ),
        (
            "users.jsonl",
            format!(
                "{{\"email\":\"ada@example.com\",\"name\":\"Lovelace, Ada\",\"roles\":[\"admin\",\"editor\"],\"password_hash\":\"{hash}\",\"more\":1}}\n{{\"email\":\"sso@example.com\",\"name\":null,\"password_hash\":\"\"}}\n"
            ),
        ),
    ] {
        let place = Workplace::new();
        let done = import(&place, name, &text);
        done.expect(0, &text);
        assert_eq!(done.out, "2 added, 0 existing and unchanged, 0 refused\n");
        let users = users(&place);
        assert_eq!((&users[0]["email"], &users[0]["name"]), (&EMAIL.into(), &"Lovelace, Ada".into()));
        assert_eq!(users[0]["roles"], serde_json::json!(["admin", "editor"]));
        assert_eq!((&users[1]["email"], &users[1]["name"]), (&"sso@example.com".into(), &Value::Null));
        let server = place.serve();
        assert_eq!(server.login().0, 200);
    }
}

#[test]
fn a_second_import_changes_nothing() {
    let place = Workplace::new();
    place.add_user();
    let text = format!("email,name\n{EMAIL},Somebody Else\nx@example.com,X\nX@example.com,Again\n");
    let first = import(&place, "users.csv", &text);
    assert_eq!(first.out, "1 added, 2 existing and unchanged, 0 refused\n");
    let second = import(&place, "users.csv", &text);
    second.expect(0, "the second time");
    assert_eq!(second.out, "0 added, 3 existing and unchanged, 0 refused\n");
    let users = users(&place);
    assert_eq!((users.len(), &users[0]["name"], &users[1]["name"]), (2, &"Ada".into(), &"X".into()));
}

#[test]
fn a_refused_line_is_reported_with_its_number_and_reason_and_the_others_are_added() {
    let place = Workplace::new();
    let text = "email,name,roles,password_hash\n\
                good@example.com,,,\n\
                nobody,,,\n\
                x1@example.com,,Two Words,\n\
                x2@example.com,,,5f4dcc3b5aa765d61d8327deb882cf99\n\
                x3@example.com,,,$2b$31$ECHSTyW86PwweIgxmnh2Lex0vxKuMNEEPr5XQx.T1FKwR2SvYtGEq\n\
                \"x4@example.com\",\"two\nlines\",,\n\
                x5@example.com,too,few\n\
                last@example.com,,,\n";
    let done = import(&place, "users.csv", text);
    done.expect_error(1, "6 lines were refused");
    for reason in [
        "line 3: email is not an e-mail address",
        "line 4: roles: \"Two Words\" is no role",
        "line 5: password_hash is no hash that is accepted",
        "line 6: password_hash asks for more work",
        "line 7: name holds a control character",
        "line 9: has 3 columns, and the header has 4",
    ] {
        assert!(done.err.contains(reason), "{reason:?} is not in {}", done.err);
    }
    assert!(!done.err.contains("5f4dcc3b"), "a hash is never repeated");
    let emails: Vec<_> =
        users(&place).iter().map(|user| user["email"].as_str().unwrap().to_owned()).collect();
    assert_eq!(emails, ["good@example.com", "last@example.com"]);

    let json = "{\"email\":\"a@example.com\"}\n{\"email\":5}\n{broken\n{\"name\":\"nobody\"}\n";
    let done = import(&place, "users.jsonl", json);
    for reason in
        ["line 2: has a field of the wrong type", "line 3: is not JSON", "line 4: email is required"]
    {
        assert!(done.err.contains(reason), "{reason:?} is not in {}", done.err);
    }
    assert!(done.out.starts_with("1 added"), "{done:?}");
}

#[test]
fn a_file_that_is_no_list_of_users_is_refused() {
    let place = Workplace::new();
    import(&place, "users.csv", "name,roles\nAda,admin\n")
        .expect_error(2, "the first line has no column email");
    import(&place, "users.csv", "email,passwrod\nada@example.com,x\n")
        .expect_error(2, "the column \"passwrod\" is unknown");
    import(&place, "users.csv", "").expect_error(2, "the first line has no column email");
    place.run(&["user", "import", "missing.csv"], "").expect_error(2, "missing.csv cannot be read");
    let endless = format!("{{\"email\":\"{}\"}}\n{{\"email\":\"ok@example.com\"}}\n", "x".repeat(100_000));
    let done = import(&place, "users.jsonl", &endless);
    assert!(
        done.err.contains("line 1: is longer than 65536 bytes") && done.out.starts_with("1 added"),
        "{done:?}"
    );
}

#[test]
fn an_import_is_one_event_and_one_line_of_the_log_with_its_counts() {
    let place = Workplace::new();
    place.add_user();
    let mut text = format!("email,name\n{EMAIL},Somebody Else\nnobody,\n");
    // More than two of the transactions in which they are written.
    for number in 0..2500 {
        text.push_str(&format!("user{number}@example.com,\n"));
    }
    let imported = import(&place, "users.csv", &text);
    assert_eq!(imported.out, "2500 added, 1 existing and unchanged, 1 refused\n", "{imported:?}");
    let log: Vec<_> = imported.err.lines().filter(|line| line.contains(" INFO ")).collect();
    let [line] = log[..] else { panic!("one line of the log: {imported:?}") };
    assert!(line.ends_with(" users_imported added=2500 existing=1 refused=1"), "{line}");

    let events = place.run(&["events", "--json"], "");
    let events: Vec<Value> =
        events.expect(0, "events").out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let imports: Vec<_> = events.iter().filter(|event| event["kind"] == "users_imported").collect();
    let [event] = imports[..] else { panic!("one event: {events:?}") };
    assert_eq!(event["details"], serde_json::json!({"added": 2500, "existing": 1, "refused": 1}));
    assert_eq!((events.len(), &event["user_id"], &event["address"]), (2, &Value::Null, &Value::Null));
    let shown = place.run(&["events"], "").out;
    let last = shown.lines().last().unwrap();
    assert!(
        last.contains(" users_imported ") && last.ends_with(" added=2500 existing=1 refused=1"),
        "{shown}"
    );
}

#[test]
fn an_import_that_the_database_stops_is_recorded_with_what_it_added() {
    use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

    let place = Workplace::new();
    place.run(&["user", "list"], "").expect(0, "the database is created");
    actix_rt::System::new().block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(place.path("hallpass.db"));
        let mut database = options.connect().await.unwrap();
        let trigger = "create trigger stop before insert on users when new.email = 'last@example.com' \
                       begin select raise(abort, 'stopped by the test'); end";
        database.execute(trigger).await.unwrap();
        database.close().await.unwrap();
    });
    let mut text = "email\n".to_owned();
    // One transaction, and a second one that fails.
    for number in 0..1000 {
        text.push_str(&format!("user{number}@example.com\n"));
    }
    text.push_str("other@example.com\nlast@example.com\n");
    import(&place, "users.csv", &text).expect_error(1, "stopped by the test");
    let events = place.run(&["events", "--json"], "").out;
    let event: Value = serde_json::from_str(events.trim()).unwrap();
    assert_eq!(event["kind"], "users_imported");
    assert_eq!(event["details"], serde_json::json!({"added": 1000, "existing": 0, "refused": 0}));
    assert_eq!(users(&place).len(), 1000);
}

#[test]
fn import_reads_what_export_writes() {
    let place = Workplace::new();
    place.add_user();
    let hash = bcrypt_hash();
    let name = "Quote \"d\", and; so on";
    import(
        &place,
        "users.csv",
        &format!(
            "email,name,roles,password_hash\nold@example.com,\"{}\",admin;editor,{hash}\nno@example.com,,,\n",
            name.replace('"', "\"\"")
        ),
    )
    .expect(0, "import");
    import(&place, "off.csv", &format!("email,password_hash\noff@example.com,{hash}\n")).expect(0, "import");
    place.run(&["user", "disable", "off@example.com"], "").expect(0, "disable");

    for flag in [&[][..], &["--json"]] {
        let written = place.run(&[&["user", "export"], flag].concat(), "");
        written.expect(0, "export");
        assert!(
            written.err.contains("1 disabled users are written without their password hash"),
            "{written:?}"
        );
        let other = Workplace::new();
        let read = import(&other, "users", &written.out);
        read.expect(0, "import of the export");
        assert!(read.out.starts_with("4 added"), "{read:?}");
        let same = |users: Vec<Value>| -> Vec<[Value; 3]> {
            users.into_iter().map(|mut user| ["email", "name", "roles"].map(|key| user[key].take())).collect()
        };
        assert_eq!(same(users(&place)), same(users(&other)));
        let server = other.serve();
        assert_eq!(server.login().0, 200, "a hash of ours");
        let body = |email: &str| serde_json::json!({"email": email, "password": PASSWORD});
        assert_eq!(
            server.ask("POST /auth/login", None, Some(&body("old@example.com"))).0,
            200,
            "a hash of another program"
        );
        assert_eq!(
            server.ask("POST /auth/login", None, Some(&body("off@example.com"))).0,
            401,
            "a disabled user"
        );
    }
    let empty = Workplace::new();
    assert_eq!(empty.run(&["user", "export"], "").out, "email,name,roles,password_hash\n");
}

#[actix_rt::test]
async fn a_hash_of_another_program_is_replaced_at_the_first_successful_sign_in() {
    let app = TestApp::new().await;
    let id = app.user_id().await;
    let stored = async || app.password_hash(id).await;
    let foreign = bcrypt_hash();
    app.users().set_password(id, &foreign).await.unwrap();
    app.login(EMAIL, "wrong horse battery").await.expect_refused("credentials_invalid", "a wrong password");
    assert_eq!(stored().await, foreign);
    app.login(EMAIL, PASSWORD).await.expect_data("the first sign-in");
    let renewed = stored().await;
    assert!(renewed.starts_with("$hallpass$1$2b$04$"), "{renewed}");
    app.login(EMAIL, PASSWORD).await.expect_data("the second sign-in");
    assert_eq!(stored().await, renewed);
}

/// bcrypt reads 72 bytes. What is typed beyond them may be wrong and is let in, as in the program that made the hash;
/// it must not become the password.
#[actix_rt::test]
async fn an_imported_bcrypt_hash_of_a_long_password_never_locks_its_owner_out() {
    let app = TestApp::new().await;
    let long = format!("{}, of the old house", "a river of seventeen blue lanterns ".repeat(2));
    assert!(long.len() > 72);
    let mistyped = format!("{}!", &long[..long.len() - 1]);
    let users = [("whole@example.com", &long[..72]), ("long@example.com", &long)];
    for (email, password) in users {
        let hash = bcrypt::hash(password, 4).unwrap();
        let user = NewUser { email: email.into(), password_hash: Some(hash), ..NewUser::default() };
        app.users().add(user).await.unwrap();
    }
    for attempt in ["first", "second"] {
        app.login("long@example.com", &mistyped).await.expect_data("its first 72 bytes are right");
        app.login("long@example.com", &long).await.expect_data(attempt);
    }
    let wrong = format!("A{}", &long[1..]);
    app.login("long@example.com", &wrong).await.expect_refused("credentials_invalid", "the first byte");
    let stored_of = async |email| app.password_hash(app.users().find(email).await.unwrap().unwrap().id).await;
    let stored = stored_of("long@example.com").await;
    assert!(stored.starts_with("$2b$"), "it stays until the owner sets a password: {stored}");

    app.login("whole@example.com", &long[..72]).await.expect_data("all of it counts");
    let stored = stored_of("whole@example.com").await;
    assert!(stored.starts_with("$hallpass$1$2b$"), "replaced: {stored}");
    app.login("whole@example.com", &long)
        .await
        .expect_refused("credentials_invalid", "now every byte counts");

    let token =
        app.login("long@example.com", &long).await.json()["data"]["token"].as_str().unwrap().to_owned();
    let body = serde_json::json!({"current_password": long, "new_password": mistyped});
    let change = app.post("/user/password").authorization(&format!("Bearer {token}")).json(body);
    change.send().await.expect_data("a new password");
    app.login("long@example.com", &long).await.expect_refused("credentials_invalid", "the old one");
    app.login("long@example.com", &mistyped).await.expect_data("the new one");
}

#[test]
fn weak_and_slow_hashes_are_counted_in_one_line_each_and_those_beyond_the_setting_are_refused() {
    let place = Workplace::new();
    let tail = "ECHSTyW86PwweIgxmnh2Lex0vxKuMNEEPr5XQx.T1FKwR2SvYtGEq";
    let pbkdf2 = "pbkdf2_sha256$1$saltsalt12345678$+07ad3o8iOzWcExe4oPtbkGAEQv1mlPImPt/gur0FmQ=";
    let mut text = "email,password_hash\n".to_owned();
    for (number, hash) in
        [format!("$2b$04${tail}"), pbkdf2.into(), format!("$2b$12${tail}"), format!("$2b$18${tail}")]
            .iter()
            .enumerate()
    {
        text += &format!("user{number}@example.com,{hash}\nagain{number}@example.com,{hash}\n");
    }
    let done = import(&place, "users.csv", &text);
    assert_eq!(done.out, "6 added, 0 existing and unchanged, 2 refused\n", "{done:?}");
    let lines: Vec<_> = done.err.lines().filter(|line| line.contains("password hashes")).collect();
    assert_eq!(lines.len(), 2, "{}", done.err);
    assert!(lines[0].starts_with("4 password hashes are weak"), "{}", done.err);
    assert!(lines[0].contains("on line 4, is PBKDF2 of rounds 1"), "{}", done.err);
    assert!(lines[1].starts_with("2 password hashes are refused: they take more than"), "{}", done.err);
    assert!(
        lines[1].contains("password.import_max_s, 5 s; the slowest, on line 8, is bcrypt of cost 18"),
        "{}",
        done.err
    );

    let place = Workplace::new().variable("HALLPASS_PASSWORD__IMPORT_MAX_S", "600");
    let done = import(&place, "users.csv", &text);
    done.expect(0, "a higher setting");
    assert!(done.err.contains("2 password hashes keep a core busy for more than 1 s"), "{}", done.err);
}
