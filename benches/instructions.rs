//! Sends one kind of request so many times, for a program that counts what the processor does: `.ci/instructions` runs it
//! under callgrind, which counts within `requests` alone. `cargo run --release --example instructions -- user 1000`;
//! without arguments, it prints the names of the cases.

#[path = "support/in_process.rs"]
mod in_process;

use actix_rt::SystemRunner;
use in_process::Case;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [name, times] = arguments.as_slice() else {
        return Case::NAMES.iter().for_each(|name| println!("{name}"));
    };
    let times = times.parse().expect("a number of requests");
    let system = actix_rt::System::new();
    let case = system.block_on(Case::prepare(name));
    // What is made by the first requests, such as caches, is not counted.
    system.block_on(case.run(10));
    let answer = requests(&system, &case, times);
    // On standard error, so that a wrong answer is seen and a table on standard output stays one.
    eprintln!("{}", answer.lines().next().unwrap_or_default());
    if std::env::var_os("SHOW").is_some() {
        eprintln!("{answer}");
    }
}

/// What is counted.
#[inline(never)]
fn requests(system: &SystemRunner, case: &Case, times: usize) -> String {
    system.block_on(case.run(times))
}
