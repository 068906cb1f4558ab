//! The command line: commands, exit statuses and one-line errors, and a server that is started, used and stopped.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::app::{EMAIL, PASSPHRASE, PASSWORD};
use crate::process::{Finished, Server, Workplace, finish, finish_or_kill};

#[test]
fn a_server_started_by_a_script_signs_in_a_user_and_accepts_the_token() {
    let place = Workplace::new();
    place.add_user();
    let server = place.serve();
    let token = server.token();
    let (status, body) = server.get_user(&token);
    assert_eq!((status, &body["data"]["email"]), (200, &Value::from(EMAIL)));
    assert_eq!(server.get_user("no.such.token").0, 401);
    let finished = server.stop("TERM");
    finished.expect(0, "SIGTERM");
    assert_eq!(finished.out, "", "standard output has one line");
}

#[test]
fn tokens_stay_valid_over_a_restart() {
    let place = Workplace::new();
    place.add_user();
    let first = place.serve();
    let token = first.token();
    first.stop("INT").expect(0, "Ctrl-C");
    let second = place.serve();
    assert_eq!(second.get_user(&token).0, 200);
}

#[test]
fn a_wrong_passphrase_ends_the_start() {
    let place = Workplace::new();
    place.add_user();
    place.serve().stop("TERM").expect(0, "the first start");
    let refused = place.run(&["serve", "--key-stdin"], "another river of seventeen lanterns\n");
    refused.expect_error(3, "passphrase");
    assert!(!refused.err.contains("seventeen"), "{refused:?}");
}

#[test]
fn a_weak_new_passphrase_is_refused_with_the_reason() {
    let place = Workplace::new();
    for weak in ["", "secret", "password123", "qwertyuiop"] {
        let refused = place.run(&["serve", "--bind", "127.0.0.1:0", "--key-stdin"], format!("{weak}\n"));
        refused.expect(2, weak);
        assert!(weak.is_empty() || !refused.err.contains(weak), "{refused:?}");
    }
    place.run(&["serve", "--key-stdin"], "password123\n").expect_error(2, "weak");
}

#[test]
fn two_servers_that_start_together_on_a_new_database_share_one_installation() {
    let place = Workplace::new();
    let command = || place.command(["serve", "--bind", "127.0.0.1:0", "--key-stdin"]);
    let (one, other) = (command(), command());
    let start = |command| std::thread::spawn(move || Server::start(command, format!("{PASSPHRASE}\n")));
    let (one, other) = (start(one), start(other));
    let (one, other) = (one.join().unwrap(), other.join().unwrap());
    place.add_user();
    let token = one.token();
    assert_eq!(other.get_user(&token).0, 200);
    assert_eq!(one.get_user(&other.token()).0, 200);
}

#[test]
fn a_running_server_applies_what_the_command_line_changes() {
    let place = Workplace::new();
    place.add_user();
    let server = place.serve();
    let token = server.token();
    assert_eq!(server.get_user(&token).0, 200);
    place.run(&["user", "disable", EMAIL], "").expect(0, "disable");
    assert_eq!(server.get_user_until(&token, 401)["error"], "token_revoked");
    assert_eq!(server.login().0, 401);
    place.run(&["user", "enable", EMAIL], "").expect(0, "enable");
    let fresh = server.token();
    assert_eq!(server.get_user(&fresh).0, 200);
    assert_eq!(server.get_user(&token).0, 401, "no old token becomes valid again");
    place.run(&["user", "passwd", EMAIL, "--password-stdin"], "another horse battery\n").expect(0, "passwd");
    server.get_user_until(&fresh, 401);
    place.run(&["user", "delete", EMAIL, "--yes"], "").expect(0, "delete");
    place.run(&["user", "show", EMAIL], "").expect_error(1, "there is no user ada@example.com");
}

