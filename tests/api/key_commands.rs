//! `hallpass key` beside a running server, and passphrases that are not typed.

use chrono::Duration;
use hallpass::server::keys::rotation;
use hallpass::server::keys::vault::Vault;
use hallpass::server::store::Store;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Executor};

use crate::app::PASSPHRASE;
use crate::keys::{REQUESTED, header, kid};
use crate::process::Workplace;

const NEW_PASSPHRASE: &str = "nine copper kettles in the rain";

#[test]
fn a_key_id_may_begin_with_a_hyphen() {
    let place = founded();
    place.run(&["key", "revoke", "-abcdef"], "").expect_error(1, "there is no key \"-abcdef\"");
}

#[test]
fn a_dry_run_while_a_key_waits_makes_none() {
    let place = founded().variable("HALLPASS_KEY__PUBLISH_AHEAD_S", "3600");
    place.run(&["key", "rotate", "--key-stdin"], format!("{PASSPHRASE}\n")).expect(0, "rotate");
    let told = place.run(&["key", "rotate", "--dry-run"], "");
    assert!(told.expect(0, "dry run").out.starts_with("would make no key, because "), "{told:?}");
}

/// A folder with a database that a server has used.
pub fn founded() -> Workplace {
    let place = Workplace::new();
    place.add_user();
    place.serve().stop("TERM").expect(0, "the first start");
    place
}

fn listed(place: &Workplace) -> Vec<Value> {
    serde_json::from_str(&place.run(&["key", "list", "--json"], "").expect(0, "list").out).unwrap()
}

#[test]
fn keys_are_rotated_and_revoked_beside_a_running_server() {
    let place = founded();
    let server = place.serve();
    let old = server.token();
    let keys = listed(&place);
    assert_eq!((keys.len(), &keys[0]["state"], &keys[0]["kid"]), (1, &json!("signs"), &json!(kid(&old))));

    let planned = place.run(&["key", "rotate", "--dry-run"], "");
    assert!(planned.expect(0, "dry run").out.contains("nothing was done"), "{planned:?}");
    assert_eq!(listed(&place).len(), 1);

    let rotated = place.run(&["key", "rotate", "--key-stdin"], format!("{PASSPHRASE}\n"));
    assert!(rotated.expect(0, "rotate").out.contains("(EdDSA) is published; it signs from "), "{rotated:?}");
    let keys = listed(&place);
    assert_eq!((&keys[0]["state"], &keys[1]["state"]), (&json!("signs"), &json!("next")));
    assert_eq!(server.get_user(&old).0, 200);

    place.run(&["key", "revoke", &kid(&old)], "").expect(0, "revoke");
    assert_eq!(server.get_user_until(&old, 401)["error"], "token_invalid");
    let new = server.token();
    assert_eq!(kid(&new), keys[1]["kid"].as_str().unwrap());
    assert_eq!(server.get_user(&new).0, 200);

    place.run(&["key", "revoke", &kid(&new)], "").expect_error(1, "is the only key");
    place.run(&["key", "revoke", "nobody"], "").expect_error(1, "there is no key \"nobody\"");
    let events = place.run(&["events"], "").out;
    for kind in ["key_added", "key_revoked"] {
        assert!(events.contains(kind), "{events}");
    }
}

#[test]
fn a_dry_run_prints_what_the_rotation_then_does() {
    let place = founded();
    let planned = place.run(&["key", "rotate", "--dry-run"], "").expect(0, "dry run").out.clone();
    let times = |text: &str| -> Vec<chrono::DateTime<chrono::Utc>> {
        text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
    };
    place.run(&["key", "rotate", "--key-stdin"], format!("{PASSPHRASE}\n")).expect(0, "rotate");
    let keys = listed(&place);
    let then: chrono::DateTime<chrono::Utc> = keys[1]["signs_from"].as_str().unwrap().parse().unwrap();
    let [signs_from, dropped_at] = times(&planned)[..] else { panic!("two times: {planned}") };
    assert_eq!(
        dropped_at - signs_from,
        Duration::minutes(61),
        "the last token's hour, and a minute for the clocks"
    );
    // Between the two commands some time went by.
    let between = then - signs_from;
    assert!(between >= Duration::zero() && between < Duration::minutes(5), "{planned}: {then}");
}

