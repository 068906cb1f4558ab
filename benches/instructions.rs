//! Sends one kind of request so many times, for a program that counts what the processor does: `.ci/instructions` runs
//! it under callgrind, twice, so that the difference is the cost of the requests alone. `cargo run --release --example
//! instructions -- user 1000`; without arguments, it prints the names of the cases.

#[path = "support/in_process.rs"]
mod in_process;

use in_process::Case;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [name, times] = arguments.as_slice() else {
        return Case::NAMES.iter().for_each(|name| println!("{name}"));
    };
    let times = times.parse().expect("a number of requests");
    let answer = actix_rt::System::new().block_on(async { Case::prepare(name).await.run(times).await });
    // On standard error, so that a wrong answer is seen and a table on standard output stays one.
    eprintln!("{}", answer.lines().next().unwrap_or_default());
    if std::env::var_os("SHOW").is_some() {
        eprintln!("{answer}");
    }
}
