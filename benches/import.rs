//! Importing users with ready hashes: users a second, and the most memory that it takes, which should not grow
//! with the file. `cargo bench --bench import`

mod support;

use std::io::Write;

use support::{PASSWORD, hallpass, watch};

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
        let child = hallpass(folder.path(), &["user", "import", "users.csv"]).spawn().unwrap();
        let (_, took, peak_kib) = watch(child);
        let seconds = took.as_secs_f64();
        println!("| {count} | {:.0} | {:.0} |", f64::from(count) / seconds, f64::from(peak_kib) / 1024.0);
    }
}
