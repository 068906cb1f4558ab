//! A server that is killed at any moment loses nothing that it has answered. Clients record the answers. After each
//! kill -9 the records are compared with the state after the next start.
//!
//! 20 rounds by default; `HALLPASS_CRASH_ROUNDS=1000 cargo test --test api crash` is the long run.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::process::{Workplace, ask};

const CLIENTS: usize = 3;

/// What one client knows about its accounts, which no other client uses.
#[derive(Default)]
struct Ledger {
    accounts: Vec<Account>,
    /// Access and refresh tokens of sessions whose end was answered.
    dead: Vec<(String, String)>,
    answers: usize,
}

struct Account {
    email: String,
    /// The passwords. The last one is valid; if its change was not answered, it may be the one before.
    passwords: Vec<String>,
    names: Vec<String>,
    /// Access token and refresh token.
    session: Option<(String, String)>,
    /// A request that was sent and not answered. It may or may not have taken effect.
    unanswered: Option<&'static str>,
}

/// The answer of a server that is still running: status and body.
type Answer = Option<(u16, Value)>;

struct Client<'a> {
    address: &'a str,
    ledger: &'a mut Ledger,
    /// Answers of all clients in this round.
    answered: &'a AtomicUsize,
}

fn random(below: usize) -> usize {
    (Uuid::new_v4().as_u128() % below as u128) as usize
}

fn word() -> String {
    Uuid::new_v4().simple().to_string()
}

impl Client<'_> {
    fn ask(&mut self, request: &str, token: Option<&str>, body: Value) -> Answer {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let answer = ask(self.address, request, bearer.as_deref(), Some(&body)).ok()?;
        self.ledger.answers += 1;
        self.answered.fetch_add(1, Ordering::SeqCst);
        Some(answer)
    }

    /// Sends requests until the server is gone.
    fn work(&mut self) {
        while self.step().is_some() {}
    }

    fn step(&mut self) -> Option<()> {
        // The account at hand is the newest; a new one comes now and then.
        if self.ledger.accounts.is_empty() || random(12) == 0 {
            let (email, password) = (format!("{}@example.com", word()), word());
            let answer =
                self.ask("POST /auth/register", None, json!({"email": email, "password": password}))?;
            assert_eq!(answer.0, 201, "{answer:?}");
            self.ledger.accounts.push(Account {
                email,
                passwords: vec![password],
                names: vec![],
                session: None,
                unanswered: None,
            });
            return Some(());
        }
        let at = self.ledger.accounts.len() - 1;
        let account = &self.ledger.accounts[at];
        let email = account.email.clone();
        let password = account.passwords.last().unwrap().clone();
        let Some((access, refresh)) = account.session.clone() else {
            let (status, body) =
                self.ask("POST /auth/login", None, json!({"email": email, "password": password}))?;
            assert_eq!(status, 200, "{body}");
            self.ledger.accounts[at].session = Some(tokens(&body));
            return Some(());
        };
        let token = Some(access.as_str());
        match random(5) {
            0 => {
                self.ledger.accounts[at].unanswered = Some("logout");
                let (status, body) = self.ask("POST /auth/logout", token, json!({}))?;
                assert_eq!(status, 204, "{body}");
                self.ledger.accounts[at].session = None;
                self.ledger.dead.push((access, refresh));
            }
            1 => {
                let name = word();
                self.ledger.accounts[at].names.push(name.clone());
                self.ledger.accounts[at].unanswered = Some("rename");
                let (status, body) = self.ask("PATCH /user/", token, json!({"name": name}))?;
                assert_eq!(status, 200, "{body}");
            }
            2 => {
                let new = word();
                self.ledger.accounts[at].passwords.push(new.clone());
                self.ledger.accounts[at].unanswered = Some("password");
                let change = json!({"current_password": password, "new_password": new});
                let (status, body) = self.ask("POST /user/password", token, change)?;
                assert_eq!(status, 200, "{body}");
                self.ledger.accounts[at].session = Some(tokens(&body));
                self.ledger.dead.push((access, refresh));
            }
            _ => {
                // Unanswered, it is simply asked again after the restart.
                let (status, body) =
                    self.ask("POST /auth/refresh", None, json!({"refresh_token": refresh}))?;
                assert_eq!(status, 200, "{body}");
                self.ledger.accounts[at].session = Some(tokens(&body));
            }
        }
        self.ledger.accounts[at].unanswered = None;
        Some(())
    }

    /// Compares the recorded answers with the server's state after its restart.
    fn compare(&mut self) {
        for (access, refresh) in std::mem::take(&mut self.ledger.dead) {
            let (status, body) = self.ask("GET /user/", Some(&access), json!({})).unwrap();
            assert_eq!((status, &body["error"]), (401, &json!("token_revoked")), "a session that was ended");
            let (status, _) =
                self.ask("POST /auth/refresh", None, json!({"refresh_token": refresh})).unwrap();
            assert_eq!(status, 401, "its refresh token");
        }
        for mut account in std::mem::take(&mut self.ledger.accounts) {
            let unanswered = account.unanswered.take();
            // At the last step, so that nothing came after the one that is unknown.
            let maybe = |what| unanswered == Some(what);
            if let Some((_, refresh)) = account.session {
                let (status, body) =
                    self.ask("POST /auth/refresh", None, json!({"refresh_token": refresh})).unwrap();
                let may_be_over = maybe("logout") || maybe("password");
                assert!(status == 200 || (status == 401 && may_be_over), "{unanswered:?}: {status} {body}");
                if status == 200 {
                    let name = &body["data"]["user"]["name"];
                    let candidates = account.names.iter().rev().take(1 + usize::from(maybe("rename")));
                    let fits = candidates.clone().any(|candidate| name == candidate)
                        || (name.is_null() && account.names.len() <= usize::from(maybe("rename")));
                    assert!(fits, "{unanswered:?}: {name} among {:?}", account.names);
                }
            }
            let candidates = account.passwords.iter().rev().take(1 + usize::from(maybe("password")));
            let logins: Vec<_> = candidates
                .map(|password| {
                    let body = json!({"email": account.email, "password": password});
                    self.ask("POST /auth/login", None, body).unwrap().0
                })
                .collect();
            assert!(logins.contains(&200), "{unanswered:?}: {} {logins:?}", account.email);
        }
    }
}

