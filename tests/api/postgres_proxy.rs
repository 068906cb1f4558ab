//! A proxy in front of PostgreSQL that reads the protocol: it counts what a client waits for, and loses what it is told
//! to.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::test_database::TestDatabase;

/// What is lost with the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The statement: the database never gets it.
    Statement,
    /// The answer: the database has run the statement.
    Answer,
}

#[derive(Default)]
struct Plan {
    /// The round trips since the last call of `take`.
    round_trips: AtomicUsize,
    /// The round trip at which a connection is lost.
    loss: Mutex<Option<(usize, Loss)>>,
}

pub struct Proxy {
    pub port: u16,
    plan: Arc<Plan>,
}

impl Proxy {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let plan = Arc::new(Plan::default());
        let shared = Arc::clone(&plan);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (host, port) = TestDatabase::postgres_address();
                let server = TcpStream::connect((host.as_str(), port)).unwrap();
                for stream in [&client, &server] {
                    stream.set_nodelay(true).unwrap();
                }
                let is_lost = Arc::new(AtomicBool::new(false));
                let (answers, to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let answer_is_lost = Arc::clone(&is_lost);
                std::thread::spawn(move || {
                    let _ = pass_answers(&answers, &to_client, &answer_is_lost);
                    let _ = to_client.shutdown(Shutdown::Both);
                    let _ = answers.shutdown(Shutdown::Both);
                });
                let plan = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let _ = pass(&client, &server, &plan, &is_lost);
                    let _ = server.shutdown(Shutdown::Both);
                    if !is_lost.load(Ordering::SeqCst) {
                        let _ = client.shutdown(Shutdown::Both);
                    }
                });
            }
        });
        Self { port, plan }
    }

    /// Returns the round trips since the last call.
    pub fn take(&self) -> usize {
        self.plan.round_trips.swap(0, Ordering::SeqCst)
    }

    /// Closes the connection at the round trip of this number, counted from now on, once.
    pub fn lose(&self, number: usize, loss: Loss) {
        self.take();
        *self.plan.loss.lock().unwrap() = Some((number, loss));
    }

    /// Takes the plan back. Returns true if there were not as many round trips.
    pub fn lose_nothing(&self) -> bool {
        self.plan.loss.lock().unwrap().take().is_some()
    }
}

/// Passes the client's messages on and counts those that a request waits for: each execution of a statement and each
/// simple query. Not counted are the preparation of a statement, once for each connection; the test of a connection
/// that is given back to the pool; and the notification of other servers.
fn pass(
    mut client: &TcpStream,
    mut server: &TcpStream,
    plan: &Plan,
    is_lost: &AtomicBool,
) -> std::io::Result<()> {
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
        let is_waited_for = kind == Some(b'E')
            || (kind == Some(b'Q') && !body.starts_with(b"notify ") && !body.starts_with(b"LISTEN "));
        if is_waited_for {
            let number = plan.round_trips.fetch_add(1, Ordering::SeqCst) + 1;
            let loss = plan.loss.lock().unwrap().take_if(|(at, _)| *at == number);
            match loss {
                Some((_, Loss::Statement)) => return Ok(()),
                Some((_, Loss::Answer)) => is_lost.store(true, Ordering::SeqCst),
                None => {}
            }
        }
        let message: Vec<u8> = kind.into_iter().chain(length).chain(body).collect();
        server.write_all(&message)?;
        kind = Some(0);
    }
}

/// Passes the server's messages on, until the answer that is to be lost; that one is read to its end.
fn pass_answers(mut server: &TcpStream, mut client: &TcpStream, is_lost: &AtomicBool) -> std::io::Result<()> {
    loop {
        let mut head = [0; 5];
        server.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
        server.read_exact(&mut body)?;
        if is_lost.load(Ordering::SeqCst) {
            // ReadyForQuery: the database has ended the statement, and its transaction where that is one statement.
            if kind == b'Z' {
                return Ok(());
            }
        } else {
            client.write_all(&head)?;
            client.write_all(&body)?;
        }
    }
}
