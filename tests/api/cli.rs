//! The binary as a process: commands, exit statuses, one-line errors, and a server that is started, asked,
//! changed from beside and stopped.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::app::{EMAIL, PASSPHRASE, PASSWORD};
use crate::test_database::TestDatabase;

/// A folder to run the binary in, with no settings but those of the test.
pub struct Workplace {
    pub folder: TempDir,
    variables: Vec<(String, String)>,
}

/// What a finished process left behind.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

/// `hallpass serve`, listening.
pub struct Server {
    pub child: Child,
    pub address: String,
    out: BufReader<ChildStdout>,
}

impl Workplace {
    pub fn new() -> Self {
        let cost = ("HALLPASS_PASSWORD__BCRYPT_COST".to_owned(), "4".to_owned());
        Self { folder: tempfile::tempdir().unwrap(), variables: vec![cost] }
    }

    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// With another database than the file in its folder.
    pub fn on(self, database: &TestDatabase) -> Self {
        let url = database.settings.url.to_string();
        self.variable("HALLPASS_DATABASE__URL", &url)
            .variable("HALLPASS_DATABASE__SCHEMA", &database.settings.schema)
    }

    /// The settings of its database, for a look from this process.
    pub fn database(&self) -> hallpass::server::config::Database {
        let mut settings = hallpass::server::config::Settings::default().database;
        settings.url = hallpass::server::config::DatabaseUrl::Sqlite(self.path("hallpass.db"));
        settings
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// The binary with these arguments, in this folder, with a clean environment.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(self.variables.iter().cloned());
        // A session of its own, so that no terminal of whoever runs the tests is in reach.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The same in a shell: `script` calls the binary `$0`.
    pub fn shell(&self, script: &str) -> Command {
        let inner = self.command::<&str>([]);
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(inner.get_program()).current_dir(self.folder.path()).env_clear();
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Finished {
        finish(self.command(arguments), input)
    }

    /// Runs without a controlling terminal.
    pub fn run_detached(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Finished {
        let inner = self.command(arguments);
        let mut command = Command::new("setsid");
        command.arg("--wait").arg(inner.get_program()).args(inner.get_args());
        command.current_dir(self.folder.path()).env_clear().envs(self.variables.iter().cloned());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(command, input)
    }

    pub fn add_user(&self) {
        let added =
            self.run(&["user", "add", EMAIL, "--name", "Ada", "--password-stdin"], format!("{PASSWORD}\n"));
        added.expect(0, "user add");
    }

    pub fn serve(&self) -> Server {
        Server::start(
            self.command(["serve", "--bind", "127.0.0.1:0", "--key-stdin"]),
            format!("{PASSPHRASE}\n"),
        )
    }
}

fn finish(mut command: Command, input: impl AsRef<[u8]>) -> Finished {
    let mut child = command.spawn().unwrap();
    // A process that ends before it has read everything breaks the pipe; that is its business.
    let _ = child.stdin.take().unwrap().write_all(input.as_ref());
    let output = child.wait_with_output().unwrap();
    Finished {
        status: output.status,
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Finished {
    #[track_caller]
    pub fn expect(&self, status: i32, what: &str) -> &Self {
        assert_eq!(self.status.code(), Some(status), "{what}: {self:?}");
        self
    }

    /// Ended with `status`, and the last line on standard error says why in the words `reason`.
    #[track_caller]
    pub fn expect_error(&self, status: i32, reason: &str) {
        self.expect(status, reason);
        let last = self.err.lines().last().unwrap_or_default();
        assert!(last.starts_with("hallpass: ") && last.contains(reason), "{reason}: {self:?}");
        assert!(!self.err.contains("panicked"), "{self:?}");
    }
}

impl Server {
    pub fn start(mut command: Command, input: impl AsRef<[u8]>) -> Self {
        let mut child = command.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_ref());
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let Some(address) = line.trim_end().strip_prefix("listening on http://") else {
            let mut err = String::new();
            child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
            panic!("the server did not start: {line:?} {err}");
        };
        Self { address: address.to_owned(), child, out }
    }

    /// One request on a connection of its own: status and body.
    pub fn ask(&self, request: &str, authorization: Option<&str>, body: Option<&Value>) -> (u16, Value) {
        ask(&self.address, request, authorization, body).unwrap()
    }

    pub fn login(&self) -> (u16, Value) {
        self.ask("POST /auth/login", None, Some(&serde_json::json!({"email": EMAIL, "password": PASSWORD})))
    }

    pub fn token(&self) -> String {
        let (status, body) = self.login();
        assert_eq!(status, 200, "{body}");
        body["data"]["token"].as_str().unwrap().to_owned()
    }

    pub fn get_user(&self, token: &str) -> (u16, Value) {
        self.ask("GET /user/", Some(&format!("Bearer {token}")), None)
    }

    /// Asks until the answer is `status`; how long that may take is the contract's, not the machine's.
    #[track_caller]
    pub fn get_user_until(&self, token: &str, status: u16) -> Value {
        let since = std::time::Instant::now();
        loop {
            let (got, body) = self.get_user(token);
            if got == status {
                return body;
            }
            assert!(since.elapsed().as_secs() < 60, "still {got}: {body}");
            std::thread::yield_now();
        }
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Stops it as an operator would: exit status, the rest of standard output, and the log.
    pub fn stop(mut self, signal: &str) -> Finished {
        self.signal(signal);
        let mut out = String::new();
        self.out.read_to_string(&mut out).unwrap();
        let mut err = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        Finished { status: self.child.wait().unwrap(), out, err }
    }
}

/// One request on a connection of its own: status and body, if the server lives to answer it.
pub fn ask(
    address: &str,
    request: &str,
    authorization: Option<&str>,
    body: Option<&Value>,
) -> std::io::Result<(u16, Value)> {
    let mut stream = TcpStream::connect(address)?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let authorization = authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{authorization}\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    // An answer cut short is none.
    if length.is_some_and(|length: usize| body.len() < length) {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok((status, serde_json::from_str(body).unwrap_or(Value::Null)))
}

impl Drop for Server {
    fn drop(&mut self) {
        // Only a test that failed still has it running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_server_started_by_a_script_signs_in_a_user_and_knows_who_asks() {
    let place = Workplace::new();
    place.add_user();
    let server = place.serve();
    let token = server.token();
    let (status, body) = server.get_user(&token);
    assert_eq!((status, &body["data"]["email"]), (200, &Value::from(EMAIL)));
    assert_eq!(server.get_user("no.such.token").0, 401);
    let finished = server.stop("TERM");
    finished.expect(0, "SIGTERM");
    assert_eq!(finished.out, "", "standard output has the one line alone");
}

#[test]
fn a_second_start_with_the_same_passphrase_keeps_earlier_tokens_good() {
    let place = Workplace::new();
    place.add_user();
    let first = place.serve();
    let token = first.token();
    first.stop("INT").expect(0, "Ctrl-C");
    let second = place.serve();
    assert_eq!(second.get_user(&token).0, 200);
}

#[test]
fn a_wrong_passphrase_is_told_at_once() {
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
fn two_servers_that_start_at_once_on_a_new_database_share_one_installation() {
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
fn what_the_operator_changes_beside_a_running_server_bites_there() {
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
    assert_eq!(server.get_user(&token).0, 401, "no old token revives");
    place.run(&["user", "passwd", EMAIL, "--password-stdin"], "another horse battery\n").expect(0, "passwd");
    server.get_user_until(&fresh, 401);
    place.run(&["user", "delete", EMAIL, "--yes"], "").expect(0, "delete");
    place.run(&["user", "show", EMAIL], "").expect_error(1, "there is no user ada@example.com");
}

#[test]
fn users_are_added_listed_and_shown_without_their_hash() {
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
        (&["user", "add", EMAIL, "--password-stdin"], PASSWORD, 1, "is a user already"),
        (&["user", "passwd", "nobody@example.com", "--password-stdin"], PASSWORD, 1, "there is no user"),
        (&["serve", "--key-stdin", "--bind", "nowhere"], PASSPHRASE, 2, "nowhere"),
        (&["serve", "--key-stdin", "--key-fd", "3"], PASSPHRASE, 2, "--key-fd"),
        (&["serve", "--key-file", "missing"], "", 2, "missing"),
        (&["serve", "--config", "missing.toml"], "", 2, "missing.toml"),
        (&["user", "list", "--database-url", "mysql://x"], "", 2, "sqlite://"),
    ];
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
fn an_address_that_is_taken_fails_with_the_way_out() {
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
fn the_database_is_readable_by_its_owner_alone() {
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

#[test]
fn what_is_no_database_is_refused_and_left_as_it_is() {
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
    let told: Vec<_> = lines
        .iter()
        .filter(|line| line["message"].as_str().unwrap().starts_with("request refused"))
        .collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0]["message"].as_str().unwrap().contains("token_invalid"), "{log}");
    assert!(told[0]["request_id"].as_str().is_some_and(|id| id.len() == 36), "{log}");
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
    let mut told = String::new();
    while told.matches("curl ").count() < 3 {
        assert_ne!(server.out.read_line(&mut told).unwrap(), 0, "{told}");
    }
    assert!(dir_len(&temporary) > 0, "the database is in the temporary folder");
    let script = told.lines().filter(|line| line.contains("curl ")).collect::<Vec<_>>().join("\n");
    let pasted = Command::new("sh").arg("-c").arg(&script).output().unwrap();
    let seen = String::from_utf8(pasted.stdout).unwrap();
    assert!(
        seen.contains("401 Unauthorized Access") && seen.contains("\"email\":\"demo@example.com\""),
        "{script}\n{seen}"
    );
    server.stop("INT").expect(0, "Ctrl-C");
    assert_eq!(dir_len(&temporary), 0);
}

fn dir_len(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

/// Runs `hallpass` in a shell, as `$0`, without input.
fn in_a_shell(place: &Workplace, script: &str) -> Finished {
    finish(place.shell(script), "")
}

#[test]
fn what_cannot_be_said_is_a_failure_and_no_panic() {
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
    disabled.expect_error(1, &format!("it says: {EMAIL} is disabled"));
}

#[test]
fn a_command_whose_reader_has_gone_ends_without_a_word_as_others_do() {
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
