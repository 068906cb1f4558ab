//! Tests over a real socket: what happens to a client's connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use hallpass::server::bind;
use tokio::sync::oneshot;

use crate::app::{PASSWORD, TestApp};

/// One connection, kept open from request to request.
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
        Self(BufReader::new(stream))
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// The next answer: head and body.
    pub fn answer(&mut self, has_body: bool) -> (String, String) {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut head).unwrap(), 0, "the connection ended after {head:?}");
        }
        let head = head.to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; if has_body { length } else { 0 }];
        self.0.read_exact(&mut body).unwrap();
        (head, String::from_utf8(body).unwrap())
    }
}

/// Serves `app` on a free port while `client` runs in another thread.
pub async fn serve<T: Send + 'static>(
    app: &TestApp,
    client: impl FnOnce(SocketAddr) -> T + Send + 'static,
) -> T {
    let running = bind(&app.server).unwrap();
    let address = running.address;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = actix_rt::spawn(running.until(app.server.clone(), async move {
        let _ = stopped.await;
    }));
    let result = actix_rt::task::spawn_blocking(move || client(address)).await.unwrap();
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    result
}

pub async fn on_a_free_port() -> TestApp {
    TestApp::with(|settings| {
        settings.server.bind = "127.0.0.1:0".parse().unwrap();
        settings.server.workers = 1;
    })
    .await
}

#[actix_rt::test]
async fn a_connection_stays_usable_after_a_refused_post() {
    let app = on_a_free_port().await;
    serve(&app, |address| {
        let mut connection = Connection::open(address);
        let body = "x".repeat(60_000);
        for round in 0..3 {
            connection.send(format!("POST /user/ HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
            let (head, text) = connection.answer(true);
            assert!(head.starts_with("http/1.1 401"), "round {round}: {head}");
            assert!(!head.contains("connection: close"), "round {round}: {head}");
            assert!(text.contains("token_missing"), "round {round}: {text}");
        }
        // Chunked, and refused for its media type after the guard of no scope.
        connection.send("POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        assert!(connection.answer(true).0.starts_with("http/1.1 415"));
        connection.send("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(connection.answer(true).0.starts_with("http/1.1 404"));
    })
    .await;
}

#[actix_rt::test]
async fn a_body_that_is_too_long_is_refused_without_being_read_to_its_end() {
    let app = on_a_free_port().await;
    serve(&app, |address| {
        let mut connection = Connection::open(address);
        // The body that is announced never comes.
        connection.send("POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 104857600\r\n\r\n{");
        let (head, text) = connection.answer(true);
        assert!(head.starts_with("http/1.1 413"), "{head}");
        assert!(text.contains("body_too_large"), "{text}");
    })
    .await;
}

#[actix_rt::test]
async fn a_head_is_answered_without_a_body_and_with_its_length() {
    let app = on_a_free_port().await;
    let token = app.token().await;
    serve(&app, move |address| {
        let mut connection = Connection::open(address);
        for _ in 0..2 {
            connection
                .send(format!("HEAD /user/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"));
            let (head, _) = connection.answer(false);
            assert!(head.starts_with("http/1.1 200") && head.contains("content-length: "), "{head}");
        }
    })
    .await;
}

#[actix_rt::test]
async fn a_request_in_flight_is_finished_when_the_server_stops() {
    let app = on_a_free_port().await;
    let running = bind(&app.server).unwrap();
    let address = running.address;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = actix_rt::spawn(running.until(app.server.clone(), async move {
        let _ = stopped.await;
    }));
    let body = format!(r#"{{"email":"ada@example.com","password":"{PASSWORD}"}}"#);
    let answer = actix_rt::task::spawn_blocking(move || {
        let mut connection = Connection::open(address);
        connection.send(format!(
            "POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ));
        // The server has the request in hand once it asks for the rest.
        assert!(connection.answer(false).0.starts_with("http/1.1 100"));
        stop.send(()).unwrap();
        connection.send(body);
        connection.answer(true).0
    })
    .await
    .unwrap();
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    server.await.unwrap().unwrap();
}
