//! The log of a server: its warnings at start, and what a stranger can repeat.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::process::Workplace;

/// Enough that a line for each would be noticed, and sent within a few seconds.
const REQUESTS: usize = 300;

#[test]
fn malformed_requests_and_bad_tokens_are_a_line_a_second_with_their_count() {
    let place = Workplace::new();
    let server = place.serve();
    for _ in 0..REQUESTS {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n: nonsense\r\n\r\n").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
        assert_eq!(server.get_user("no.such.token").0, 401);
        assert_eq!(server.ask("POST /auth/refresh", None, None).0, 401);
    }
    let log = server.stop("TERM").err;
    for what in ["actix_http", "token_invalid"] {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(what)).collect();
        assert!((1..REQUESTS / 2).contains(&lines.len()), "{what}: {} lines: {log}", lines.len());
        assert!(lines.iter().any(|line| line.contains("more such lines were left out")), "{what}: {log}");
    }
}

#[test]
fn a_server_with_risky_settings_starts_and_names_them() {
    let place = Workplace::new().variable("HALLPASS_THROTTLE__ON", "false");
    let log = place.serve().stop("TERM").err;
    for expected in ["WARN  password.bcrypt_cost is 4: ", "WARN  throttle.on is false"] {
        assert!(log.contains(expected), "{expected}: {log}");
    }
}

#[cfg(unix)]
#[test]
fn a_database_that_everybody_could_read_is_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;

    let place = Workplace::new();
    place.add_user();
    let mode = || std::fs::metadata(place.path("hallpass.db")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600, "as it is made");
    for (before, after, is_told) in [(0o644, 0o640, true), (0o606, 0o600, true), (0o640, 0o640, false)] {
        let permissions = PermissionsExt::from_mode(before);
        std::fs::set_permissions(place.path("hallpass.db"), permissions).unwrap();
        let listed = place.run(&["user", "list"], "");
        listed.expect(0, "user list");
        assert_eq!(mode(), after, "{before:o}");
        assert_eq!(listed.err.contains("hallpass.db had mode"), is_told, "{before:o}: {}", listed.err);
    }
}
