use std::sync::Arc;

use chrono::Duration;
use serde_json::{Value, json};

use super::super::algorithm::Algorithm;
use super::super::error::KeyError;
use super::super::expected::TokenType;
use super::super::fixtures::with;
use super::super::key_material::KeyMaterial;
use super::super::signing_key::SigningKey;
use super::super::verifying_key::VerifyingKey;
use super::*;

const ISSUER: &str = "https://id.example";
const AUDIENCE: &str = "https://api.example";
/// When every token of these tests is issued, in seconds; each is good for a minute.
const START: i64 = 1_800_000_000;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(START + seconds, 0).unwrap()
}

fn encode(part: impl ToString) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

/// A key, what its tokens look like, and a judge of them.
struct Desk {
    key: Arc<SigningKey>,
    ring: Keyring,
    expected: Expected,
}

impl Desk {
    fn new(algorithm: Algorithm) -> Self {
        let key = SigningKey::random(algorithm);
        let ring = Keyring::from(key.clone());
        Self { key, ring, expected: Expected::new(ISSUER, AUDIENCE) }
    }

    fn header(&self) -> Value {
        json!({"alg": self.key.algorithm(), "typ": "at+jwt", "kid": self.key.kid()})
    }

    fn payload(&self) -> Value {
        json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "iat": START, "nbf": START, "exp": START + 60})
    }

    fn token(&self) -> String {
        self.sign(self.header(), self.payload())
    }

    fn token_with_header(&self, member: &str, value: impl Into<Value>) -> String {
        self.sign(with(self.header(), member, value), self.payload())
    }

    fn token_with_claim(&self, claim: &str, value: impl Into<Value>) -> String {
        self.sign(self.header(), with(self.payload(), claim, value))
    }

    fn sign(&self, header: impl ToString, payload: impl ToString) -> String {
        self.key.sign_parts(&encode(header), &encode(payload)).unwrap()
    }

    /// The verdict, one second after the token was issued.
    fn verdict(&self, token: &str) -> Result<Claims, TokenError> {
        verify(token, &self.ring, &self.expected, at(1))
    }

    #[track_caller]
    fn expect(&self, token: &str, expected: Result<(), TokenError>) {
        assert_eq!(self.verdict(token).map(|_| ()), expected);
    }
}

#[test]
fn a_genuine_token_in_time_is_accepted_under_every_algorithm() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Hs256] {
        let desk = Desk::new(algorithm);
        let claims = desk.verdict(&desk.token()).unwrap();
        assert_eq!((claims.sub.as_str(), claims.exp), ("ada", START + 60), "{algorithm}");
    }
}

#[test]
fn what_is_issued_is_what_is_verified() {
    use super::super::issue::{Grant, Issuer};

    let desk = Desk::new(Algorithm::EdDsa);
    let issuer = Issuer::new(ISSUER, AUDIENCE, Duration::minutes(1));
    let grant = Grant { subject: "ada".to_owned(), roles: vec!["admin".to_owned()], ..Grant::default() };
    let issued = issuer.issue(&desk.key, &grant, at(0)).unwrap();
    assert_eq!(desk.verdict(&issued.token), Ok(issued.claims));
}

#[test]
fn rfc_8725_3_1_the_algorithm_is_that_of_the_key_whatever_the_token_says() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Hs256] {
        let desk = Desk::new(algorithm);
        for claimed in ["EdDSA", "ES256", "HS256", "HS384", "RS256", "ES384", "Ed25519"] {
            let is_own = match algorithm {
                Algorithm::EdDsa => ["EdDSA", "Ed25519"].contains(&claimed),
                Algorithm::Es256 => claimed == "ES256",
                Algorithm::Hs256 => claimed == "HS256",
            };
            let expected = if is_own { Ok(()) } else { Err(TokenError::AlgorithmRefused) };
            desk.expect(&desk.token_with_header("alg", claimed), expected);
        }
    }
}

