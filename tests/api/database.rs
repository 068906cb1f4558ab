//! A server and its database: not used for known tokens; locked; full; shared by two processes.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{ConnectOptions, Executor};

use crate::app::{EMAIL, PASSPHRASE, PASSWORD};
use crate::mail::sink::Sink;
use crate::process::{Server, Workplace};

/// What the server asks at its own pace: for changes, for users to index, and for hashes to seal.
const AT_ITS_OWN_PACE: [&str; 3] = ["left join changes", "from users_to_index", "where substr(password_hash"];

/// Returns the number of statements in the log, without those that no request causes.
fn statements(place: &Workplace) -> usize {
    let log = std::fs::read_to_string(place.path("log")).unwrap();
    let reported = |line: &&str| {
        line.contains("db.statement") && !AT_ITS_OWN_PACE.iter().any(|statement| line.contains(statement))
    };
    log.lines().filter(reported).count()
}

/// Returns the number of syncs in the log.
fn looks(place: &Workplace) -> usize {
    std::fs::read_to_string(place.path("log")).unwrap().matches("left join changes").count()
}

#[test]
fn requests_with_unknown_keys_share_one_look_up() {
    let place = Workplace::new().variable("RUST_LOG", "sqlx=debug");
    place.add_user();
    let mut command = place.command(["serve", "--bind", "127.0.0.1:0", "--key-stdin"]);
    command.stderr(File::create(place.path("log")).unwrap());
    let server = Server::start(command, format!("{PASSPHRASE}\n"));
    let stranger = hallpass::testing::Mint::new().token_for("ada").to_string();
    let (before, since) = (looks(&place), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..25 {
                    assert_eq!(server.get_user(&stranger).0, 401);
                }
            });
        }
    });
    let (looks, took) = (looks(&place) - before, since.elapsed());
    // One in 50 ms at most, and the two a second of every server.
    let most = 2 + took.as_millis() / 50 + took.as_millis() / 500;
    assert!(looks >= 1 && looks as u128 <= most, "{looks} looks for 200 requests in {took:?}");
}

#[test]
fn a_thousand_requests_with_known_tokens_need_no_database() {
    let place = Workplace::new().variable("RUST_LOG", "sqlx=debug");
    place.add_user();
    place
        .run(&["user", "add", "bob@example.com", "--password-stdin"], format!("{PASSWORD}\n"))
        .expect(0, "bob");
    let mut command = place.command(["serve", "--bind", "127.0.0.1:0", "--key-stdin"]);
    command.stderr(File::create(place.path("log")).unwrap());
    let server = Server::start(command, format!("{PASSPHRASE}\n"));
    let token = server.token();
    let body = json!({"email": "bob@example.com", "password": PASSWORD});
    let (_, bobs) = server.ask("POST /auth/login", None, Some(&body));
    let bobs = bobs["data"]["token"].as_str().unwrap();
    assert_eq!(server.get_user(&token).0, 200, "known from here on");

    let options: sqlx::sqlite::SqliteConnectOptions =
        format!("sqlite://{}", place.path("hallpass.db").display()).parse().unwrap();
    actix_rt::System::new().block_on(async {
        let mut lock = options.connect().await.unwrap();
        lock.execute("begin exclusive").await.unwrap();
        let before = statements(&place);
        assert!(before > 0, "the log tells of statements");
        for _ in 0..1_000 {
            assert_eq!(server.get_user(&token).0, 200);
        }
        assert_eq!(statements(&place), before);
        assert_eq!(server.get_user(bobs).0, 200);
        assert_eq!(statements(&place), before + 1, "the control: Bob is read");

        let (status, body) = server.login();
        assert_eq!(
            (status, &body["error"]),
            (503, &json!("unavailable")),
            "never a wrong password, never a lock"
        );
        lock.execute("rollback").await.unwrap();
    });
    assert_eq!(server.login().0, 200, "and all is well again");
}

/// Locks or unlocks bytes of a file against other processes (POSIX locks). Waits until it can.
fn lock(file: &File, kind: i32, start: i64, len: i64) {
    let range = libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: start,
        l_len: len,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open, and the structure outlives the call.
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLKW, &range) }, 0);
}

#[test]
fn known_tokens_are_accepted_without_the_database_until_the_state_is_stale() {
    let place = Workplace::new();
    place.add_user();
    place
        .run(&["user", "add", "bob@example.com", "--password-stdin"], format!("{PASSWORD}\n"))
        .expect(0, "bob");
    let serve = |stale_after: &str| {
        let mut command = place.command(["serve", "--bind", "127.0.0.1:0", "--key-stdin"]);
        command.env("HALLPASS_DATABASE__STALE_AFTER_S", stale_after);
        // Each 503 is a line in the log, and a pipe that nobody reads is full at some time.
        command.stderr(File::create(place.path(&format!("log-{stale_after}"))).unwrap());
        Server::start(command, format!("{PASSPHRASE}\n"))
    };
    let (patient, impatient) = (serve("3600"), serve("1"));
    let token = patient.token();
    let body = json!({"email": "bob@example.com", "password": PASSWORD});
    let (_, bobs) = patient.ask("POST /auth/login", None, Some(&body));
    let bobs = bobs["data"]["token"].as_str().unwrap();
    assert_eq!(patient.get_user(&token).0, 200);
    assert_eq!(impatient.get_user(&token).0, 200);

    // The eight locks of the write-ahead log's index: without one, nobody reads or writes.
    let index = File::options().read(true).write(true).open(place.path("hallpass.db-shm")).unwrap();
    lock(&index, libc::F_WRLCK, 120, 8);
    assert_eq!(impatient.get_user_until(&token, 503)["error"], "unavailable", "after a second");
    for _ in 0..1_000 {
        assert_eq!(patient.get_user(&token).0, 200);
    }
    let (status, reported) = patient.get_user(bobs);
    assert_eq!((status, &reported["error"]), (503, &json!("unavailable")), "Bob cannot be read");
    let strangers = hallpass::testing::Mint::new().token_for("ada").to_string();
    assert_eq!(patient.get_user(&strangers).0, 503, "nor whether there is such a key");
    lock(&index, libc::F_UNLCK, 120, 8);
    impatient.get_user_until(&token, 200);
    patient.get_user_until(bobs, 200);
}