#[test]
fn users_are_added_listed_and_shown_without_their_password_hash() {
    let place = Workplace::new();
    place.run(&["user", "list"], "").expect(0, "an empty list");
    assert_eq!(place.run(&["user", "list", "--json"], "").out.trim(), "[]");
    let added = place.run(
        &[
            "user",
            "add",
            " Ada@Example.com",
            "--name",
            "Ada",
            "--role",
            "admin",
            "--role",
            "editor",
            "--password-stdin",
        ],
        format!("{PASSWORD}\nsecond line\n"),
    );
    added.expect(0, "add");
    let list: Value = serde_json::from_str(&place.run(&["user", "list", "--json"], "").out).unwrap();
    assert_eq!(list[0]["email"], EMAIL);
    assert_eq!(list[0]["roles"], serde_json::json!(["admin", "editor"]));
    let shown = place.run(&["user", "show", "ADA@example.com"], "");
    shown.expect(0, "show");
    assert!(!shown.out.contains("$2b$") && shown.out.contains("\"name\": \"Ada\""), "{shown:?}");
    assert!(place.run(&["user", "list"], "").out.starts_with(EMAIL));
}

#[test]
fn wrong_usage_is_one_line_that_says_what_is_accepted() {
    let place = Workplace::new();
    place.add_user();
    let table: &[(&[&str], &str, i32, &str)] = &[
        (&["nonsense"], "", 2, "nonsense"),
        (&["serve", "--nonsense"], "", 2, "--nonsense"),
        (&["user"], "", 2, "--help"),
        (&["user", "add", "ada", "--password-stdin"], PASSWORD, 2, "EMAIL is not an e-mail address"),
        (
            &["user", "add", "x@example.com", "--role", "Two Words", "--password-stdin"],
            PASSWORD,
            2,
            "is no role",
        ),
        (&["user", "add", "x@example.com", "--name", "", "--password-stdin"], PASSWORD, 2, "--name is empty"),
        (&["user", "add", "x@example.com", "--password-stdin"], "short", 2, "shorter than 8 characters"),
        (&["user", "add", "x@example.com", "--password-stdin"], "password", 2, "tried first"),
        (&["user", "add", EMAIL, "--password-stdin"], PASSWORD, 1, "there is a user ada@example.com already"),
        (&["user", "passwd", "nobody@example.com", "--password-stdin"], PASSWORD, 1, "there is no user"),
        (&["serve", "--key-stdin", "--bind", "nowhere"], PASSPHRASE, 2, "nowhere"),
        (&["serve", "--key-stdin", "--key-fd", "3"], PASSPHRASE, 2, "--key-fd"),
        (&["serve", "--key-file", "missing"], "", 2, "missing"),
        (&["serve", "--config", "missing.toml"], "", 2, "missing.toml"),
        (
            &["serve", "--key-stdin", "--config", "passkey.toml"],
            PASSPHRASE,
            2,
            "over http on localhost alone",
        ),
        (&["user", "list", "--database-url", "mysql://x"], "", 2, "sqlite://"),
    ];
    let passkey = "[passkey]\nrp_id = \"id.example\"\norigins = [\"http://id.example\"]\n";
    std::fs::write(place.path("passkey.toml"), passkey).unwrap();
    for (arguments, input, status, reason) in table {
        place.run(arguments, format!("{input}\n")).expect_error(*status, reason);
    }
}

#[test]
fn without_a_terminal_a_prompt_is_a_usage_error_that_names_the_flag() {
    let place = Workplace::new();
    place.add_user();
    place.run_detached(&["serve"], "").expect_error(2, "--key-stdin");
    place.run_detached(&["user", "passwd", EMAIL], "").expect_error(2, "--password-stdin");
    place.run_detached(&["user", "delete", EMAIL], "").expect_error(2, "--yes");
}

#[test]
fn an_address_in_use_is_an_error_that_names_the_flag() {
    let place = Workplace::new();
    let server = place.serve();
    let second = place.run(&["serve", "--key-stdin", "--bind", &server.address], format!("{PASSPHRASE}\n"));
    second.expect_error(1, "--bind");
}

#[test]
fn a_database_of_a_newer_schema_is_refused_by_name() {
    let place = Workplace::new();
    place.add_user();
    actix_rt::System::new().block_on(async {
        use sqlx::Connection as _;
        let url = format!("sqlite://{}", place.path("hallpass.db").display());
        let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
        sqlx::query("insert into hallpass_migrations (version, description, success, checksum, execution_time) values (9999, 'later', true, x'00', 0)")
            .execute(&mut database)
            .await
            .unwrap();
        database.close().await.unwrap();
    });
    place.run(&["user", "list"], "").expect_error(1, "schema 9999");
    place.run(&["serve", "--key-stdin"], format!("{PASSPHRASE}\n")).expect_error(1, "schema 9999");
}