/// The attack that gave the rule: a public key, known to all, taken as the secret of an HMAC.
#[test]
fn rfc_8725_3_1_a_public_key_is_no_shared_secret() {
    let desk = Desk::new(Algorithm::EdDsa);
    let public = serde_json::to_value(desk.ring.jwks()).unwrap();
    let point = URL_SAFE_NO_PAD.decode(public["keys"][0]["x"].as_str().unwrap()).unwrap();
    let forger = SigningKey::with_kid(desk.key.kid(), Algorithm::Hs256, &KeyMaterial::from_bytes(point));
    let header = encode(with(desk.header(), "alg", "HS256"));
    let forged = forger.unwrap().sign_parts(&header, &encode(desk.payload())).unwrap();
    desk.expect(&forged, Err(TokenError::AlgorithmRefused));
}

#[test]
fn rfc_8725_3_2_no_algorithm_is_no_algorithm_in_any_spelling() {
    let desk = Desk::new(Algorithm::EdDsa);
    for none in [json!("none"), json!("None"), json!("NONE"), json!(""), json!(null), json!(["EdDSA"])] {
        let header = with(desk.header(), "alg", none);
        let unsigned = format!("{}.{}.", encode(&header), encode(desk.payload()));
        desk.expect(&unsigned, Err(TokenError::AlgorithmRefused));
        desk.expect(&desk.sign(header, desk.payload()), Err(TokenError::AlgorithmRefused));
    }
    let mut unspoken = desk.header();
    unspoken.as_object_mut().unwrap().remove("alg");
    desk.expect(&desk.sign(unspoken, desk.payload()), Err(TokenError::AlgorithmRefused));
}

#[test]
fn rfc_8725_3_3_the_signature_must_hold_over_every_byte() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Hs256] {
        let desk = Desk::new(algorithm);
        let token = desk.token();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let header = message.split_once('.').unwrap().0;
        let raised = encode(with(desk.payload(), "roles", json!(["admin"])));
        let stranger = Desk { key: SigningKey::random(algorithm), ..Desk::new(algorithm) };
        let strangers = stranger.sign(desk.header(), desk.payload());
        let cases = [
            ("another payload", format!("{header}.{raised}.{signature}"), TokenError::SignatureWrong),
            ("no signature", format!("{message}."), TokenError::SignatureWrong),
            ("half a signature", format!("{message}.{}", &signature[..40]), TokenError::SignatureWrong),
            ("a signature of zeros", format!("{message}.{}", "A".repeat(86)), TokenError::SignatureWrong),
            ("a stranger's signature", strangers, TokenError::SignatureWrong),
            ("a signature that is no base64url", format!("{message}.{signature}="), TokenError::Malformed),
        ];
        for (name, forged, expected) in cases {
            assert_eq!(desk.verdict(&forged), Err(expected), "{algorithm}: {name}");
        }
    }
}

#[test]
fn rfc_8725_3_4_a_public_key_off_its_curve_is_no_key() {
    let off_curve = json!({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    });
    let read = VerifyingKey::from_jwk(off_curve.to_string());
    assert_eq!(read.unwrap_err(), KeyError::JwkInvalid);
}

#[test]
fn rfc_8725_3_6_nothing_is_decrypted_and_so_nothing_is_decompressed() {
    let desk = Desk::new(Algorithm::EdDsa);
    // Five parts are a JWE (RFC 7516 §7.1), the only place where `zip` means something.
    let encrypted = encode(with(desk.header(), "zip", "DEF")) + "..AAAA.AAAA.AAAA";
    desk.expect(&encrypted, Err(TokenError::Malformed));
    desk.expect(&desk.token_with_header("zip", "DEF"), Ok(()));
}