/// Makes every write of the process beyond byte `most` of a file fail, like a full disk.
fn limit_files(process: u32, most: libc::rlim_t) {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the limit outlives the call, and the old one is not asked for.
    let done =
        unsafe { libc::prlimit(process as libc::pid_t, libc::RLIMIT_FSIZE, &limit, std::ptr::null_mut()) };
    assert_eq!(done, 0);
}

/// Starts a server whose disk can be filled by `limit_files`.
fn serve_on_a_small_disk(place: &Workplace) -> Server {
    let mut command = place.command(["serve", "--bind", "127.0.0.1:0", "--key-stdin"]);
    // SAFETY: nothing but a signal's disposition is set between fork and exec.
    unsafe {
        command.pre_exec(|| {
            // A write beyond the limit then fails, as on a full disk, and does not kill.
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            Ok(())
        });
    }
    Server::start(command, format!("{PASSPHRASE}\n"))
}

#[test]
fn a_full_disk_is_reported_and_the_server_recovers() {
    let place = Workplace::new();
    place.add_user();
    let server = serve_on_a_small_disk(&place);
    let token = server.token();
    assert_eq!(server.get_user(&token).0, 200);
    for round in 0..2 {
        limit_files(server.child.id(), 1);
        for _ in 0..3 {
            let (status, body) = server.login();
            assert_eq!((status, &body["error"]), (503, &json!("unavailable")), "round {round}");
        }
        let (status, body) = server.ask("POST /auth/logout", Some(&format!("Bearer {token}")), None);
        assert_eq!((status, &body["error"]), (503, &json!("unavailable")), "never an untrue 204");
        assert_eq!(server.get_user(&token).0, 200);
        limit_files(server.child.id(), libc::RLIM_INFINITY);
        assert_eq!(server.login().0, 200, "round {round}");
    }
    assert_eq!(server.ask("POST /auth/logout", Some(&format!("Bearer {token}")), None).0, 204);
    assert_eq!(server.get_user(&token).0, 401);
}

#[test]
fn while_the_disk_is_full_no_mail_is_sent_and_then_each_once() {
    let sink = Sink::start();
    let place =
        Workplace::new().variable("HALLPASS_MAIL__URL", &sink.url()).variable("RUST_LOG", "hallpass=debug");
    place.add_user();
    let mut server = serve_on_a_small_disk(&place);
    let log = BufReader::new(server.child.stderr.take().unwrap());
    let (found, failures) = mpsc::channel();
    // Read to its end, so that the server never waits for a reader.
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok).filter(|line| line.contains("mails are not sent")) {
            let _ = found.send(line);
        }
    });
    limit_files(server.child.id(), 1);
    place.run(&["user", "invite", "grace@example.com"], "").expect(0, "by a process without the limit");
    for _ in 0..2 {
        failures.recv_timeout(Duration::from_secs(60)).expect("the worker has tried");
    }
    let (status, body) = server.ask("POST /auth/password/forgot", None, Some(&json!({"email": EMAIL})));
    assert_eq!((status, &body["error"]), (503, &json!("unavailable")), "never an untrue 202");
    assert_eq!(sink.connections(), 0, "a mail that cannot be claimed is not sent: it would be sent again");
    limit_files(server.child.id(), libc::RLIM_INFINITY);
    let since = Instant::now();
    while !place.run(&["mail", "list"], "").expect(0, "list").out.is_empty() {
        assert!(since.elapsed().as_secs() < 60, "it still waits");
    }
    assert_eq!(sink.mails().len(), 1);
}

#[test]
fn a_session_ended_at_one_server_is_refused_at_another() {
    let place = Workplace::new();
    place.add_user();
    let (one, other) = (place.serve(), place.serve());
    let bearer = |token: &str| format!("Bearer {token}");
    let tokens = || {
        let (_, body) = one.login();
        let text = |name: &str| body["data"][name].as_str().unwrap().to_owned();
        (text("token"), text("refresh_token"))
    };
    let (first, refresh) = tokens();
    let (second, _) = tokens();
    for token in [&first, &second] {
        assert_eq!(other.get_user(token).0, 200);
    }
    let (status, body) = other.ask("POST /auth/refresh", None, Some(&json!({"refresh_token": refresh})));
    assert_eq!((status, &body["data"]["user"]["email"]), (200, &json!(EMAIL)), "refreshed at the other");
    let refreshed = body["data"]["token"].as_str().unwrap().to_owned();
    assert_eq!(one.ask("POST /auth/logout", Some(&bearer(&first)), None).0, 204);
    assert_eq!(one.get_user(&first).0, 401, "at once where it was reported");
    for token in [&first, &refreshed] {
        assert_eq!(other.get_user_until(token, 401)["error"], "token_revoked");
    }
    assert_eq!(other.get_user(&second).0, 200);
    assert_eq!(other.ask("POST /auth/logout-all", Some(&bearer(&second)), None).0, 204);
    assert_eq!(one.get_user_until(&second, 401)["error"], "token_revoked");
}