#[test]
fn a_key_dated_in_the_future_is_named_with_the_way_out() {
    let place = founded();
    actix_rt::System::new().block_on(async {
        let store = Store::open(&place.database()).await.unwrap();
        let vault = Vault::unseal(
            &store.read(async |connection| connection.installation().await).await.unwrap().unwrap(),
            &PASSPHRASE.into(),
        )
        .unwrap();
        let settings = hallpass::server::config::Settings::default();
        let ahead =
            hallpass::clock::Clock::manual(hallpass::clock::Clock::system().now() + Duration::days(400));
        rotation::rotate(&store, &vault, &settings, &ahead, REQUESTED).await.unwrap();
        store.close().await;
    });
    let server = place.serve();
    let rotate = |more: &[&str]| {
        place.run(&[&["key", "rotate", "--key-stdin"], more].concat(), format!("{PASSPHRASE}\n"))
    };
    rotate(&[]).expect_error(1, "if it is right, run hallpass key rotate --trust-clock");
    place.run(&["key", "rotate", "--dry-run"], "").expect_error(1, "--trust-clock");
    let planned = place.run(&["key", "rotate", "--dry-run", "--trust-clock"], "");
    assert!(planned.expect(0, "dry run").out.contains("would be dated back"), "{planned:?}");
    assert_eq!(listed(&place).len(), 2);
    rotate(&["--trust-clock"]).expect(0, "rotate");
    assert_eq!(listed(&place).len(), 3);
    assert!(server.stop("TERM").err.contains("--trust-clock"), "logged at the start too");
}

#[test]
fn a_new_passphrase_replaces_the_old_one_and_invalidates_no_token() {
    let place = founded();
    let server = place.serve();
    let token = server.token();
    let both = |current: &str, new: &str| format!("{current}\n{new}\n");
    let change = |input: String| place.run(&["key", "passphrase", "--key-stdin"], input);
    change(both("another river of lanterns", NEW_PASSPHRASE)).expect_error(3, "wrong passphrase");
    change(both(PASSPHRASE, "password123")).expect_error(2, "too weak");
    change(format!("{PASSPHRASE}\n")).expect_error(2, "empty first line");
    place
        .run(&["key", "check", "--key-stdin"], format!("{PASSPHRASE}\n"))
        .expect(0, "nothing was changed so far");

    change(both(PASSPHRASE, NEW_PASSPHRASE)).expect(0, "passphrase");
    place
        .run(&["key", "check", "--key-stdin"], format!("{PASSPHRASE}\n"))
        .expect_error(3, "wrong passphrase");
    place.run(&["key", "check", "--key-stdin"], format!("{NEW_PASSPHRASE}\n")).expect(0, "the new one");
    assert_eq!(server.get_user(&token).0, 200, "the running server continues");
    place.run(&["key", "rotate", "--key-stdin"], format!("{NEW_PASSPHRASE}\n")).expect(0, "rotate");
    assert_eq!(server.get_user(&token).0, 200);
    server.stop("TERM").expect(0, "stop");
    place.run(&["serve", "--key-stdin"], format!("{PASSPHRASE}\n")).expect_error(3, "wrong passphrase");
}

#[test]
fn key_commands_name_what_is_missing() {
    let place = Workplace::new();
    place.run(&["key", "check", "--key-stdin"], format!("{PASSPHRASE}\n")).expect_error(1, "has no keys yet");
    place.run(&["key", "rotate", "--dry-run"], "").expect_error(1, "has no keys yet");
    assert!(place.run(&["key", "list"], "").expect(0, "list").out.contains("no keys yet"));
    let place = founded();
    place.run_detached(&["key", "check"], "").expect_error(2, "--key-stdin");
    place
        .run(&["key", "check", "--key-stdin"], "wrong and wrong again\n")
        .expect_error(3, "wrong passphrase");
}