#[test]
fn rfc_8725_3_7_header_and_payload_are_utf_8() {
    let desk = Desk::new(Algorithm::EdDsa);
    let (header, payload) = (desk.header().to_string(), desk.payload().to_string());
    let latin = |text: &str| {
        let (start, end) = text.split_at(text.len() - 1);
        URL_SAFE_NO_PAD.encode([start.as_bytes(), b",\"x\":\"\xe9\"", end.as_bytes()].concat())
    };
    let sign = |header: &str, payload: &str| desk.key.sign_parts(header, payload).unwrap();
    desk.expect(&sign(&latin(&header), &encode(&payload)), Err(TokenError::Malformed));
    desk.expect(&sign(&encode(&header), &latin(&payload)), Err(TokenError::Malformed));
}

#[test]
fn rfc_8725_3_8_issuer_and_subject_are_what_they_must_be() {
    let desk = Desk::new(Algorithm::EdDsa);
    for other in ["", "https://id.example/", "HTTPS://ID.EXAMPLE", "https://id.example.evil"] {
        desk.expect(&desk.token_with_claim("iss", other), Err(TokenError::IssuerWrong));
    }
    desk.expect(&desk.token_with_claim("sub", ""), Err(TokenError::ClaimInvalid("sub")));
}

#[test]
fn rfc_8725_3_9_the_token_is_for_us() {
    let desk = Desk::new(Algorithm::EdDsa);
    let cases = [
        (json!(AUDIENCE), Ok(())),
        (json!(["other", AUDIENCE]), Ok(())),
        (json!("other"), Err(TokenError::AudienceWrong)),
        (json!(["other"]), Err(TokenError::AudienceWrong)),
        (json!([]), Err(TokenError::AudienceWrong)),
        (json!({"a": AUDIENCE}), Err(TokenError::ClaimInvalid("aud"))),
        (json!(null), Err(TokenError::ClaimInvalid("aud"))),
    ];
    for (audience, expected) in cases {
        let verdict = desk.verdict(&desk.token_with_claim("aud", audience.clone()));
        assert_eq!(verdict.map(|_| ()), expected, "{audience}");
    }
}

#[test]
fn rfc_8725_3_10_no_key_and_no_rule_is_taken_from_the_token() {
    let desk = Desk::new(Algorithm::EdDsa);
    let stranger = SigningKey::random(Algorithm::EdDsa);
    let public = serde_json::to_value(Keyring::from(stranger.clone()).jwks()).unwrap()["keys"][0].clone();
    let cases = [
        ("jwk", public),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(true)),
        ("jku", json!(null)),
    ];
    for (name, value) in cases {
        let header = with(desk.header(), name, value);
        desk.expect(&desk.sign(&header, desk.payload()), Err(TokenError::HeaderRefused(name)));
        let forged = stranger.sign_parts(&encode(&header), &encode(desk.payload())).unwrap();
        desk.expect(&forged, Err(TokenError::HeaderRefused(name)));
    }
}

#[test]
fn rfc_8725_3_10_a_kid_is_compared_and_nothing_else() {
    let desk = Desk::new(Algorithm::EdDsa);
    for kid in ["", "../../../dev/null", "x' or '1'='1", "\u{0}", &"k".repeat(2_000)] {
        desk.expect(&desk.token_with_header("kid", kid), Err(TokenError::KeyUnknown));
    }
    for kid in [json!(7), json!(null), json!([desk.key.kid()])] {
        desk.expect(&desk.token_with_header("kid", kid), Err(TokenError::HeaderRefused("kid")));
    }
}

