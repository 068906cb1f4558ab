//! Shared by the benchmarks: the binary as a server, and a client on one connection.

#![allow(dead_code, reason = "each benchmark is a separate crate and uses a part of this")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures in real time")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::{App, Error, HttpServer};

pub const PASSWORD: &str = "correct horse battery";
const PASSPHRASE: &str = "a river of seventeen blue lanterns";

/// The database of the benchmarks on PostgreSQL, unless `HALLPASS_TEST_POSTGRES_URL` names another.
pub const LOCAL_POSTGRES: &str = "postgres://postgres@127.0.0.1:5432/postgres";

/// Waits for a command. Returns what it printed, its time, and the most memory that it had, in KiB (proc(5)).
pub fn watch(mut child: Child) -> (String, Duration, u32) {
    let (began, status) = (Instant::now(), format!("/proc/{}/status", child.id()));
    let mut peak_kib = 0;
    while child.try_wait().unwrap().is_none() {
        // The kernel keeps the highest; the last reading before the end has it.
        peak_kib = high_water(&status).unwrap_or(peak_kib);
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = began.elapsed();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    (String::from_utf8(output.stdout).unwrap(), took, peak_kib)
}

fn high_water(status: &str) -> Option<u32> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Drops a schema of a benchmark on PostgreSQL, if it is there.
pub fn drop_schema(url: &str, schema: &str) {
    let dropped = Command::new("psql")
        .args([url, "-q", "-c", "set client_min_messages = error", "-c"])
        .arg(format!("drop schema if exists {schema} cascade"))
        .output();
    assert!(dropped.is_ok_and(|output| output.status.success()), "psql cannot drop the schema {schema}");
}

/// The CPU time of a process, in user and system mode (proc(5)); the kernel counts hundredths of a second.
pub fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    actix_rt::System::new().block_on(future)
}

/// Serves an app on a free port with one worker, and prints the address as the binary does.
pub fn serve_app<T, B>(app: impl Fn() -> App<T> + Clone + Send + 'static)
where
    T: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<B>,
            Error = Error,
            InitError = (),
        > + 'static,
    B: MessageBody + 'static,
{
    block_on(async move {
        let server = HttpServer::new(app).workers(1).tcp_nodelay(true).bind("127.0.0.1:0").unwrap();
        println!("listening on http://{}", server.addrs()[0]);
        server.run().await
    })
    .unwrap();
}

/// One connection, the body of its last answer, and the seconds of its `Retry-After`.
pub struct Connection(BufReader<TcpStream>, pub String, pub Option<u64>);

impl Connection {
    pub fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream), String::new(), None)
    }

    pub fn get_user(&mut self, token: &str) -> u16 {
        self.send(&format!("GET /user/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"))
    }

    pub fn get(&mut self, path: &str, token: &str) -> u16 {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"))
    }

    pub fn login(&mut self, email: &str, password: &str) -> u16 {
        let body = format!(r#"{{"email":"{email}","password":"{password}"}}"#);
        self.send(&format!(
            "POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    pub fn refresh(&mut self, token: &str) -> u16 {
        let body = format!(r#"{{"refresh_token":"{token}"}}"#);
        self.send(&format!(
            "POST /auth/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    /// Posts JSON as if from the address `from`, which a trusted proxy would name.
    pub fn post(&mut self, path: &str, from: &str, body: &str) -> u16 {
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {from}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    /// Sends a request and reads the answer into `self.1`; the status.
    fn send(&mut self, request: &str) -> u16 {
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut status, mut length) = (0, 0);
        self.2 = None;
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the server hung up");
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = rest[..3].parse().unwrap();
            } else if let Some((name, value)) = line.split_once(": ") {
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.parse().unwrap(),
                    "retry-after" => self.2 = value.parse().ok(),
                    _ => {}
                }
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        self.1 = String::from_utf8(body).unwrap();
        status
    }
}

/// A server as a process.
pub struct Server {
    child: Child,
    pub address: String,
}

/// The binary in `folder`, without throttling.
pub fn hallpass(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
    command.args(arguments).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.env("HALLPASS_THROTTLE__ON", "false").env("RUST_LOG", "error");
    command
}

/// Imports users: each an address and a hash, or none.
pub fn import(folder: &Path, users: impl IntoIterator<Item = (String, String)>) {
    let mut file = String::from("email,password_hash\n");
    for (email, hash) in users {
        file += &format!("{email},{hash}\n");
    }
    std::fs::write(folder.join("users.csv"), file).unwrap();
    let output = hallpass(folder, &["user", "import", "users.csv"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

impl Server {
    pub fn hallpass(folder: &Path) -> Self {
        Self::start(hallpass(folder, &["serve", "--bind", "127.0.0.1:0", "--key-stdin"]), PASSPHRASE)
    }

    /// A server that asks for a passphrase.
    pub fn with_passphrase(command: Command) -> Self {
        Self::start(command, PASSPHRASE)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn start(mut command: Command, input: &str) -> Self {
        let mut child = command.spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "{input}").unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let (_, address) = line.trim_end().split_once("://").unwrap();
        let address = address.to_owned();
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
