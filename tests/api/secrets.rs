//! The passphrase, passwords and keys must not be in the database with its write-ahead log, in the log, in the
//! environment, or in the memory of the running process. Each search has a positive control.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use data_encoding::BASE32_NOPAD;
use hallpass::clock::Clock;
use hallpass::server::keys::vault::Vault;
use hallpass::server::store::Store;
use serde_json::{Value, json};

use crate::app::{PASSPHRASE, PASSWORD};
use crate::process::{Server, Workplace};
use crate::second_factors::Authenticator;

/// A secret in every encoding in which it might be stored.
fn spellings(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    // A freed block keeps all but its beginning, which the allocator overwrites.
    let rest = secret.get(16..).filter(|rest| rest.len() >= 12);
    let mut spellings: Vec<_> = rest.map(<[u8]>::to_vec).into_iter().collect();
    spellings.extend([secret.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()]);
    // In base64 a secret looks different at each of three offsets; the middle of each is the same.
    for offset in 0..3 {
        let shifted = [&vec![0; offset][..], secret].concat();
        for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let encoded = engine.encode(&shifted);
            spellings.push(encoded.as_bytes()[4..encoded.len() - 4].to_vec());
        }
    }
    spellings
}

pub fn holds(haystack: &[u8], secret: &[u8]) -> bool {
    spellings(secret).iter().any(|spelling| memchr::memmem::find(haystack, spelling).is_some())
}

/// Everything the process can read and write.
pub fn memory(process: u32) -> Vec<u8> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let memory = File::open(format!("/proc/{process}/mem"))
        .expect("the memory of a child in a debug build is readable to its parent");
    let mut found = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        let mut region = vec![0; (to - from) as usize];
        // Guard pages cannot be read.
        if memory.read_exact_at(&mut region, from).is_ok() {
            found.extend(region);
        }
    }
    found
}

/// Shell code that allows a core dump, as large as the system permits.
pub const CORE: &str = "ulimit -c $(ulimit -H -c);";

/// Makes the process in `folder` dump its core, and waits for its end with `wait`. Returns `None` if the system does
/// not write the core into that folder.
pub fn core_dump(process: u32, folder: &Path, wait: impl FnOnce()) -> Option<Vec<u8>> {
    let hard = rustix::process::getrlimit(rustix::process::Resource::Core).maximum;
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let status = Command::new("kill").args(["-s", "ABRT", &process.to_string()]).status().unwrap();
    assert!(status.success());
    wait();
    if hard == Some(0) || pattern.starts_with(['|', '/']) {
        return None;
    }
    let is_core = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("core");
    let file = fs::read_dir(folder).unwrap().map(Result::unwrap).find(is_core).expect("a core dump");
    let core = fs::read(file.path()).unwrap();
    fs::remove_file(file.path()).unwrap();
    Some(core)
}

fn database_files(place: &Workplace) -> Vec<u8> {
    ["hallpass.db", "hallpass.db-wal"].iter().flat_map(|name| fs::read(place.path(name)).unwrap()).collect()
}

/// The signing keys, decrypted.
fn keys(place: &Workplace) -> Vec<Vec<u8>> {
    actix_rt::System::new().block_on(async {
        let store = Store::open(&place.database()).await.unwrap();
        let installation =
            store.read(async |connection| connection.installation().await).await.unwrap().unwrap();
        let vault = Vault::unseal(&installation, &PASSPHRASE.into()).unwrap();
        let mut keys = Vec::new();
        for sealed in store.read(async |connection| connection.signing_keys().await).await.unwrap() {
            // The seed within PKCS#8.
            keys.push(vault.unseal_key(&sealed.sealed).unwrap()[16..48].to_vec());
        }
        keys
    })
}

#[test]
fn the_search_finds_a_known_secret() {
    let secret = b"a river of seventeen blue lanterns";
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    for spelling in [
        secret.to_vec(),
        hex.into_bytes(),
        STANDARD.encode(secret).into_bytes(),
        STANDARD.encode([b"x", &secret[..]].concat()).into_bytes(),
        URL_SAFE_NO_PAD.encode([b"xy", &secret[..], b"z"].concat()).into_bytes(),
    ] {
        assert!(holds(&[b"before ", &spelling[..], b" after"].concat(), secret));
    }
    assert!(!holds(b"nothing to see here, and nothing to find", secret));
}

#[test]
fn neither_the_database_nor_the_log_nor_the_environment_holds_a_secret() {
    let place = Workplace::new().variable("RUST_LOG", "trace");
    place.add_user();
    let server = place.serve();
    let token = server.token();
    server.get_user(&token);
    server.get_user("no.such.token");

    let mut secrets: Vec<Vec<u8>> = vec![PASSPHRASE.into(), PASSWORD.into(), token.clone().into()];
    secrets.extend(keys(&place));
    assert_eq!(secrets.len(), 4);

    let files = database_files(&place);
    let environment = fs::read(format!("/proc/{}/environ", server.child.id())).unwrap();
    let arguments = fs::read(format!("/proc/{}/cmdline", server.child.id())).unwrap();
    // The control: the address is in the database.
    assert!(holds(&files, crate::app::EMAIL.as_bytes()));
    assert!(holds(&environment, b"HALLPASS_PASSWORD__BCRYPT_COST"));
    let log = server.stop("TERM").err.into_bytes();
    assert!(holds(&log, b"signed_in"));
    for secret in &secrets {
        let name = String::from_utf8_lossy(secret);
        for (place, bytes) in
            [("database", &files), ("environment", &environment), ("arguments", &arguments), ("log", &log)]
        {
            assert!(!holds(bytes, secret), "{name} is in the {place}");
        }
    }
}