#[test]
fn rfc_8725_3_11_only_the_expected_type_is_accepted_in_any_case() {
    const EVERY_TYPE: [TokenType; 3] = [TokenType::AtJwt, TokenType::Jwt, TokenType::Any];
    let cases = [
        (json!("at+jwt"), [true, false, true]),
        (json!("AT+JWT"), [true, false, true]),
        (json!("application/at+jwt"), [true, false, true]),
        (json!("Application/AT+jwt"), [true, false, true]),
        (json!("JWT"), [false, true, true]),
        (json!("application/jwt"), [false, true, true]),
        (json!("logout+jwt"), [false, false, true]),
        (json!("application/"), [false, false, true]),
        (json!("applicatioñ/at+jwt"), [false, false, true]),
        (json!("text/at+jwt"), [false, false, true]),
        (json!(""), [false, false, true]),
    ];
    let desk = Desk::new(Algorithm::EdDsa);
    let verdicts = |token: &str| {
        EVERY_TYPE.map(|typ| {
            let expected = desk.expected.clone().with_type(typ);
            match verify(token, &desk.ring, &expected, at(1)) {
                Ok(_) => true,
                Err(TokenError::TypeRefused) => false,
                Err(other) => panic!("{other}"),
            }
        })
    };
    for (typ, accepted) in cases {
        assert_eq!(verdicts(&desk.token_with_header("typ", typ.clone())), accepted, "{typ}");
    }
    let mut untyped = desk.header();
    untyped.as_object_mut().unwrap().remove("typ");
    assert_eq!(verdicts(&desk.sign(untyped, desk.payload())), [false, false, true], "no typ");
    desk.expect(&desk.token_with_header("typ", 1), Err(TokenError::HeaderRefused("typ")));
}

#[test]
fn rfc_8725_3_12_another_kind_of_token_of_the_same_issuer_is_refused() {
    let desk = Desk::new(Algorithm::EdDsa);
    let id_token = with(with(desk.payload(), "nonce", "n"), "aud", "client");
    desk.expect(
        &desk.sign(with(desk.header(), "typ", "JWT"), id_token.clone()),
        Err(TokenError::TypeRefused),
    );
    desk.expect(&desk.sign(desk.header(), id_token), Err(TokenError::AudienceWrong));
}

#[test]
fn a_token_is_good_from_its_beginning_until_just_before_its_end() {
    let desk = Desk::new(Algorithm::Hs256);
    let token = desk.token();
    let millisecond = Duration::milliseconds(1);
    let strict = desk.expected.clone();
    let lenient = strict.clone().with_leeway(Duration::seconds(5));
    let punctual = strict.clone().with_not_before_tolerance(Duration::zero());
    let eternal = strict.clone().with_leeway(Duration::MAX);
    let impossible = strict.clone().with_leeway(Duration::MIN);
    let cases = [
        ("at its beginning", &strict, at(0), Ok(())),
        ("a clock 60 s slow", &strict, at(-60), Ok(())),
        ("a clock slower still", &strict, at(-60) - millisecond, Err(TokenError::NotYetValid)),
        ("without tolerance", &punctual, at(0), Ok(())),
        ("without tolerance, early", &punctual, at(0) - millisecond, Err(TokenError::NotYetValid)),
        ("just before its end", &strict, at(60) - millisecond, Ok(())),
        ("at its end", &strict, at(60), Err(TokenError::Expired)),
        ("with leeway", &lenient, at(65) - millisecond, Ok(())),
        ("at the end of the leeway", &lenient, at(65), Err(TokenError::Expired)),
        ("with all the leeway there is", &eternal, DateTime::<Utc>::MAX_UTC, Ok(())),
        ("with less than none", &impossible, at(0), Err(TokenError::Expired)),
        ("at the end of days", &strict, DateTime::<Utc>::MAX_UTC, Err(TokenError::Expired)),
        ("at their beginning", &strict, DateTime::<Utc>::MIN_UTC, Err(TokenError::NotYetValid)),
    ];
    for (name, expected, now, verdict) in cases {
        assert_eq!(verify(&token, &desk.ring, expected, now).map(|_| ()), verdict, "{name}");
    }
}

#[test]
fn each_time_is_looked_at_by_itself() {
    let desk = Desk::new(Algorithm::Hs256);
    let cases = [
        ("nbf", START + 61, Ok(())),
        ("nbf", START + 62, Err(TokenError::NotYetValid)),
        ("iat", START + 61, Ok(())),
        ("iat", START + 62, Err(TokenError::NotYetValid)),
        ("exp", START + 1, Err(TokenError::Expired)),
        ("exp", 0, Err(TokenError::Expired)),
    ];
    for (claim, seconds, expected) in cases {
        let verdict = desk.verdict(&desk.token_with_claim(claim, seconds));
        assert_eq!(verdict.map(|_| ()), expected, "{claim} {seconds}");
    }
}

