//! What hashing threads gain by computing four passwords in lockstep: hashes per second of one thread, and of one for
//! each core at once, relative to the crate `bcrypt` in as many threads. `cargo bench --bench lanes`
//!
//! Cores that share their units or their cache gain less together than one of them alone.
//!
//! It fails when a compiler or its flags lose the gain of one thread, or when a single password takes longer than by the
//! crate.

use std::process::ExitCode;
use std::thread::scope;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hallpass::server::credentials::{Hasher, Password};

const COST: u32 = 10;
const PHASE: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;
const IN_FLIGHT: [usize; 5] = [1, 2, 3, 4, 32];

/// The least that four or more passwords must gain, and one may lose, as the median of the rounds. Without the gain it
/// would be 1; 2.3 and 3.7 were measured on two days on machines of one kind.
const LEAST_GAIN: f64 = 1.8;
const LEAST_ALONE: f64 = 0.9;

fn main() -> ExitCode {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let one = measure(1);
    let all = measure(cores);
    println!("| passwords in flight for each thread | one thread, of the bare crate's | {cores} threads |");
    println!("|---|---|---|");
    for ((clients, one), all) in IN_FLIGHT.iter().zip(one).zip(all) {
        println!("| {clients} | {one:.2} | {all:.2} |");
    }
    let [alone, .., four, many] = one;
    if alone < LEAST_ALONE || four < LEAST_GAIN || many < LEAST_GAIN {
        eprintln!(
            "the gain is lost: at least {LEAST_ALONE} is expected for one, {LEAST_GAIN} for four and more"
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The medians of the rounds, for each number of passwords in flight.
fn measure(threads: usize) -> [f64; IN_FLIGHT.len()] {
    let hasher = Hasher::start(threads, 64 * threads, COST).unwrap();
    let system = actix_rt::System::new();
    let mut ratios = IN_FLIGHT.map(|_| Vec::new());
    // In turn, so that what else the machine does falls on all of them.
    for _ in 0..ROUNDS {
        let bare = by_the_crate(threads);
        for (clients, ratios) in IN_FLIGHT.into_iter().zip(&mut ratios) {
            ratios.push(system.block_on(by_the_service(&hasher, clients * threads)) / bare);
        }
    }
    ratios.map(|mut ratios| {
        ratios.sort_by(f64::total_cmp);
        ratios[ROUNDS / 2]
    })
}

fn by_the_crate(threads: usize) -> f64 {
    let began = Instant::now();
    let hash = || {
        let mut done = 0;
        while began.elapsed() < PHASE {
            bcrypt::hash("correct horse battery", COST).unwrap();
            done += 1;
        }
        done
    };
    let done: u32 = scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(hash)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
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