#[test]
fn a_server_whose_algorithm_differs_warns_and_follows_the_database() {
    let place = founded().variable("HALLPASS_TOKEN__ALGORITHM", "ES256");
    let server = place.serve();
    assert_eq!(header(&server.token())["alg"], "EdDSA");
    let log = server.stop("TERM").err;
    assert!(log.contains("token.algorithm is ES256, but this database signs with EdDSA"), "{log}");
}

#[test]
fn a_server_whose_keys_do_not_decrypt_never_listens() {
    let table = [
        ("a seal", "update signing_keys set sealed = zeroblob(length(sealed))"),
        ("the kid", "update signing_keys set kid = 'another'"),
        ("the algorithm", "update signing_keys set algorithm = 'HS256'"),
        ("the purpose", "update signing_keys set purpose = 'another'"),
        ("when it was made", "update signing_keys set created_at = created_at - 1000"),
        ("when it signs", "update signing_keys set signs_from = signs_from - 1000"),
    ];
    for (what, statement) in table {
        let place = founded();
        let options: sqlx::sqlite::SqliteConnectOptions =
            format!("sqlite://{}", place.path("hallpass.db").display()).parse().unwrap();
        actix_rt::System::new().block_on(async {
            options.connect().await.unwrap().execute(statement).await.unwrap();
        });
        let refused =
            place.run(&["serve", "--bind", "127.0.0.1:0", "--key-stdin"], format!("{PASSPHRASE}\n"));
        refused.expect_error(1, "restore the database from a backup");
        assert_eq!(refused.out, "", "{what}: it never listens");
        place
            .run(&["key", "check", "--key-stdin"], format!("{PASSPHRASE}\n"))
            .expect_error(1, "restore the database from a backup");
    }
}

