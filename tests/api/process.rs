//! Runs the binary as a process in its own folder, once or as a listening server.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::app::{EMAIL, PASSPHRASE, PASSWORD};
use crate::test_database::TestDatabase;

/// A folder to run the binary in, with only the test's settings.
pub struct Workplace {
    pub folder: TempDir,
    variables: Vec<(String, String)>,
}

/// The outcome of a process.
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
    pub out: BufReader<ChildStdout>,
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

    /// Returns a folder whose binary uses another database.
    pub fn on(self, database: &TestDatabase) -> Self {
        let url = database.settings.url.to_string();
        self.variable("HALLPASS_DATABASE__URL", &url)
            .variable("HALLPASS_DATABASE__SCHEMA", &database.settings.schema)
    }

    /// Returns the settings of its database, to open it in this process.
    pub fn database(&self) -> hallpass::server::config::Database {
        let mut settings = hallpass::server::config::Settings::default().database;
        settings.url = hallpass::server::config::DatabaseUrl::Sqlite(self.path("hallpass.db"));
        settings
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the binary with these arguments, in this folder, with a clean environment.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(self.variables.iter().cloned());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Returns a shell with the same folder and environment. `script` runs the binary as `$0`.
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

pub fn finish(mut command: Command, input: impl AsRef<[u8]>) -> Finished {
    let mut child = command.spawn().unwrap();
    // A process may end before it has read everything, which breaks the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_ref());
    output_of(child)
}

/// Waits for the end of a process. Kills it after a minute.
pub fn finish_or_kill(mut command: Command) -> Finished {
    let mut child = command.spawn().unwrap();
    let since = std::time::Instant::now();
    while child.try_wait().unwrap().is_none() {
        if since.elapsed().as_secs() >= 60 {
            child.kill().unwrap();
        }
        std::thread::yield_now();
    }
    output_of(child)
}

fn output_of(child: Child) -> Finished {
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

    /// Expects the exit status, and an error whose last line on standard error contains `reason`.
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

    /// Sends a request on a new connection, and returns status and body.
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

    /// Repeats the request until the answer has this status.
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

    /// Stops it with a signal, and returns the exit status, the rest of standard output, and the log.
    pub fn stop(mut self, signal: &str) -> Finished {
        self.signal(signal);
        let mut out = String::new();
        self.out.read_to_string(&mut out).unwrap();
        let mut err = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        Finished { status: self.child.wait().unwrap(), out, err }
    }
}

/// Sends a request on a new connection, and returns status and body if the server answers.
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
    // The server died in the middle of the answer.
    if length.is_some_and(|length: usize| body.len() < length) {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok((status, serde_json::from_str(body).unwrap_or(Value::Null)))
}

impl Drop for Server {
    fn drop(&mut self) {
        // It still runs if the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
