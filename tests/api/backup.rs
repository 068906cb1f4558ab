//! `hallpass backup` and `hallpass restore`.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::app::{EMAIL, PASSPHRASE, PASSWORD};
use crate::process::{Server, Workplace};

/// A folder with a user, and a server that has run there.
fn with_installation() -> Workplace {
    let place = Workplace::new();
    place.add_user();
    place.serve().stop("TERM");
    place
}

/// The names in a folder.
fn names(place: &Workplace) -> Vec<String> {
    let entries = std::fs::read_dir(place.folder.path()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn kept(place: &Workplace) -> Vec<String> {
    names(place).into_iter().filter(|name| name.starts_with("hallpass.db.before-restore-")).collect()
}

#[test]
fn a_backup_of_a_busy_server_is_a_whole_installation_that_only_its_passphrase_opens() {
    let place = Workplace::new();
    place.add_user();
    let server = place.serve();
    let token = server.token();
    let backup = place.path("backup.db");
    let file = backup.to_str().unwrap();
    let is_done = AtomicBool::new(false);
    let signed_in = std::thread::scope(|scope| {
        let busy: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut count = 0;
                    while !is_done.load(Ordering::Relaxed) || count == 0 {
                        assert_eq!(server.login().0, 200);
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let done = place.run(&["backup", file], "");
        done.expect(0, "backup");
        assert!(done.out.contains("1 users, checked"), "{done:?}");
        is_done.store(true, Ordering::Relaxed);
        busy.into_iter().map(|thread| thread.join().unwrap()).sum::<i32>()
    });
    assert!(signed_in >= 2);
    assert_eq!(std::fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);

    // Another machine.
    let other = Workplace::new();
    other.run(&["restore", file], "").expect(0, "restore");
    let wrong =
        other.run(&["serve", "--bind", "127.0.0.1:0", "--key-stdin"], "another passphrase of theirs\n");
    wrong.expect_error(3, "wrong passphrase");
    let restored = other.serve();
    assert_eq!(restored.get_user(&token).0, 200, "the same keys, the same session");
    assert_eq!(restored.login().0, 200);
    other.run(&["database", "check"], "").expect(0, "check");
}

#[test]
fn a_backup_overwrites_nothing_and_leaves_nothing_half_written() {
    let place = with_installation();
    std::fs::write(place.path("taken"), "precious").unwrap();
    place.run(&["backup", "taken"], "").expect_error(2, "exists already");
    assert_eq!(std::fs::read_to_string(place.path("taken")).unwrap(), "precious");
    place.run(&["backup", "missing/backup.db"], "").expect_error(1, "missing cannot be used");
    let nowhere = ["backup", "backup.db", "--database-url", "sqlite://mistyped.db"];
    place.run(&nowhere, "").expect_error(2, "there is no database sqlite://mistyped.db");
    assert_eq!(names(&place), ["hallpass.db", "hallpass.db-lock", "taken"]);
    let postgres = ["backup", "backup.db", "--database-url", "postgres://nobody@127.0.0.1:1/none"];
    place.run(&postgres, "").expect_error(2, "pg_dump");
}

#[test]
fn a_restore_refuses_a_running_server_which_goes_on() {
    let place = Workplace::new();
    place.add_user();
    let server = place.serve();
    let token = server.token();
    place.run(&["backup", "backup.db"], "").expect(0, "backup");
    place.run(&["restore", "backup.db"], "").expect_error(1, "is in use; stop its servers first");
    assert!(kept(&place).is_empty());
    assert_eq!(server.get_user(&token).0, 200);
    assert_eq!(server.login().0, 200);
    assert!(server.stop("TERM").status.success());
    place.run(&["restore", "backup.db"], "").expect(0, "restore");
}

#[test]
fn a_restore_keeps_what_was_there_beside_it() {
    let place = with_installation();
    place.run(&["backup", "backup.db"], "").expect(0, "backup");
    let later = ["user", "add", "late@example.com", "--password-stdin"];
    place.run(&later, format!("{PASSWORD}\n")).expect(0, "user add");
    let restored = place.run(&["restore", "backup.db"], "");
    restored.expect(0, "restore");
    let kept = kept(&place);
    assert_eq!(kept.len(), 1);
    assert!(restored.out.contains(&kept[0]), "{restored:?}");
    assert!(!place.run(&["user", "list"], "").out.contains("late@example.com"));
    let url = format!("sqlite://{}", kept[0]);
    assert!(place.run(&["user", "list", "--database-url", &url], "").out.contains("late@example.com"));
    let mode = std::fs::metadata(place.path("hallpass.db")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
}

fn sign_in(server: &Server) -> (String, serde_json::Value) {
    let (_, body) = server.login();
    (
        body["data"]["token"].as_str().unwrap().to_owned(),
        json!({"refresh_token": body["data"]["refresh_token"]}),
    )
}

#[test]
fn sessions_that_were_ended_since_the_backup_come_back_unless_they_are_all_ended() {
    let place = Workplace::new();
    place.add_user();
    let server = place.serve();
    let (token, refresh) = sign_in(&server);
    place.run(&["backup", "backup.db"], "").expect(0, "backup");
    assert_eq!(server.ask("POST /auth/logout", Some(&format!("Bearer {token}")), None).0, 204);
    assert_eq!(server.get_user(&token).0, 401);
    server.stop("TERM");

    let restored = place.run(&["restore", "backup.db", "--end-sessions"], "");
    restored.expect(0, "restore");
    assert!(restored.out.contains("every session of 1 users has ended"), "{restored:?}");
    let server = place.serve();
    assert_eq!(server.get_user(&token).0, 401);
    assert_eq!(server.ask("POST /auth/refresh", None, Some(&refresh)).0, 401);
    assert_eq!(server.login().0, 200);
    server.stop("TERM");

    let restored = place.run(&["restore", "backup.db"], "");
    restored.expect(0, "restore");
    assert!(restored.out.contains("sessions that were ended since the backup work again"), "{restored:?}");
    let server = place.serve();
    assert_eq!(server.get_user(&token).0, 200);
}

#[test]
fn the_database_of_another_program_is_not_backed_up_and_nothing_is_written_beside_it() {
    let place = with_installation();
    place.run(&["backup", "backup.db"], "").expect(0, "backup");
    let mut foreign = std::fs::read(place.path("backup.db")).unwrap();
    foreign[68..72].copy_from_slice(b"Else");
    std::fs::create_dir(place.path("app")).unwrap();
    std::fs::write(place.path("app/app.db"), &foreign).unwrap();
    for command in [["backup", "app/copy.db"], ["restore", "backup.db"]] {
        let arguments = [&command[..], &["--database-url", "sqlite://app/app.db"]].concat();
        place.run(&arguments, "").expect_error(1, "app/app.db has tables of another program");
        assert_eq!(std::fs::read(place.path("app/app.db")).unwrap(), foreign, "{command:?}");
        assert_eq!(std::fs::read_dir(place.path("app")).unwrap().count(), 1, "{command:?}");
    }
}

#[test]
fn what_is_no_whole_backup_is_refused_and_changes_nothing() {
    let place = with_installation();
    place.run(&["backup", "backup.db"], "").expect(0, "backup");
    let whole = std::fs::read(place.path("backup.db")).unwrap();
    let before = std::fs::read(place.path("hallpass.db")).unwrap();
    std::fs::write(place.path("text"), "no database").unwrap();
    std::fs::write(place.path("half"), &whole[..whole.len() / 2]).unwrap();
    let mut torn = whole.clone();
    // The pages of tables, behind that of the schema.
    torn[4096 * 3..4096 * 6].fill(0x55);
    std::fs::write(place.path("torn"), torn).unwrap();
    let mut foreign = whole.clone();
    foreign[68..72].copy_from_slice(b"Else");
    std::fs::write(place.path("foreign"), foreign).unwrap();
    for (name, status, expected) in [
        ("missing", 1, "cannot be used"),
        ("text", 1, "text is damaged"),
        ("half", 1, "half is damaged"),
        ("torn", 1, "torn is damaged"),
        ("foreign", 2, "another program has made it"),
    ] {
        place.run(&["restore", name], "").expect_error(status, expected);
        assert_eq!(std::fs::read(place.path("hallpass.db")).unwrap(), before, "{name}");
        assert!(kept(&place).is_empty(), "{name}");
    }
    let left: Vec<_> = names(&place).into_iter().filter(|name| name.starts_with(".hallpass-")).collect();
    assert!(left.is_empty(), "{left:?}");
    let served = Server::start(
        place.command(["serve", "--bind", "127.0.0.1:0", "--key-stdin"]),
        format!("{PASSPHRASE}\n"),
    );
    let body = json!({"email": EMAIL, "password": PASSWORD});
    assert_eq!(served.ask("POST /auth/login", None, Some(&body)).0, 200);
}
