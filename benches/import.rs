//! Importing users with ready hashes: users a second, and the most memory that it takes, which should not grow
//! with the file. `cargo bench --bench import`

#![allow(clippy::disallowed_methods, reason = "a benchmark measures in real time")]

mod support;

use std::io::Write;
use std::time::Instant;

use support::{PASSWORD, hallpass, high_water};

fn main() {
    let hash = bcrypt::hash(PASSWORD, 4).unwrap();
    println!("| users imported | users/s | peak memory, MiB |");
    println!("|---|---|---|");
    for count in [10_000, 100_000] {
        let folder = tempfile::tempdir().unwrap();
        let mut file =
            std::io::BufWriter::new(std::fs::File::create(folder.path().join("users.csv")).unwrap());
        writeln!(file, "email,name,roles,password_hash").unwrap();
        for number in 0..count {
            writeln!(file, "user{number}@example.com,User {number},editor;reader,{hash}").unwrap();
        }
        drop(file.into_inner().unwrap());
        let began = Instant::now();
        let mut child = hallpass(folder.path(), &["user", "import", "users.csv"]).spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut peak_kib = 0;
        while child.try_wait().unwrap().is_none() {
            // The kernel keeps the highest; the last reading before the end has it.
            if let Some(kib) = high_water(&status) {
                peak_kib = kib;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(child.wait().unwrap().success());
        let seconds = began.elapsed().as_secs_f64();
        println!("| {count} | {:.0} | {:.0} |", f64::from(count) / seconds, f64::from(peak_kib) / 1024.0);
    }
}