#[test]
fn expired_is_said_only_of_a_token_that_was_good() {
    let desk = Desk::new(Algorithm::EdDsa);
    let expired = with(desk.payload(), "exp", START - 60);
    desk.expect(&desk.sign(desk.header(), &expired), Err(TokenError::Expired));
    assert!(TokenError::Expired.is_expired());

    let cases = [
        ("iss", json!("other"), TokenError::IssuerWrong),
        ("aud", json!("other"), TokenError::AudienceWrong),
        ("sub", json!(1), TokenError::ClaimInvalid("sub")),
        ("roles", json!(1), TokenError::ClaimInvalid("roles")),
        ("nbf", json!(START + 600), TokenError::NotYetValid),
    ];
    for (claim, value, expected) in cases {
        desk.expect(&desk.sign(desk.header(), with(expired.clone(), claim, value)), Err(expected));
        assert!(!expected.is_expired());
    }
    desk.expect(&desk.sign(with(desk.header(), "typ", "JWT"), &expired), Err(TokenError::TypeRefused));
    let stranger = Desk { key: SigningKey::random(Algorithm::EdDsa), ..Desk::new(Algorithm::EdDsa) };
    desk.expect(&stranger.sign(desk.header(), &expired), Err(TokenError::SignatureWrong));
}

#[test]
fn a_claim_is_not_read_before_the_signature_holds() {
    let desk = Desk::new(Algorithm::EdDsa);
    let stranger = Desk { key: SigningKey::random(Algorithm::EdDsa), ..Desk::new(Algorithm::EdDsa) };
    for payload in [json!([]), json!({}), with(desk.payload(), "exp", 0)] {
        desk.expect(&stranger.sign(desk.header(), payload), Err(TokenError::SignatureWrong));
    }
}

