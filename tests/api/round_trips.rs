//! How often a request waits for PostgreSQL: counted by a proxy that reads the protocol.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::app::{EMAIL, PASSWORD, Reply, TestApp};
use crate::test_database::{TestDatabase, postgres_answers};

/// A proxy in front of PostgreSQL.
struct Proxy {
    port: u16,
    round_trips: Arc<AtomicUsize>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let round_trips = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&round_trips);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (host, port) = TestDatabase::postgres_address();
                let server = TcpStream::connect((host.as_str(), port)).unwrap();
                let (mut answers, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut answers, &mut to_client);
                    let _ = to_client.shutdown(Shutdown::Both);
                });
                let count = Arc::clone(&count);
                std::thread::spawn(move || {
                    let _ = pass(&client, &server, &count);
                    let _ = server.shutdown(Shutdown::Both);
                });
            }
        });
        Self { port, round_trips }
    }

    /// Returns the round trips since the last call.
    fn take(&self) -> usize {
        self.round_trips.swap(0, Ordering::SeqCst)
    }
}

/// Passes the client's messages on and counts those that a request waits for: each execution of a statement and each simple
/// query. Not counted are the preparation of a statement, once for each connection; the test of a connection that is given
/// back to the pool; and the notification of other servers.
fn pass(mut client: &TcpStream, mut server: &TcpStream, count: &AtomicUsize) -> std::io::Result<()> {
    // The first message has no type.
    let mut kind = None;
    loop {
        let mut length = [0; 4];
        if let Some(kind) = &mut kind {
            client.read_exact(std::slice::from_mut(kind))?;
        }
        client.read_exact(&mut length)?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
        client.read_exact(&mut body)?;
        match kind {
            Some(b'E') => count.fetch_add(1, Ordering::SeqCst),
            Some(b'Q') if !body.starts_with(b"notify ") => count.fetch_add(1, Ordering::SeqCst),
            _ => 0,
        };
        let message: Vec<u8> = kind.into_iter().chain(length).chain(body).collect();
        server.write_all(&message)?;
        kind = Some(0);
    }
}

#[actix_rt::test]
async fn a_refresh_asks_postgresql_twice_and_a_sign_in_four_times() {
    if !postgres_answers() {
        return;
    }
    let proxy = Proxy::start();
    let database = TestDatabase::postgres().through(proxy.port);
    let app = TestApp::on(database, |_| {}).await;
    let refresh = async |tokens: &Reply| {
        let token = &tokens.json()["data"]["refresh_token"];
        app.post("/auth/refresh").json(json!({"refresh_token": token})).send().await
    };
    let mut asked = vec![];
    for _ in 0..4 {
        proxy.take();
        let wrong = app.login(EMAIL, "wrong horse battery").await;
        asked.push(("a failed sign-in", 3, proxy.take()));
        wrong.expect_refused("credentials_invalid", "a wrong password");
        let signed_in = app.login(EMAIL, PASSWORD).await;
        asked.push(("a sign-in", 4, proxy.take()));
        signed_in.expect_data("a sign-in");
        let refreshed = refresh(&signed_in).await;
        asked.push(("a refresh", 2, proxy.take()));
        refreshed.expect_data("a refresh");
        let token = refreshed.json()["data"]["token"].as_str().unwrap().to_owned();
        app.get_user(&token).await.expect_data("the user is read");
        proxy.take();
        app.get_user(&token).await.expect_data("a known token");
        asked.push(("a known token", 0, proxy.take()));
    }
    let all = format!("{asked:?}");
    for (what, most, round_trips) in asked {
        assert!(round_trips <= most && (round_trips > 0 || most == 0), "{what} took {round_trips}: {all}");
    }
}
