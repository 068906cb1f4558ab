//! Measures the cost of a token, by algorithm: to issue it, to verify it, to verify it again; and what that makes
//! of a guarded route's throughput. `cargo bench --bench tokens`
//!
//! Servers take turns, so that whatever else the machine is doing falls on all alike.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures in real time")]

mod support;

use std::hint::black_box;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

use actix_web::{App, HttpResponse, web};
use chrono::Utc;
use hallpass::token::{Algorithm, Expected, Grant, Issuer, KeyMaterial, Keyring, SigningKey, verify};
use hallpass::{AuthUser, Guard};
use support::{Connection, Server, serve_app};

const ALGORITHMS: [Algorithm; 3] = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Hs256];
const CONNECTIONS: usize = 16;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
/// A random secret that no server of this benchmark uses.
const SECRET: [u8; 32] = [7; 32];

fn main() {
    if let Some(algorithm) =
        std::env::args().find_map(|argument| argument.strip_prefix("--serve=").map(str::to_owned))
    {
        return serve(algorithm.parse().unwrap());
    }
    println!("| algorithm | issue, ns | verify, ns |");
    println!("|---|---|---|");
    for algorithm in ALGORITHMS {
        let key = key(algorithm);
        let (issuer, ring) = (issuer(), Keyring::from(Arc::clone(&key)));
        let expected = Expected::new("bench", "bench");
        let token = issuer.issue(&key, &grant(), Utc::now()).unwrap().token;
        let issue = nanos(|| issuer.issue(&key, &grant(), Utc::now()).unwrap());
        let check = nanos(|| verify(&token, &ring, &expected, Utc::now()).unwrap());
        println!("| {algorithm} | {issue:.0} | {check:.0} |");
    }

    let servers = ALGORITHMS.map(|algorithm| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(format!("--serve={algorithm}")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let server = Server::start(command, "");
        let mut connection = Connection::open(&server.address);
        assert_eq!(connection.login("", ""), 200);
        (server, connection.1)
    });
    let mut rates = ALGORITHMS.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for ((server, token), rates) in servers.iter().zip(&mut rates) {
            rates.push(throughput(server, token));
        }
    }
    let medians = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[ROUNDS / 2]
    });
    println!();
    println!("| guarded route, the same token again | requests/s of HS256's |");
    println!("|---|---|");
    for (algorithm, median) in ALGORITHMS.iter().zip(medians) {
        println!("| {algorithm} | {:.2} |", median / medians[2]);
    }
}

fn nanos<T>(mut step: impl FnMut() -> T) -> f64 {
    let (began, mut count) = (Instant::now(), 0_u32);
    while began.elapsed() < Duration::from_secs(1) {
        for _ in 0..100 {
            black_box(step());
        }
        count += 100;
    }
    began.elapsed().as_nanos() as f64 / f64::from(count)
}

fn throughput(server: &Server, token: &str) -> f64 {
    let done = AtomicUsize::new(0);
    let began = Instant::now();
    scope(|threads| {
        for _ in 0..CONNECTIONS {
            threads.spawn(|| {
                let mut connection = Connection::open(&server.address);
                while began.elapsed() < ROUND {
                    assert_eq!(connection.get_user(token), 200);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    done.into_inner() as f64 / began.elapsed().as_secs_f64()
}

fn key(algorithm: Algorithm) -> Arc<SigningKey> {
    let material = match algorithm {
        Algorithm::Hs256 => KeyMaterial::from_bytes(SECRET.to_vec()),
        other => KeyMaterial::generate(other).unwrap(),
    };
    let kid = SigningKey::fresh_kid(algorithm, &material).unwrap();
    Arc::new(SigningKey::with_kid(kid, algorithm, &material).unwrap())
}

fn issuer() -> Issuer {
    Issuer::new("bench", "bench", chrono::Duration::hours(1))
}

fn grant() -> Grant {
    Grant { subject: "ada".into(), email: Some("ada@example.com".into()), ..Grant::default() }
}

fn serve(algorithm: Algorithm) {
    let key = key(algorithm);
    let token: &'static str = issuer().issue(&key, &grant(), Utc::now()).unwrap().token.leak();
    let builder = Guard::builder().issuer("bench").audience("bench");
    let guard = match algorithm {
        Algorithm::Hs256 => builder.shared_secret(&SECRET),
        _ => builder.jwks(&serde_json::to_string(&Keyring::from(key).jwks()).unwrap()),
    };
    let guard = guard.build().unwrap();
    let user = |user: AuthUser| async move { HttpResponse::Ok().body(user.id.clone()) };
    let app = move || {
        App::new()
            .app_data(guard.clone())
            .route("/auth/login", web::post().to(move || async move { HttpResponse::Ok().body(token) }))
            .route("/user/", web::get().to(user))
    };
    serve_app(app);
}