#[test]
fn the_database_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;

    let place = Workplace::new();
    place.add_user();
    let server = place.serve();
    server.token();
    for name in ["hallpass.db", "hallpass.db-wal", "hallpass.db-shm", "hallpass.db-lock"] {
        let mode = std::fs::metadata(place.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
}

/// Creates a SQLite database like another program: a table with a row, and a journal of this kind.
fn create_foreign(path: &Path, journal: &str) {
    actix_rt::System::new().block_on(async {
        use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let mut database = options.pragma("journal_mode", journal.to_owned()).connect().await.unwrap();
        let statements = "create table notes (text text not null); insert into notes values ('mine')";
        database.execute(statements).await.unwrap();
        database.close().await.unwrap();
    });
}

/// Returns the files of a folder, by name, with their contents.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn the_database_of_another_program_is_refused_by_name_and_unchanged() {
    for journal in ["delete", "wal"] {
        let place = Workplace::new();
        create_foreign(&place.path("app.db"), journal);
        let before = contents(place.folder.path());
        assert!(before[&place.path("app.db")].starts_with(b"SQLite format 3"), "the control");
        let passphrase = format!("{PASSPHRASE}\n");
        let commands: &[(&[&str], &str)] = &[
            (&["user", "list"], ""),
            (&["user", "add", EMAIL, "--password-stdin"], PASSWORD),
            (&["serve", "--bind", "127.0.0.1:0", "--key-stdin"], &passphrase),
            (&["key", "list"], ""),
            (&["events"], ""),
        ];
        for (command, input) in commands {
            let refused = place.run(&[command, &["--database-url", "sqlite://app.db"][..]].concat(), input);
            refused.expect_error(1, "app.db has tables of another program, and nothing was written");
            assert!(refused.err.contains("choose another with --database-url"), "{refused:?}");
            assert!(contents(place.folder.path()) == before, "{journal} {command:?}: a file has changed");
        }
    }
}

#[test]
fn the_database_that_an_apps_dot_env_names_is_not_opened() {
    let place = Workplace::new();
    create_foreign(&place.path("app.db"), "delete");
    let before = std::fs::read(place.path("app.db")).unwrap();
    std::fs::write(place.path(".env"), "DATABASE_URL=sqlite://app.db\n").unwrap();
    place.run(&["user", "list"], "").expect(0, "user list");
    assert!(std::fs::read(place.path("app.db")).unwrap() == before, "it has changed");
    assert!(place.path("hallpass.db").exists(), "its own database is used");
}

#[test]
fn a_file_that_is_not_a_database_is_refused_and_unchanged() {
    let place = Workplace::new();
    let text = "these are my notes, not a database\n".repeat(100);
    std::fs::write(place.path("hallpass.db"), &text).unwrap();
    place.run(&["user", "list"], "").expect_error(1, "hallpass.db cannot be used");
    assert_eq!(std::fs::read_to_string(place.path("hallpass.db")).unwrap(), text);
}

#[test]
fn the_log_is_text_or_json_and_names_the_request() {
    let json =
        Workplace::new().variable("HALLPASS_LOG__FORMAT", "json").variable("RUST_LOG", "hallpass=debug");
    json.add_user();
    let server = json.serve();
    let token = server.token();
    let (_, refused) = server.get_user("no.such.token");
    assert_eq!(refused["error"], "token_invalid");
    let log = server.stop("TERM").err;
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let reported: Vec<_> = lines
        .iter()
        .filter(|line| line["message"].as_str().unwrap().starts_with("request refused"))
        .collect();
    assert_eq!(reported.len(), 1, "{log}");
    assert!(reported[0]["message"].as_str().unwrap().contains("token_invalid"), "{log}");
    assert!(reported[0]["request_id"].as_str().is_some_and(|id| id.len() == 36), "{log}");
    let signed_in =
        lines.iter().find(|line| line["message"].as_str().unwrap().contains("signed_in")).unwrap();
    assert!(signed_in["request_id"].is_string(), "{log}");
    assert!(!log.contains(&token) && !log.contains(PASSWORD) && !log.contains("no.such.token"), "{log}");
}

