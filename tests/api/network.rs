//! The socket: TLS and its reload, limits of connections and times, and what hostile clients send.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hallpass::server::config::Settings;
use hallpass::server::{Reload, bind};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::sync::oneshot;

use crate::app::{EMAIL, PASSWORD, TestApp};

/// A server on free ports.
struct Served {
    address: SocketAddr,
    redirect: Option<SocketAddr>,
    reload: Reload,
}

/// Runs `client` against an app with these settings.
async fn serve(change: impl FnOnce(&mut Settings), client: impl FnOnce(&Served) + Send + 'static) {
    let app = TestApp::with(|settings| {
        settings.server.bind = "127.0.0.1:0".parse().unwrap();
        settings.server.workers = 1;
        change(settings);
    })
    .await;
    let running = bind(&app.server).unwrap();
    let served =
        Served { address: running.address, redirect: running.redirect_address, reload: running.reload() };
    let (stop, stopped) = oneshot::channel::<()>();
    let server = actix_rt::spawn(running.until(app.server.clone(), async move {
        let _ = stopped.await;
    }));
    actix_rt::task::spawn_blocking(move || client(&served)).await.unwrap();
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// Sends bytes and reads until the server closes the connection. A reset counts as that.
fn exchange(mut stream: impl Read + Write, bytes: impl AsRef<[u8]>) -> String {
    let mut answer = Vec::new();
    let done = stream.write_all(bytes.as_ref()).and_then(|()| stream.read_to_end(&mut answer).map(|_| ()));
    if let Err(error) = done {
        let is_closed = matches!(
            error.kind(),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof
        );
        assert!(is_closed, "{error}");
    }
    String::from_utf8_lossy(&answer).into_owned()
}

const LIVE: &str = "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// A certificate for `localhost` and its key, in files.
struct Pair {
    folder: tempfile::TempDir,
    cert: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let pair = Self { folder, cert, key };
        pair.renew();
        pair
    }

    /// Writes another pair into the files, and returns its certificate.
    fn renew(&self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&self.cert, made.cert.pem()).unwrap();
        std::fs::write(&self.key, made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    }

    fn certificate(&self) -> CertificateDer<'static> {
        use rustls::pki_types::pem::PemObject;

        CertificateDer::from_pem_file(&self.cert).unwrap()
    }

    fn set(&self, settings: &mut Settings) {
        settings.server.tls_cert = Some(self.cert.clone());
        settings.server.tls_key = Some(self.key.clone());
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

type Secure = StreamOwned<ClientConnection, TcpStream>;

/// Opens a connection to a server that must have this certificate. The handshake follows with the first bytes.
fn connect_securely(address: SocketAddr, certificate: &CertificateDer<'static>) -> Secure {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), connect(address))
}

#[actix_rt::test]
async fn a_server_with_a_certificate_serves_tls_alone_and_tells_browsers_to_stay_with_it() {
    let pair = Pair::new();
    let certificate = pair.certificate();
    serve(
        |settings| pair.set(settings),
        move |served| {
            let mut stream = connect_securely(served.address, &certificate);
            stream.write_all(b"GET /.well-known/oauth-authorization-server HTTP/1.1\r\nHost: id.example\r\n\r\n").unwrap();
            assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
            drop(stream);
            let asked = "GET /.well-known/oauth-authorization-server HTTP/1.1\r\nHost: id.example\r\nConnection: close\r\n\r\n";
            let answer = exchange(connect_securely(served.address, &certificate), asked);
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(answer.contains("strict-transport-security: max-age=31536000\r\n"), "{answer}");
            assert!(answer.contains(r#""jwks_uri":"https://id.example/.well-known/jwks.json""#), "{answer}");
            let refused = exchange(connect_securely(served.address, &certificate), LIVE.replace("/health/live", "/user/"));
            assert!(refused.starts_with("HTTP/1.1 401") && refused.contains("strict-transport-security"), "{refused}");
            let plain = exchange(connect(served.address), LIVE);
            assert!(!plain.contains("HTTP/1.1"), "{plain}");
        },
    )
    .await;
}

#[actix_rt::test]
async fn without_a_certificate_no_answer_speaks_of_https() {
    serve(
        |_| {},
        |served| {
            let answer = exchange(connect(served.address), LIVE);
            assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("strict-transport"), "{answer}");
        },
    )
    .await;
}

#[actix_rt::test]
async fn a_new_certificate_is_for_new_connections_and_a_bad_one_for_none() {
    let pair = Arc::new(Pair::new());
    let files = Arc::clone(&pair);
    serve(
        |settings| files.set(settings),
        move |served| {
            let first = pair.certificate();
            let mut open = connect_securely(served.address, &first);
            let keep = LIVE.replace("Connection: close\r\n", "");
            let ask_again = |open: &mut Secure| {
                open.write_all(keep.as_bytes()).unwrap();
                let mut head = [0; 12];
                open.read_exact(&mut head).unwrap();
                assert_eq!(&head, b"HTTP/1.1 200");
            };
            ask_again(&mut open);
            assert!(!served.reload.certificate(), "nothing has changed");

            let second = pair.renew();
            assert!(served.reload.certificate());
            assert!(exchange(connect_securely(served.address, &second), LIVE).starts_with("HTTP/1.1 200"));
            open.write_all(LIVE.as_bytes()).unwrap();
            let mut rest = Vec::new();
            let _ = open.read_to_end(&mut rest);
            let rest = String::from_utf8_lossy(&rest);
            assert!(rest.contains("HTTP/1.1 200"), "the connection that was open: {rest}");

            for spoil in [
                |pair: &Pair| std::fs::write(&pair.cert, "no certificate").unwrap(),
                |pair: &Pair| std::fs::write(&pair.key, "no key").unwrap(),
                |pair: &Pair| std::fs::remove_file(&pair.key).unwrap(),
                |pair: &Pair| {
                    std::fs::copy(Pair::new().path().join("key.pem"), &pair.key).map(|_| ()).unwrap();
                },
            ] {
                spoil(&pair);
                assert!(served.reload.certificate(), "it is told");
                assert!(!served.reload.certificate(), "once");
                assert!(
                    exchange(connect_securely(served.address, &second), LIVE).starts_with("HTTP/1.1 200")
                );
            }
            let third = pair.renew();
            assert!(served.reload.certificate());
            assert!(exchange(connect_securely(served.address, &third), LIVE).starts_with("HTTP/1.1 200"));
        },
    )
    .await;
}

#[actix_rt::test]
async fn a_certificate_without_its_key_stops_the_start() {
    let pair = Pair::new();
    let other = Pair::new();
    type Case<'a> = (&'a str, Option<&'a Path>, Option<&'a Path>, &'a str);
    let missing = pair.path().join("missing");
    let table: &[Case<'_>] = &[
        ("no key", Some(&pair.cert), None, "server.tls_cert is set without server.tls_key"),
        ("no certificate", None, Some(&pair.key), "server.tls_key is set without server.tls_cert"),
        ("no file", Some(&missing), Some(&pair.key), "cannot be read"),
        ("the files swapped", Some(&pair.key), Some(&pair.cert), "has no certificate in PEM"),
        ("another's key", Some(&pair.cert), Some(&other.key), "cannot be used together"),
    ];
    for (name, cert, key, expected) in table {
        let app = TestApp::with(|settings| {
            settings.server.bind = "127.0.0.1:0".parse().unwrap();
            settings.server.tls_cert = cert.map(Path::to_owned);
            settings.server.tls_key = key.map(Path::to_owned);
        })
        .await;
        let error = bind(&app.server).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[actix_rt::test]
async fn plain_http_is_sent_to_https_except_what_carries_secrets() {
    let pair = Pair::new();
    serve(
        |settings| {
            pair.set(settings);
            settings.server.http_redirect_bind = Some("127.0.0.1:0".parse().unwrap());
            settings.server.public_url = Some("https://id.example".into());
        },
        |served| {
            let ask = |request: &str| {
                let rest = " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
                exchange(connect(served.redirect.unwrap()), format!("{request}{rest}"))
            };
            let sent = ask("GET /docs?x=1");
            assert!(sent.starts_with("HTTP/1.1 308"), "{sent}");
            assert!(sent.contains("location: https://id.example/docs?x=1\r\n"), "{sent}");
            for request in ["POST /auth/login", "GET /user/", "GET /admin/users", "DELETE /"] {
                let refused = ask(request);
                assert!(
                    refused.starts_with("HTTP/1.1 403") && refused.contains("https_required"),
                    "{refused}"
                );
                assert!(refused.contains("x-request-id: ") && !refused.contains("location"), "{refused}");
            }
        },
    )
    .await;
}

/// Asks until the server serves a new connection: a place is free once the server has noticed an end.
fn until_served(address: SocketAddr) {
    while !exchange(connect(address), LIVE).starts_with("HTTP/1.1 200") {
        std::thread::yield_now();
    }
}

#[actix_rt::test]
async fn an_address_with_all_its_connections_gets_no_more_until_one_ends() {
    serve(
        |settings| settings.server.connections_per_address = 3,
        |served| {
            let held: Vec<_> = (0..3)
                .map(|_| {
                    let mut stream = connect(served.address);
                    stream.write_all(LIVE.replace("close", "keep-alive").as_bytes()).unwrap();
                    assert_ne!(stream.read(&mut [0; 1024]).unwrap(), 0);
                    stream
                })
                .collect();
            assert_eq!(exchange(connect(served.address), LIVE), "", "closed before a byte was read");
            drop(held);
            until_served(served.address);
        },
    )
    .await;
}

#[actix_rt::test]
async fn clients_that_are_too_slow_are_cut_off() {
    let cut_off =
        |change: fn(&mut Settings), first: &'static str, then: &'static str, expected: &'static str| {
            serve(change, move |served| {
                let mut stream = connect(served.address);
                stream.write_all(first.as_bytes()).unwrap();
                let answer = exchange(stream, then);
                let statuses: Vec<_> = answer.matches("HTTP/1.1 ").collect();
                assert!(answer.contains(expected), "{first:?}: {answer}");
                assert!(statuses.len() <= 2, "{answer}");
                until_served(served.address);
            })
        };
    const SECOND: Duration = Duration::from_secs(1);
    // The head of the first request.
    cut_off(|settings| settings.server.head_time = SECOND, "GET / HT", "TP", "HTTP/1.1 408").await;
    // The head of a later one.
    let served_first = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
    cut_off(|settings| settings.server.request_time = SECOND, served_first, "GET / HT", "HTTP/1.1 200").await;
    // The same, begun together with the first.
    let both = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\nGET / HT";
    let short = |settings: &mut Settings| {
        (settings.server.idle_time, settings.server.request_time) = (SECOND, SECOND);
    };
    cut_off(short, both, "", "HTTP/1.1 200").await;
    // A body.
    let head = "POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\nConnection: close\r\n\r\n";
    cut_off(|settings| settings.server.body_time = SECOND, head, "{", "it did not arrive within 1 s").await;
    // A connection without a request.
    cut_off(|settings| settings.server.idle_time = SECOND, served_first, "", "HTTP/1.1 200").await;
}

#[actix_rt::test]
async fn a_client_that_leaves_its_answers_unread_is_cut_off() {
    serve(
        |settings| settings.server.idle_time = Duration::from_secs(1),
        |served| {
            let mut stream = connect(served.address);
            stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
            // Until the server takes no more requests, since it cannot send the answers.
            let asked = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
            let error = loop {
                if let Err(error) = stream.write_all(asked.as_bytes()) {
                    break error;
                }
            };
            assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
            until_served(served.address);
        },
    )
    .await;
}

#[actix_rt::test]
async fn a_head_over_the_limits_is_refused_as_every_failure_is() {
    serve(
        |settings| (settings.server.max_headers, settings.server.max_head_bytes) = (20, 4_096),
        |served| {
            let ask = |headers: &str| {
                exchange(
                    connect(served.address),
                    format!("GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"),
                )
            };
            assert!(ask(&"X-A: b\r\n".repeat(18)).starts_with("HTTP/1.1 200"));
            assert!(ask(&format!("X-A: {}\r\n", "b".repeat(4_000))).starts_with("HTTP/1.1 200"));
            for (name, headers) in [
                ("too many", "X-A: b\r\n".repeat(19)),
                ("too long", format!("X-A: {}\r\n", "b".repeat(4_100))),
            ] {
                let answer = ask(&headers);
                assert!(answer.starts_with("HTTP/1.1 431"), "{name}: {answer}");
                assert!(
                    answer.contains("x-request-id: ") && answer.contains(r#""code":431"#),
                    "{name}: {answer}"
                );
            }
            // What the framework itself cannot parse, it answers without a body.
            let answer = ask(&format!("X-A: {}\r\n", "b".repeat(200_000)));
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
        },
    )
    .await;
}

#[actix_rt::test]
async fn a_request_that_two_servers_could_read_differently_is_refused() {
    serve(
        |_| {},
        |served| {
            let smuggled = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
            for (name, headers, body) in [
                ("both lengths", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
                ("two lengths", "Content-Length: 0\r\nContent-Length: 44\r\n", ""),
                ("a signed length", "Content-Length: +0\r\n", ""),
                ("a list of lengths", "Content-Length: 0, 44\r\n", ""),
                ("an unknown coding", "Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
                ("chunked before another coding", "Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
                ("a space before the colon", "Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
                ("a folded header", "X-A: b\r\n c\r\n", ""),
                ("a chunk with a sign", "Transfer-Encoding: chunked\r\n", "+0\r\n\r\n"),
                ("a chunk without a number", "Transfer-Encoding: chunked\r\n", "zz\r\n\r\n"),
                ("a chunk beyond all numbers", "Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n\r\n"),
                ("a bare CR", "X-A: b\rContent-Length: 44\r\n", ""),
                ("a null byte", "X-A: \0\r\n", ""),
                ("two hosts", "Host: y\r\n", ""),
            ] {
                let head = "POST /auth/logout HTTP/1.1\r\nHost: x\r\n";
                let answer =
                    exchange(connect(served.address), format!("{head}{headers}\r\n{body}{smuggled}"));
                // Where bytes of the second request are left unread, the system may drop the answer to the first.
                assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{name}: {answer}");
                assert!(!answer.contains("HTTP/1.1 200"), "{name}: the second request was served: {answer}");
            }
        },
    )
    .await;
}

#[actix_rt::test]
async fn no_bytes_crash_the_server_or_make_it_answer_with_a_fault_of_its_own() {
    serve(
        |settings| settings.server.head_time = Duration::from_secs(1),
        |served| {
            // A generator of its own, so that a failure can be repeated.
            let mut state = 0x9e37_79b9_7f4a_7c15_u64;
            let mut random = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state
            };
            let starts = ["", "GET ", "POST /auth/login HTTP/1.1\r\n", "POST /auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"];
            for round in 0..400 {
                let start = starts[round % starts.len()];
                let length = random() % 600;
                let mut bytes = start.as_bytes().to_vec();
                bytes.extend((0..length).map(|_| random() as u8));
                bytes.extend(b"\r\n\r\n\r\n\r\n");
                let mut stream = connect(served.address);
                // The server may have closed it in the middle.
                let _ = stream.write_all(&bytes);
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let answer = exchange(stream, "");
                assert!(!answer.contains("HTTP/1.1 5"), "{bytes:?}: {answer}");
            }
            let body = format!(r#"{{"email":"{EMAIL}","password":"{PASSWORD}"}}"#);
            let login = format!(
                "POST /auth/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            assert!(exchange(connect(served.address), login).starts_with("HTTP/1.1 200"));
        },
    )
    .await;
}
