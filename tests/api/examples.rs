//! The examples do what their headers show: each is run, and each of its `$ curl` lines is typed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::app::{PASSPHRASE, PASSWORD};
use crate::process::{Server, Workplace};

/// A command line in an example's header, and the lines that its output must have, in this order.
struct Shown {
    command: String,
    expected: Vec<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// All examples.
fn names() -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".rs")?.to_owned()))
        .collect();
    names.sort();
    names
}

/// The lines that show the example in its header.
fn shown(name: &str) -> Vec<Shown> {
    let text = std::fs::read_to_string(folder().join(format!("{name}.rs"))).unwrap();
    let header = text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    let console = header.skip_while(|line| *line != "```console").skip(1).take_while(|line| *line != "```");
    let mut shown: Vec<Shown> = Vec::new();
    for line in console {
        match (line.strip_prefix("$ "), shown.last_mut()) {
            (Some(command), _) => shown.push(Shown { command: command.to_owned(), expected: Vec::new() }),
            (None, Some(last)) => last.expected.push(line.to_owned()),
            (None, None) => panic!("{name}: {line:?} is no command"),
        }
    }
    shown
}

/// A running example.
struct Example {
    child: Child,
    address: String,
    /// The shell variables that it printed: names and tokens.
    variables: Vec<(String, String)>,
}

impl Example {
    fn start(name: &str, issuer: &str) -> Self {
        // Beside the binary, where cargo puts examples of the same build.
        let built = Path::new(env!("CARGO_BIN_EXE_hallpass")).with_file_name("examples").join(name);
        let mut command = Command::new(&built);
        command.env("ADDRESS", "127.0.0.1:0").env("ISSUER_URL", issuer).stdout(Stdio::piped());
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("{}: {error}; cargo test builds it, and so does cargo build --examples", built.display())
        });
        let mut example = Self { child, address: String::new(), variables: Vec::new() };
        for line in BufReader::new(example.child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(address) = line.strip_prefix("listening on http://") {
                example.address = address.to_owned();
                return example;
            }
            let (variable, token) = line.split_once('=').expect("NAME=token");
            example.variables.push((variable.to_owned(), token.to_owned()));
        }
        panic!("{name} ended before it listened");
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_example_does_what_its_header_shows() {
    let names = names();
    assert!(names.len() >= 7, "{names:?}");
    let place = Workplace::new().variable("HALLPASS_TOKEN__ISSUER", "https://id.example");
    let add = ["user", "add", "ada@example.com", "--password-stdin"];
    place.run(&add, format!("{PASSWORD}\n")).expect(0, "user add");
    let issuer = Server::start(
        place.command(["serve", "--bind", "127.0.0.1:0", "--key-stdin"]),
        format!("{PASSPHRASE}\n"),
    );
    for name in names {
        let example = Example::start(&name, &format!("http://{}", issuer.address));
        let mut assignments = Vec::new();
        let mut typed = 0;
        for Shown { command, expected } in shown(&name) {
            let command = command
                .replace("127.0.0.1:8081", &example.address)
                .replace("127.0.0.1:8080", &issuer.address);
            let is_assignment = command
                .split_once("=$(")
                .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase()));
            if is_assignment {
                assignments.push(command);
            } else if let Some(curl) = command.strip_prefix("curl ") {
                let script = format!("{}\ncurl -sS --max-time 30 {curl}", assignments.join("\n"));
                let output = Command::new("sh")
                    .args(["-c", &script])
                    .envs(example.variables.iter().map(|(name, token)| (name, token)))
                    .output()
                    .unwrap();
                let text = String::from_utf8(output.stdout).unwrap();
                let mut lines = text.lines().map(str::trim_end);
                assert!(!expected.is_empty(), "{name}: {command} shows nothing");
                for line in &expected {
                    assert!(lines.any(|got| got == line), "{name}: {command}\n{line:?} is not in\n{text}");
                }
                typed += 1;
            } else {
                // What starts the example, and the server that the test has started itself.
                let known = [
                    format!("cargo run --example {name}"),
                    "hallpass user add".into(),
                    "HALLPASS_TOKEN__ISSUER".into(),
                ];
                assert!(known.iter().any(|known| command.starts_with(known)), "{name}: {command} is not run");
            }
        }
        assert!(typed >= 2, "{name} shows no curl line");
    }
}