#[test]
fn a_passphrase_comes_from_a_file_a_descriptor_a_pipe_a_credential_or_the_environment() {
    use std::os::unix::fs::PermissionsExt;

    let place = founded();
    let key = place.path("key");
    std::fs::write(&key, format!("{PASSPHRASE}\n")).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    let check = |arguments: &str| {
        let script = arguments.replace("HALLPASS key", concat!(env!("CARGO_BIN_EXE_hallpass"), " key"));
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .current_dir(place.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    check("HALLPASS key check --key-file key");
    check("HALLPASS key check --key-fd 3 3< key");
    check("cat key | HALLPASS key check --key-stdin");
    // As with systemd's LoadCredential=: a file in a folder that it names, readable by the group of the service.
    check(
        "mkdir run && chmod 750 run && cp key run/passphrase && chmod 440 run/passphrase && CREDENTIALS_DIRECTORY=$PWD/run HALLPASS key check --key-file run/passphrase",
    );
    // As Kubernetes mounts it: a link to a file that the group can read.
    check(
        "mkdir secret && cp key secret/..data && chmod 440 secret/..data && ln -s ..data secret/passphrase && HALLPASS key check --key-file secret/passphrase --key-file-shared",
    );
    check("HALLPASS_KEY=\"$(cat key)\" HALLPASS key check");
}

#[test]
fn a_descriptor_may_be_a_nonblocking_socket_and_is_closed_after_it_was_read() {
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    let place = founded();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let mut command = place.shell("exec \"$0\" serve --bind 127.0.0.1:0 --key-fd 7 7<&0 </dev/null");
    command.stdin(OwnedFd::from(theirs));
    let mut child = command.spawn().unwrap();
    // The command has a copy of their end.
    drop(command);
    writeln!(ours, "{PASSPHRASE}").unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
        .unwrap();
    assert!(line.starts_with("listening on "), "{line}");
    assert_eq!(
        std::io::Read::read(&mut ours, &mut [0]).unwrap(),
        0,
        "the other end is closed while it serves"
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_descriptor_is_read_even_if_its_file_cannot_be_opened_and_only_one_is_accepted() {
    let place = founded();
    std::fs::write(place.path("key"), format!("{PASSPHRASE}\n")).unwrap();
    // root opens whatever it likes; so where the tests run as root, the command does without that.
    let humble = if rustix::process::getuid().is_root() {
        "setpriv --bounding-set -dac_override,-dac_read_search --inh-caps -dac_override,-dac_read_search"
    } else {
        ""
    };
    let check = |arguments: &str| {
        let script = format!(
            "exec 7<key; chmod 000 key; {humble} \"$0\" key check {arguments}; end=$?; chmod 600 key; exit $end"
        );
        place.shell(&script).output().unwrap()
    };
    let by_descriptor = check("--key-fd 7");
    assert!(by_descriptor.status.success(), "{by_descriptor:?}");
    assert_eq!(check("--key-file key").status.code(), Some(2), "the control: it cannot be opened");
    let two = place.shell("exec \"$0\" --key-fd 3 serve --key-fd 4 3<key 4<key").output().unwrap();
    assert_eq!(two.status.code(), Some(2), "{two:?}");
    assert!(String::from_utf8_lossy(&two.stderr).contains("one descriptor is accepted"), "{two:?}");
}

#[test]
fn a_running_server_keeps_no_descriptor_that_the_passphrase_can_be_read_from() {
    let place = founded();
    std::fs::write(place.path("key"), format!("{PASSPHRASE}\n")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(place.path("key"), mode).unwrap();
    let place = place.variable("HALLPASS_DUMPABLE", "1");
    for way in ["--key-stdin <key", "--key-fd 0 <key", "--key-fd 7 7<key", "--key-file key"] {
        let command = place.shell(&format!("exec \"$0\" serve --bind 127.0.0.1:0 {way}"));
        let server = crate::process::Server::start(command, "");
        let open = std::fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap();
        let open: Vec<_> = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok()).collect();
        assert!(open.iter().any(|path| path.ends_with("hallpass.db")), "the control: {open:?}");
        assert!(!open.iter().any(|path| path.ends_with("key")), "{way}: {open:?}");
    }
}

#[test]
fn a_row_with_impossible_numbers_causes_no_panic() {
    for (damage, status) in [
        ("token_lifetime = 9223372036854775807", 0),
        ("token_lifetime = 9000000000000000", 0),
        ("token_lifetime = -1", 0),
        ("created_at = 9223372036854775807", 1),
        ("signs_from = 253402300799000", 1),
        ("signs_from = -9223372036854775808", 1),
    ] {
        let place = founded();
        place.run(&["key", "rotate", "--key-stdin"], format!("{PASSPHRASE}\n")).expect(0, "rotate");
        let options: sqlx::sqlite::SqliteConnectOptions =
            format!("sqlite://{}", place.path("hallpass.db").display()).parse().unwrap();
        actix_rt::System::new().block_on(async {
            let statement = sqlx::AssertSqlSafe(format!("update signing_keys set {damage}"));
            options.connect().await.unwrap().execute(statement).await.unwrap();
        });
        place.run(&["key", "list"], "").expect(0, damage);
        let checked = place.run(&["key", "check", "--key-stdin"], format!("{PASSPHRASE}\n"));
        checked.expect(status, damage);
        let planned = place.run(&["key", "rotate", "--dry-run"], "");
        assert_ne!(planned.status.code(), Some(101), "{damage}: {planned:?}");
        if status == 1 {
            checked.expect_error(1, "restore the database from a backup");
        }
    }
}

#[test]
fn a_descriptor_that_is_not_open_is_an_error() {
    let place = Workplace::new();
    for (number, reason) in
        [("9", "is it open, as in 9< file?"), ("1", "0 or a number from 3 on"), ("x", "0 or a number")]
    {
        place.run(&["key", "check", "--key-fd", number], "").expect_error(2, reason);
    }
}
