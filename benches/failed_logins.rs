//! Measures the median time of each kind of failed login. The medians should be equal. `cargo bench --bench
//! failed_logins`
//!
//! The kinds are tried in turn, so that whatever else the machine is doing falls on all alike.

mod support;

use std::time::{Duration, Instant};

use support::{Connection, PASSWORD, Server, hallpass, import};

const COST: u32 = 12;
const ATTEMPTS: usize = 200;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let hash = bcrypt::hash(PASSWORD, COST).unwrap();
    let users = [("ada@example.com", hash.as_str()), ("bob@example.com", &hash), ("carol@example.com", "")];
    import(folder.path(), users.map(|(email, hash)| (email.to_owned(), hash.to_owned())));
    let server = Server::hallpass(folder.path());
    let mut connection = Connection::open(&server.address);
    // A hash from elsewhere may take another time until its first success.
    for email in ["ada@example.com", "bob@example.com"] {
        assert_eq!(connection.login(email, PASSWORD), 200);
    }
    let disabled = hallpass(folder.path(), &["user", "disable", "bob@example.com"]).output().unwrap();
    assert!(disabled.status.success());

    let kinds = [
        ("a wrong password", "ada@example.com", "wrong horse battery"),
        ("an unknown address", "eve@example.com", PASSWORD),
        ("a disabled user", "bob@example.com", PASSWORD),
        ("a user without a password", "carol@example.com", PASSWORD),
    ];
    let mut times = kinds.map(|_| Vec::with_capacity(ATTEMPTS));
    for _ in 0..ATTEMPTS {
        for ((_, email, password), times) in kinds.iter().zip(&mut times) {
            let began = Instant::now();
            assert_eq!(connection.login(email, password), 401);
            times.push(began.elapsed());
        }
    }
    let medians = times.map(|mut times| {
        times.sort();
        times[ATTEMPTS / 2]
    });
    println!("| failed login, cost {COST}, {ATTEMPTS} attempts each | median, ms | x the fastest |");
    println!("|---|---|---|");
    let fastest = medians.iter().min().unwrap();
    let millis = |time: &Duration| time.as_secs_f64() * 1000.0;
    for ((name, ..), median) in kinds.iter().zip(&medians) {
        println!("| {name} | {:.1} | {:.3} |", millis(median), millis(median) / millis(fastest));
    }
}
