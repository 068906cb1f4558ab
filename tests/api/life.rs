//! The life of a server: the service manager, SIGHUP, and the takeover by another process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use serde_json::json;

use crate::app::{EMAIL, PASSPHRASE, PASSWORD};
use crate::process::{Server, Workplace};

/// Reads a child's log until a line contains this.
fn read_until(log: &mut impl BufRead, expected: &str) -> String {
    let mut line = String::new();
    loop {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "the log ended before {expected:?}");
        if line.contains(expected) {
            return line;
        }
    }
}

fn log_of(child: &mut Child) -> BufReader<std::process::ChildStderr> {
    BufReader::new(child.stderr.take().unwrap())
}

#[test]
fn sighup_says_what_was_read_again_and_what_was_not() {
    let place = Workplace::new();
    place.add_user();
    std::fs::write(place.path("settings.toml"), "[token]\nlifetime_s = 600\n").unwrap();
    let serve = ["serve", "--bind", "127.0.0.1:0", "--key-stdin", "--config", "settings.toml"];
    let mut server = Server::start(place.command(serve), format!("{PASSPHRASE}\n"));
    let mut log = log_of(&mut server.child);
    server.signal("HUP");
    read_until(&mut log, "SIGHUP: the certificate has not changed; no setting has changed");
    std::fs::write(place.path("settings.toml"), "[token]\nlifetime_s = 700\n[server]\nworkers = 3\n")
        .unwrap();
    server.signal("HUP");
    let line = read_until(&mut log, "SIGHUP: ");
    assert!(line.contains("take effect at the next start"), "{line}");
    assert!(line.trim_end().ends_with("server.workers, token.lifetime_s"), "{line}");
    std::fs::write(place.path("settings.toml"), "[token]\nlifetime = 1\n").unwrap();
    server.signal("HUP");
    read_until(&mut log, "the settings cannot be read: ");
    assert_eq!(server.login().0, 200, "it still serves");
}

#[test]
fn the_service_manager_is_told_of_start_reload_life_and_stop() {
    let place = Workplace::new();
    let manager = UnixDatagram::bind(place.path("notify")).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let next = |expected: &str| {
        let mut seen = Vec::new();
        loop {
            let mut bytes = [0; 1024];
            let length =
                manager.recv(&mut bytes).unwrap_or_else(|error| panic!("{expected}: {error}: {seen:?}"));
            let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
            if text.lines().any(|line| line == expected) {
                return text;
            }
            seen.push(text);
        }
    };
    let mut command = place.command(["serve", "--bind", "127.0.0.1:0", "--key-stdin"]);
    command.env("NOTIFY_SOCKET", place.path("notify")).env("WATCHDOG_USEC", "50000");
    let server = Server::start(command, format!("{PASSPHRASE}\n"));
    let ready = next("READY=1");
    assert!(ready.contains(&format!("MAINPID={}", server.child.id())), "{ready}");
    next("WATCHDOG=1");
    next("WATCHDOG=1");
    server.signal("HUP");
    assert!(next("RELOADING=1").contains("MONOTONIC_USEC="));
    next("READY=1");
    server.signal("TERM");
    next("STOPPING=1");
}

#[test]
fn a_socket_that_the_service_manager_has_opened_is_served() {
    let place = Workplace::new().variable("HALLPASS_KEY", PASSPHRASE);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // A client that comes before the server waits for it.
    let mut early = TcpStream::connect(address).unwrap();
    early.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut command =
        place.shell("exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http exec \"$0\" serve");
    let mut child = command.stdin(Stdio::from(OwnedFd::from(listener))).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, format!("listening on http://{address}\n"));
    let mut answer = String::new();
    early.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A server that can be taken over.
fn with_control_socket() -> Workplace {
    let place = Workplace::new()
        .variable("HALLPASS_SERVER__CONTROL_SOCKET", "control")
        // Otherwise many sign-ins end the session of the first.
        .variable("HALLPASS_SESSION__PER_USER", "10000");
    place.add_user();
    place
}

fn take_over(place: &Workplace) -> Server {
    // No address and no passphrase: both come from the other process.
    Server::start(place.command(["serve", "--bind", "127.0.0.1:0", "--takeover"]), "")
}

/// A client that keeps its connection for as long as the server does.
struct Client<'a> {
    address: &'a str,
    stream: Option<BufReader<TcpStream>>,
}

impl Client<'_> {
    /// Sends a request and returns the status and whether the connection stays. A connection that the server has said it
    /// closes is replaced; one that breaks is a failure.
    fn ask(&mut self, request: &str, authorization: &str, body: &str) -> u16 {
        let stream =
            self.stream.get_or_insert_with(|| BufReader::new(TcpStream::connect(self.address).unwrap()));
        write!(
            stream.get_mut(),
            "{request} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{authorization}\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(stream.read_line(&mut head).unwrap(), 0, "the connection broke after {head:?}");
        }
        let head = head.to_lowercase();
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        if head.contains("connection: close") {
            self.stream = None;
        }
        head.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

#[test]
fn takeovers_under_load_lose_no_request_and_ask_for_nothing() {
    let place = with_control_socket();
    let mut server = place.serve();
    let (address, token) = (server.address.clone(), server.token());
    let (is_done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let keep_asking = |request: &'static str, authorization: String, body: String| {
            let (address, is_done, asked) = (&address, &is_done, &asked);
            scope.spawn(move || {
                let mut client = Client { address, stream: None };
                while !is_done.load(Ordering::Relaxed) {
                    assert_eq!(client.ask(request, &authorization, &body), 200, "{request}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let authorization = format!("Authorization: Bearer {token}\r\n");
        let clients = [
            keep_asking("GET /user/", authorization.clone(), String::new()),
            keep_asking("GET /user/", authorization, String::new()),
            keep_asking(
                "POST /auth/login",
                String::new(),
                json!({"email": EMAIL, "password": PASSWORD}).to_string(),
            ),
        ];
        for round in 0..3 {
            let before = asked.load(Ordering::Relaxed);
            let next = take_over(&place);
            assert_eq!(next.address, address, "round {round}");
            let old = std::mem::replace(&mut server, next);
            // It ends by itself, once its connections have ended.
            let mut old = std::mem::ManuallyDrop::new(old);
            let status = old.child.wait().unwrap();
            assert!(status.success(), "round {round}: {status}");
            while asked.load(Ordering::Relaxed) < before + 20
                && !clients.iter().any(ScopedJoinHandle::is_finished)
            {
                std::thread::yield_now();
            }
        }
        is_done.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().unwrap();
        }
    });
    assert_eq!(server.get_user(&token).0, 200);
}

#[test]
fn a_takeover_that_fails_leaves_the_running_server_as_it_is() {
    let place = with_control_socket();
    let server = place.serve();
    let other = ["serve", "--takeover", "--database-url", "sqlite://other.db"];
    place.run(&other, "").expect_error(2, "has another installation");
    assert_eq!(server.login().0, 200);
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(place.path("control")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert!(server.stop("TERM").status.success());
    place.run(&["serve", "--takeover"], "").expect_error(1, "start without --takeover");
    let without = Workplace::new();
    without.run(&["serve", "--takeover"], "").expect_error(2, "--takeover needs server.control_socket");
}
