//! `hallpass token`: what a token contains, and whether it is valid by a key set.

use chrono::Duration;

use crate::key_commands::founded;
use crate::process::Workplace;

#[test]
fn inspect_shows_the_parts_the_times_and_the_key() {
    let place = founded();
    let server = place.serve();
    let token = server.token();
    let shown = place.run(&["token", "inspect", &token], "").expect(0, "inspect").out.clone();
    for part in [
        "\"alg\": \"EdDSA\"",
        "\"email\": \"ada@example.com\"",
        "(expires in 59 min)",
        "(issued ",
        "a key of this installation (EdDSA, signs)",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let signature = token.rsplit('.').next().unwrap();
    assert!(!shown.contains(signature), "{shown}");
    assert_eq!(place.run(&["token", "inspect", "-"], format!("Bearer {token}\n")).out.len(), shown.len());
    let elsewhere = Workplace::new();
    let shown = elsewhere.run(&["token", "inspect"], format!("{token}\n"));
    assert!(
        shown.expect(0, "elsewhere").out.contains("there is no database to compare it with"),
        "{shown:?}"
    );
    assert!(!elsewhere.path("hallpass.db").exists(), "inspect creates no database");
    for (text, reason) in [
        ("", "three parts"),
        ("a.b", "three parts"),
        ("a.b.c", "header part is not base64url"),
        ("e30.!.c", "claims part is not base64url"),
        ("e30.YQ.c", "claims part is not JSON"),
    ] {
        place.run(&["token", "inspect"], text).expect_error(1, reason);
    }
    place.run(&["token", "inspect"], "x".repeat(10_000)).expect_error(1, "longer than 8192 bytes");
}

#[test]
fn verify_prints_valid_or_the_check_that_failed_for_one_token_or_many() {
    let place = founded();
    let server = place.serve();
    let token = server.token();
    let (_, set) = server.ask("GET /.well-known/jwks.json", None, None);
    std::fs::write(place.path("jwks.json"), set.to_string()).unwrap();
    let verify = |more: &[&str], input: &str| {
        place.run(&[&["token", "verify", "--jwks", "jwks.json"], more].concat(), input)
    };
    assert!(verify(&[&token], "").expect(0, "valid").out.starts_with("valid: "));
    verify(&["--issuer", "https://other.example", &token], "").expect_error(1, "another issuer");
    verify(&["--audience", "https://other.example", &token], "").expect_error(1, "another audience");
    let (message, signature) = token.rsplit_once('.').unwrap();
    let forged = format!("{message}.{}", signature.chars().rev().collect::<String>());
    verify(&[&forged], "").expect_error(1, "not valid: ");
    let many =
        verify(&["-"], &format!("{token}\n\nBearer {token}\nnonsense\n{}\n{token}", "x".repeat(20_000)));
    many.expect_error(1, "2 of 5 tokens are not valid");
    let lines: Vec<_> = many.out.lines().collect();
    assert!(lines[0].starts_with("1: valid: ") && lines[1].starts_with("3: valid: "), "{many:?}");
    assert!(lines[2].starts_with("4: not valid: the token is malformed"), "{many:?}");
    assert!(lines[3].starts_with("5: not valid: the token is too long"), "{many:?}");
    assert!(lines[4].starts_with("6: valid: "), "{many:?}");
    verify(&[], "").expect_error(2, "no token on standard input");
    place.run(&["token", "verify", "--jwks", "nowhere.json", &token], "").expect_error(2, "cannot be used");
    std::fs::write(place.path("bad.json"), "{}").unwrap();
    place.run(&["token", "verify", "--jwks", "bad.json", &token], "").expect_error(2, "cannot be used");
}

#[test]
fn verify_uses_the_leeway_of_the_settings() {
    let place = Workplace::new();
    let mint = hallpass::testing::Mint::new();
    std::fs::write(place.path("jwks.json"), mint.jwks()).unwrap();
    let token = mint
        .token_for("ada")
        .claim("exp", (hallpass::clock::Clock::system().now() - Duration::seconds(30)).timestamp())
        .to_string();
    let verify = ["token", "verify", "--jwks", "jwks.json", &token];
    place.run(&verify, "").expect_error(1, "not valid: ");
    place.variable("HALLPASS_TOKEN__LEEWAY_S", "60").run(&verify, "").expect(0, "within the leeway");
}

#[test]
fn each_token_of_many_is_verified_at_the_time_at_which_it_arrives() {
    use std::io::{BufRead, Write};

    let place = Workplace::new();
    let mint = hallpass::testing::Mint::new();
    std::fs::write(place.path("jwks.json"), mint.jwks()).unwrap();
    let ending = (hallpass::clock::Clock::system().now() + Duration::seconds(3)).timestamp();
    let token = mint.token_for("ada").claim("exp", ending).to_string();
    let mut child = place.command(["token", "verify", "--jwks", "jwks.json"]).spawn().unwrap();
    let (mut tokens, verdicts) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut verdicts = std::io::BufReader::new(verdicts).lines();
    let since = std::time::Instant::now();
    loop {
        writeln!(tokens, "{token}").unwrap();
        if verdicts.next().unwrap().unwrap().contains("not valid") {
            break;
        }
        assert!(since.elapsed().as_secs() < 60, "it never expires");
        std::thread::yield_now();
    }
    drop(tokens);
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn inspect_shows_what_the_token_contains_without_a_database_too() {
    let place = Workplace::new();
    std::fs::create_dir(place.path("hallpass.db")).unwrap();
    let token = hallpass::testing::Mint::new().token_for("ada").to_string();
    let shown = place.run(&["token", "inspect"], format!("{token}\n"));
    assert!(shown.expect(0, "inspect").out.contains("it cannot be compared with the database"), "{shown:?}");
}

#[test]
fn no_token_is_valid_by_a_set_without_keys() {
    let place = Workplace::new();
    std::fs::write(place.path("jwks.json"), r#"{"keys": []}"#).unwrap();
    let verify = ["token", "verify", "--jwks", "jwks.json", "e30.e30.e30"];
    place.run(&verify, "").expect_error(1, "not valid: the key set has no key");
}

#[test]
fn blanks_around_a_token_do_not_count_towards_its_length() {
    let place = Workplace::new();
    let mint = hallpass::testing::Mint::new();
    std::fs::write(place.path("jwks.json"), mint.jwks()).unwrap();
    let blanks = " \t".repeat(5_000);
    let input = format!("{blanks}{}{blanks}\n{blanks}\n", mint.token_for("ada"));
    let verified = place.run(&["token", "verify", "--jwks", "jwks.json"], input);
    assert!(verified.expect(0, "verify").out.starts_with("1: valid: "), "{verified:?}");
}

#[test]
fn inspect_escapes_characters_that_control_a_terminal() {
    use base64::Engine;
    let part = |json: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json);
    let claims = "{\"sub\": \"\u{7f}\u{9b}31m\u{202e}\u{2066}a\u{301}d\u{e9}\u{1F600}\"}";
    let token = format!("{}.{}.{}", part("{\"alg\":\"\u{85}\"}"), part(claims), part("s"));
    let shown = Workplace::new().run(&["token", "inspect"], format!("{token}\n"));
    let out = &shown.expect(0, "inspect").out;
    assert!(
        !out.chars().any(|it| it != '\n' && (it.is_control() || "\u{202e}\u{2066}".contains(it))),
        "{out:?}"
    );
    for part in ["\\u0085", "\\u007f\\u009b31m\\u202e\\u2066a", "dé😀"] {
        assert!(out.contains(part), "{part}: {out}");
    }
}

#[test]
fn public_vectors_pass_the_check_of_the_signature_and_no_other() {
    let place = Workplace::new();
    // RFC 7515 A.1 (HMAC-SHA-256) and A.3 (P-256), RFC 8037 A.4 (Ed25519). Each has a valid signature and is not an
    // access token, so the check that fails is one after the signature.
    let table = [
        (
            r#"{"keys":[{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}]}"#,
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
            "the token has no aud",
        ),
        (
            r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#,
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
            "the token has no aud",
        ),
        (
            r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
            "the token is malformed",
        ),
    ];
    for (set, token, reason) in table {
        std::fs::write(place.path("jwks.json"), set).unwrap();
        let verify = |more: &[&str], input: &str| {
            place.run(&[&["token", "verify", "--jwks", "jwks.json"], more].concat(), input)
        };
        verify(&[token], "").expect_error(1, "of another type");
        verify(&["--any-type", token], "").expect_error(1, reason);
        let (message, signature) = token.rsplit_once('.').unwrap();
        let forged =
            format!("{message}.{}{}", &signature[..20], signature[20..].replacen(|_: char| true, "_", 1));
        verify(&["--any-type", &forged], "").expect_error(1, "signature");
        // The token cut short in many places, and with parts of another.
        let mut many = String::new();
        for end in (0..token.len()).step_by(7) {
            many += &format!("{}\n", &token[..end]);
        }
        for (_, other, _) in table {
            let (ours, theirs): (Vec<_>, Vec<_>) = (token.split('.').collect(), other.split('.').collect());
            many +=
                &format!("{}.{}.{}\n{}.{}.{}\n", ours[0], theirs[1], ours[2], theirs[0], ours[1], ours[2]);
        }
        let verified = verify(&["--any-type"], &many);
        verified.expect_error(1, "tokens are not valid");
        assert!(!verified.out.contains(": valid"), "{verified:?}");
    }
}

#[test]
fn a_key_id_with_line_ends_stays_on_its_line() {
    use base64::Engine;
    let part = |json: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json);
    let header = r#"{"alg":"EdDSA","kid":"\u001b[31mx\nkey: forged, a key of this installation"}"#;
    let token = format!("{}.{}.{}", part(header), part("{}"), part("s"));
    let shown = founded().run(&["token", "inspect", "-"], format!("{token}\n"));
    let out = &shown.expect(0, "inspect").out;
    assert!(!out.contains('\u{1b}') && !out.contains("\nkey: forged"), "{out}");
    assert_eq!(out.lines().filter(|line| line.starts_with("key: ")).count(), 1, "{out}");
}