#[test]
fn the_demo_prints_what_to_try_and_leaves_nothing_behind() {
    let place = Workplace::new();
    let temporary = place.path("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let mut command = place.command(["demo"]);
    command.env("TMPDIR", &temporary);
    let mut server = Server::start(command, "");
    assert!(server.address.starts_with("127.0.0.1:"), "{}", server.address);
    let mut printed = String::new();
    while printed.matches("curl ").count() < 3 {
        assert_ne!(server.out.read_line(&mut printed).unwrap(), 0, "{printed}");
    }
    assert!(dir_len(&temporary) > 0, "the database is in the temporary folder");
    let script = printed.lines().filter(|line| line.contains("curl ")).collect::<Vec<_>>().join("\n");
    let pasted = Command::new("sh").arg("-c").arg(&script).output().unwrap();
    let seen = String::from_utf8(pasted.stdout).unwrap();
    assert!(
        seen.contains("401 Unauthorized Access") && seen.contains("\"email\":\"demo@example.com\""),
        "{script}\n{seen}"
    );
    server.stop("INT").expect(0, "Ctrl-C");
    assert_eq!(dir_len(&temporary), 0);
}

#[test]
fn a_demo_that_cannot_show_its_password_fails() {
    let place = Workplace::new();
    let temporary = place.path("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let in_shell = |output| (output, place.shell(&format!("exec \"$0\" demo {output}")));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut without_reader = place.command(["demo"]);
    without_reader.stdout(writer);
    for (output, mut command) in
        [in_shell(">&-"), in_shell(">/dev/null"), in_shell(">/dev/full"), ("no reader", without_reader)]
    {
        command.env("TMPDIR", &temporary);
        let finished = finish_or_kill(command);
        finished.expect_error(1, "nobody would know the demo user's password");
        assert_eq!(dir_len(&temporary), 0, "{output}");
    }
}

#[test]
fn a_flag_that_the_command_would_ignore_is_refused() {
    let place = Workplace::new();
    for flag in ["--config", "--database-url"] {
        for command in ["demo", "openapi"] {
            let finished = finish_or_kill(place.command([command, flag, "sqlite://x.db"]));
            finished.expect_error(2, &format!("hallpass {command} would ignore {flag}; leave it out"));
        }
    }
}

fn dir_len(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

/// Runs `hallpass` in a shell, as `$0`, without input.
fn in_a_shell(place: &Workplace, script: &str) -> Finished {
    finish(place.shell(script), "")
}

#[test]
fn output_that_cannot_be_written_is_an_error_and_no_panic() {
    let place = Workplace::new();
    place.add_user();
    let commands = [
        "--help",
        "--version",
        "key --help",
        "config",
        "openapi",
        "openapi --markdown",
        "user list",
        "user list --json",
        "user export",
        "key list",
        "events",
    ];
    for command in commands {
        let full = in_a_shell(&place, &format!("exec \"$0\" {command} >/dev/full"));
        full.expect_error(1, "standard output cannot be written: ");
        let both = in_a_shell(&place, &format!("exec \"$0\" {command} >/dev/full 2>/dev/full"));
        both.expect(1, command);
        in_a_shell(&place, &format!("exec \"$0\" {command} >&-")).expect(0, command);
    }
    in_a_shell(&place, "exec \"$0\" nonsense 2>/dev/full").expect(2, "wrong usage");
    let disabled = in_a_shell(&place, &format!("exec \"$0\" user disable {EMAIL} >/dev/full"));
    disabled.expect_error(1, &format!("the line was: {EMAIL} is disabled"));
}

#[test]
fn a_command_whose_reader_has_gone_ends_silently_with_141() {
    let place = Workplace::new();
    place.add_user();
    for arguments in [&["--help"][..], &["user", "list"], &["events"], &["events", "--follow"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = place.command(arguments);
        let output = command.stdin(Stdio::null()).stdout(writer).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*err), (Some(141), ""), "{arguments:?}");
    }
}

#[test]
fn the_last_admin_is_disabled_or_deleted_only_by_force() {
    let place = Workplace::new();
    let add = ["user", "add", EMAIL, "--role", "admin", "--password-stdin"];
    place.run(&add, "correct horse battery\n").expect(0, "add");
    let refusal =
        "ada@example.com is the last admin; give another user the role admin first, or confirm with --force";
    place.run(&["user", "disable", EMAIL], "").expect_error(1, refusal);
    place.run(&["user", "delete", EMAIL, "--yes"], "").expect_error(1, refusal);
    place.run(&["user", "disable", EMAIL, "--force"], "").expect(0, "disable");
    place.run(&["user", "delete", EMAIL, "--yes"], "").expect(0, "a disabled admin is none");
}