fn tokens(body: &Value) -> (String, String) {
    let text = |name: &str| body["data"][name].as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
    (text("token"), text("refresh_token"))
}

#[test]
fn a_killed_server_loses_nothing_that_it_has_answered() {
    let rounds = std::env::var("HALLPASS_CRASH_ROUNDS").map_or(20, |rounds| rounds.parse().unwrap());
    // A retry after the restart must be within the grace, however slow the machine is.
    let place = Workplace::new()
        .variable("HALLPASS_THROTTLE__ON", "false")
        .variable("HALLPASS_SESSION__REUSE_GRACE_S", "60");
    let mut ledgers: Vec<Ledger> = std::iter::repeat_with(Ledger::default).take(CLIENTS).collect();
    let mut answers = 0;
    for _ in 0..rounds {
        let server = place.serve();
        let (answered, enough) = (AtomicUsize::new(0), 1 + random(60));
        std::thread::scope(|scope| {
            for ledger in &mut ledgers {
                let (address, answered) = (server.address.as_str(), &answered);
                scope.spawn(move || Client { address, ledger, answered }.work());
            }
            while answered.load(Ordering::SeqCst) < enough {
                std::thread::yield_now();
            }
            server.signal("KILL");
        });
        drop(server);
        let server = place.serve();
        for ledger in &mut ledgers {
            Client { address: &server.address, ledger, answered: &answered }.compare();
            answers += std::mem::take(&mut ledger.answers);
        }
        server.signal("KILL");
    }
    assert!(answers > rounds * CLIENTS, "the ledgers hold something: {answers} answers");
}