#[test]
fn neither_the_memory_of_a_running_server_nor_its_core_dump_holds_the_passphrase_however_it_was_given() {
    let place = Workplace::new().variable("HALLPASS_DUMPABLE", "1");
    place.add_user();
    let key_file = place.path("key");
    fs::write(&key_file, format!("{PASSPHRASE}\n")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&key_file, mode).unwrap();
    for way in ["--key-stdin", "--key-stdin", "--key-file key", "--key-fd 7 7<key"] {
        let script = format!("{CORE} exec \"$0\" serve --bind 127.0.0.1:0 {way}");
        let command = place.shell(&script);
        let mut server = Server::start(command, format!("{PASSPHRASE}\n"));
        assert!(!server.token().is_empty());
        let process = server.child.id();
        let memory = memory(process);
        let core = core_dump(process, place.folder.path(), || _ = server.child.wait().unwrap());
        for (what, bytes) in [("memory", Some(memory)), ("a core dump", core)] {
            let Some(bytes) = bytes else { continue };
            // The control: the address that it listens on is there.
            assert!(holds(&bytes, server.address.as_bytes()), "{way}: {what}");
            assert!(!holds(&bytes, PASSPHRASE.as_bytes()), "{way}: the passphrase is in {what}");
        }
    }
}

#[test]
fn a_server_that_signs_in_by_second_factors_keeps_neither_their_secrets_nor_the_unused_codes_in_memory() {
    let place = Workplace::new().variable("HALLPASS_DUMPABLE", "1");
    place.add_user();
    // Shown to their user by one server, used at another.
    let first = place.serve();
    let bearer = format!("Bearer {}", first.token());
    let post = |server: &Server, path: &str, bearer: Option<&str>, body: Value| {
        server.ask(&format!("POST {path}"), bearer, Some(&body))
    };
    let (status, made) = post(&first, "/user/totp", Some(&bearer), json!({"password": PASSWORD}));
    assert_eq!(status, 201, "{made}");
    let secret = made["data"]["secret"].as_str().unwrap().to_owned();
    let authenticator = Authenticator::of(&secret);
    // A code of the step before, so that this step's is still unused.
    let code = authenticator.code(Clock::system().now() - TimeDelta::seconds(30));
    let (status, confirmed) = post(&first, "/user/totp/confirm", Some(&bearer), json!({"code": code}));
    assert_eq!(status, 200, "{confirmed}");
    let codes: Vec<String> = serde_json::from_value(confirmed["data"]["recovery_codes"].clone()).unwrap();
    let is_in = |memory: &[u8], text: &[u8]| memchr::memmem::find(memory, text).is_some();
    assert!(is_in(&memory(first.child.id()), secret.as_bytes()), "the control: the buffer of the answer");
    first.stop("TERM");

    let second = place.serve();
    for answer in
        [json!({"code": authenticator.code(Clock::system().now())}), json!({"recovery_code": codes[0]})]
    {
        let (status, asked) = second.login();
        assert_eq!((status, &asked["error"]), (401, &json!("second_factor_required")));
        let mut body = answer.clone();
        body["challenge"] = asked["challenge"].clone();
        let (status, answered) = post(&second, "/auth/second-factor", None, body);
        assert_eq!(status, 200, "{answer}: {answered}");
    }
    let memory = memory(second.child.id());
    let bytes_of = |text: &str| BASE32_NOPAD.decode(text.replace('-', "").to_uppercase().as_bytes()).unwrap();
    for (what, text) in
        [("the secret", &secret)].into_iter().chain(codes[1..].iter().map(|code| ("a code", code)))
    {
        assert!(!is_in(&memory, text.as_bytes()), "{what} as text");
        assert!(!is_in(&memory, &bytes_of(text)), "the bytes of {what}");
    }
}

#[test]
fn a_secret_that_is_planted_in_memory_is_found_there() {
    // The environment is in the memory of a process, so this variable must be found.
    let planted = "planted: seventeen blue lanterns";
    let place = Workplace::new().variable("HALLPASS_DUMPABLE", "1").variable("PLANTED", planted);
    let command = place.shell(&format!("{CORE} exec \"$0\" serve --bind 127.0.0.1:0 --key-stdin"));
    let mut server = Server::start(command, format!("{PASSPHRASE}\n"));
    assert!(holds(&memory(server.child.id()), planted.as_bytes()));
    let core = core_dump(server.child.id(), place.folder.path(), || _ = server.child.wait().unwrap());
    assert!(core.is_none_or(|core| holds(&core, planted.as_bytes())), "and in a core dump");
}

#[test]
fn the_process_writes_no_core_and_no_other_process_can_read_it() {
    let place = Workplace::new();
    let server = place.serve();
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert!(core.split_whitespace().filter(|word| *word == "0").count() >= 2, "{core}");

    // root may trace every process, so if the tests run as root, both processes give that right up.
    let humble = |program: &OsStr| {
        if !rustix::process::getuid().is_root() {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"]).arg(program);
        command
    };
    let is_seen = |place: Workplace| {
        let inner = place.shell("exec \"$0\" serve --bind 127.0.0.1:0 --key-stdin");
        let mut command = humble(inner.get_program());
        command.args(inner.get_args()).current_dir(place.folder.path()).env_clear();
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let server = Server::start(command, format!("{PASSPHRASE}\n"));
        let looked = humble("readlink".as_ref()).arg(format!("/proc/{}/exe", server.child.id())).output();
        looked.unwrap().status.success()
    };
    assert!(!is_seen(Workplace::new()), "another process can read it");
    let left_open = Workplace::new().variable("HALLPASS_DUMPABLE", "1");
    assert!(is_seen(left_open), "the control");
}