#[test]
fn what_is_not_three_parts_of_base64url_with_json_objects_is_malformed() {
    let desk = Desk::new(Algorithm::EdDsa);
    let token = desk.token();
    let header = desk.header().to_string();
    let sign = |header: &str| desk.sign(header, desk.payload());
    let cases = [
        ("nothing", String::new()),
        ("dots", "..".to_owned()),
        ("one part", "a".to_owned()),
        ("two parts", token.rsplit_once('.').unwrap().0.to_owned()),
        ("four parts", format!("{token}.a")),
        ("a part in front", format!(".{token}")),
        ("a space in front", format!(" {token}")),
        ("a line end behind", format!("{token}\n")),
        ("padding", token.replacen('.', "=.", 1)),
        ("the other alphabet", token.replacen('.', "+/.", 1)),
        ("letters beyond ASCII", token.replacen('.', "é.", 1)),
        ("a known member twice", sign(&header.replacen('{', r#"{"alg":"EdDSA","#, 1))),
        ("an unknown member twice", sign(&header.replacen('{', r#"{"x":1,"x":2,"#, 1))),
        ("a list for a header", sign(r#"["EdDSA"]"#)),
        ("text behind the header", sign(&(header.clone() + "{}"))),
        ("a header that ends early", sign(&header.replace('}', ""))),
        ("a list for a payload", desk.sign(&header, "[]")),
        ("text behind the payload", desk.sign(&header, desk.payload().to_string() + "{}")),
    ];
    for (name, token) in cases {
        assert_eq!(desk.verdict(&token), Err(TokenError::Malformed), "{name}");
    }
}

/// Bits that the last character carries in vain must be zero, or a cache of tokens could be walked around.
#[test]
fn a_signature_has_one_spelling() {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let desk = Desk::new(Algorithm::EdDsa);
    let token = desk.token();
    let (rest, last) = token.split_at(token.len() - 1);
    for other in ALPHABET.chars().filter(|letter| !last.contains(*letter)) {
        assert!(desk.verdict(&format!("{rest}{other}")).is_err(), "{other}");
    }
}

#[test]
fn an_unknown_header_member_has_no_effect() {
    let desk = Desk::new(Algorithm::EdDsa);
    for (name, value) in [("cty", json!("JWT")), ("x5t", json!("hint")), ("x-app", json!({"a": [1]}))] {
        desk.expect(&desk.token_with_header(name, value), Ok(()));
    }
}

#[test]
fn a_token_without_a_name_is_checked_with_the_only_key() {
    let desk = Desk::new(Algorithm::EdDsa);
    let mut header = desk.header();
    header.as_object_mut().unwrap().remove("kid");
    let token = desk.sign(header, desk.payload());
    desk.expect(&token, Ok(()));

    let second = SigningKey::random(Algorithm::EdDsa).verifying_key().clone();
    let ring = Keyring::new([desk.key.verifying_key().clone(), second]).unwrap();
    assert_eq!(verify(&token, &ring, &desk.expected, at(1)), Err(TokenError::KeyUnknown));
}

#[test]
fn a_key_without_a_name_serves_tokens_that_name_one() {
    let secret = KeyMaterial::generate(Algorithm::Hs256).unwrap();
    let key = Arc::new(SigningKey::with_kid("the issuer's name", Algorithm::Hs256, &secret).unwrap());
    let ring = Keyring::from(VerifyingKey::hs256(secret.as_bytes()).unwrap());
    let desk = Desk { key, ring, expected: Expected::new(ISSUER, AUDIENCE) };
    desk.expect(&desk.token(), Ok(()));
}

#[test]
fn tokens_of_two_algorithms_are_each_checked_with_their_own_key() {
    let desks = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Hs256].map(Desk::new);
    let ring = Keyring::new(desks.iter().map(|desk| desk.key.verifying_key().clone())).unwrap();
    for desk in &desks {
        assert!(verify(&desk.token(), &ring, &desk.expected, at(1)).is_ok());
        for other in &desks {
            let borrowed = desk.token_with_header("kid", other.key.kid());
            let verdict = verify(&borrowed, &ring, &desk.expected, at(1)).map(|_| ());
            let expected = match desk.key.kid() == other.key.kid() {
                true => Ok(()),
                false => Err(TokenError::AlgorithmRefused),
            };
            assert_eq!(verdict, expected);
        }
    }
}

#[test]
fn a_token_over_8_kib_is_refused_unread() {
    let desk = Desk::new(Algorithm::EdDsa);
    let mut lengths = Vec::new();
    for padding in 5_700..6_100 {
        let token = desk.token_with_claim("x", "x".repeat(padding));
        let expected = match token.len() <= 8192 {
            true => Ok(()),
            false => Err(TokenError::TooLong),
        };
        desk.expect(&token, expected);
        lengths.push(token.len());
    }
    assert!(lengths.iter().any(|length| (8189..=8192).contains(length)), "none is just short enough");
    assert!(lengths.iter().any(|length| (8193..=8196).contains(length)), "none is just too long");
    desk.expect(&".".repeat(8193), Err(TokenError::TooLong));
    desk.expect(&"a".repeat(8192), Err(TokenError::Malformed));
}

#[test]
fn every_refusal_says_what_was_wrong_and_then_what_is_accepted() {
    let refusals = [
        TokenError::TooLong,
        TokenError::Malformed,
        TokenError::HeaderRefused("jku"),
        TokenError::AlgorithmRefused,
        TokenError::KeyUnknown,
        TokenError::TypeRefused,
        TokenError::SignatureWrong,
        TokenError::ClaimInvalid("exp"),
        TokenError::IssuerWrong,
        TokenError::AudienceWrong,
        TokenError::NotYetValid,
        TokenError::Expired,
    ];
    for refusal in refusals {
        let text = refusal.to_string();
        assert!(text.starts_with("the token") && text.contains("accepted") && !text.ends_with('.'), "{text}");
    }
    assert_eq!(TokenError::ClaimMissing("exp").to_string(), "the token has no exp, which is required");
}
