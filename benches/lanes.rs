//! What a hashing thread gains by computing four passwords in lockstep: hashes per second of one thread, relative to
//! the crate `bcrypt` in one thread. `cargo bench --bench lanes`
//!
//! It fails when a compiler or its flags lose the gain, or when a single password takes longer than by the crate.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hallpass::server::credentials::{Hasher, Password};

const COST: u32 = 10;
const PHASE: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;
const IN_FLIGHT: [usize; 5] = [1, 2, 3, 4, 32];

/// The least that four or more passwords must gain, and one may lose, as the median of the rounds.
const LEAST_GAIN: f64 = 2.5;
const LEAST_ALONE: f64 = 0.9;

fn main() -> ExitCode {
    let hasher = Hasher::start(1, 64, COST).unwrap();
    let system = actix_rt::System::new();
    let mut ratios = IN_FLIGHT.map(|_| Vec::new());
    // In turn, so that what else the machine does falls on all of them.
    for _ in 0..ROUNDS {
        let bare = by_the_crate();
        for (clients, ratios) in IN_FLIGHT.into_iter().zip(&mut ratios) {
            ratios.push(system.block_on(by_the_service(&hasher, clients)) / bare);
        }
    }
    let medians = ratios.map(|mut ratios| {
        ratios.sort_by(f64::total_cmp);
        ratios[ROUNDS / 2]
    });
    println!("| passwords in flight | hashes/s of one thread, of the bare crate's |");
    println!("|---|---|");
    for (clients, median) in IN_FLIGHT.iter().zip(medians) {
        println!("| {clients} | {median:.2} |");
    }
    let [alone, .., four, many] = medians;
    if alone < LEAST_ALONE || four < LEAST_GAIN || many < LEAST_GAIN {
        eprintln!(
            "the gain is lost: at least {LEAST_ALONE} is expected for one, {LEAST_GAIN} for four and more"
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn by_the_crate() -> f64 {
    let (began, mut done) = (Instant::now(), 0);
    while began.elapsed() < PHASE {
        bcrypt::hash("correct horse battery", COST).unwrap();
        done += 1;
    }
    f64::from(done) / began.elapsed().as_secs_f64()
}

/// Lets `clients` clients each hash one password after another.
async fn by_the_service(hasher: &Hasher, clients: usize) -> f64 {
    let began = Instant::now();
    let client = async || {
        let mut done = 0;
        while began.elapsed() < PHASE {
            hasher
                .hash(&Password::from("correct horse battery"), hallpass::server::credentials::Origin::LOCAL)
                .await
                .unwrap();
            done += 1;
        }
        done
    };
    let done: u32 = join_all((0..clients).map(|_| client())).await.into_iter().sum();
    f64::from(done) / began.elapsed().as_secs_f64()
}
