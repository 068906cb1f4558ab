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
/// The time of issue of every token in these tests, in seconds. Each is valid for a minute.
const START: i64 = 1_800_000_000;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(START + seconds, 0).unwrap()
}

fn encode(part: impl ToString) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

/// A signing key, and the keyring and expected claims that its tokens are verified with.
struct Setup {
    key: Arc<SigningKey>,
    keys: Keyring,
    expected: Expected,
}

impl Setup {
    fn new(algorithm: Algorithm) -> Self {
        let key = SigningKey::random(algorithm);
        let keys = Keyring::from(key.clone());
        Self { key, keys, expected: Expected::new(ISSUER, AUDIENCE) }
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

    /// Verifies the token, one second after it was issued.
    fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        verify(token, &self.keys, &self.expected, at(1))
    }

    #[track_caller]
    fn expect(&self, token: &str, expected: Result<(), TokenError>) {
        assert_eq!(self.verify(token).map(|_| ()), expected);
    }
}

#[test]
fn a_valid_token_is_accepted_with_every_algorithm() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Hs256] {
        let setup = Setup::new(algorithm);
        let claims = setup.verify(&setup.token()).unwrap();
        assert_eq!((claims.sub.as_str(), claims.exp), ("ada", START + 60), "{algorithm}");
    }
}

#[test]
fn the_verified_claims_are_the_issued_claims() {
    use super::super::issue::{Grant, Issuer};

    let setup = Setup::new(Algorithm::EdDsa);
    let issuer = Issuer::new(ISSUER, AUDIENCE, Duration::minutes(1));
    let grant = Grant { subject: "ada".to_owned(), roles: vec!["admin".to_owned()], ..Grant::default() };
    let issued = issuer.issue(&setup.key, &grant, at(0)).unwrap();
    assert_eq!(setup.verify(&issued.token), Ok(issued.claims));
}

#[test]
fn rfc_8725_3_1_a_token_with_another_alg_than_its_key_is_refused() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Hs256] {
        let setup = Setup::new(algorithm);
        for claimed in ["EdDSA", "ES256", "HS256", "HS384", "RS256", "ES384", "Ed25519"] {
            let is_own = match algorithm {
                Algorithm::EdDsa => ["EdDSA", "Ed25519"].contains(&claimed),
                Algorithm::Es256 => claimed == "ES256",
                Algorithm::Hs256 => claimed == "HS256",
            };
            let expected = if is_own { Ok(()) } else { Err(TokenError::AlgorithmRefused) };
            setup.expect(&setup.token_with_header("alg", claimed), expected);
        }
    }
}

/// The attack behind the rule: a public key, which everyone knows, is used as the secret of an HMAC.
#[test]
fn rfc_8725_3_1_a_public_key_is_not_accepted_as_a_shared_secret() {
    let setup = Setup::new(Algorithm::EdDsa);
    let public = serde_json::to_value(setup.keys.jwks()).unwrap();
    let point = URL_SAFE_NO_PAD.decode(public["keys"][0]["x"].as_str().unwrap()).unwrap();
    let forger = SigningKey::with_kid(setup.key.kid(), Algorithm::Hs256, &KeyMaterial::from_bytes(point));
    let header = encode(with(setup.header(), "alg", "HS256"));
    let forged = forger.unwrap().sign_parts(&header, &encode(setup.payload())).unwrap();
    setup.expect(&forged, Err(TokenError::AlgorithmRefused));
}

#[test]
fn rfc_8725_3_2_alg_none_is_refused_in_every_spelling() {
    let setup = Setup::new(Algorithm::EdDsa);
    for none in [json!("none"), json!("None"), json!("NONE"), json!(""), json!(null), json!(["EdDSA"])] {
        let header = with(setup.header(), "alg", none);
        let unsigned = format!("{}.{}.", encode(&header), encode(setup.payload()));
        setup.expect(&unsigned, Err(TokenError::AlgorithmRefused));
        setup.expect(&setup.sign(header, setup.payload()), Err(TokenError::AlgorithmRefused));
    }
    let mut unspoken = setup.header();
    unspoken.as_object_mut().unwrap().remove("alg");
    setup.expect(&setup.sign(unspoken, setup.payload()), Err(TokenError::AlgorithmRefused));
}

#[test]
fn rfc_8725_3_3_a_signature_of_another_message_or_key_is_refused() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Hs256] {
        let setup = Setup::new(algorithm);
        let token = setup.token();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let header = message.split_once('.').unwrap().0;
        let raised = encode(with(setup.payload(), "roles", json!(["admin"])));
        let stranger = Setup { key: SigningKey::random(algorithm), ..Setup::new(algorithm) };
        let strangers = stranger.sign(setup.header(), setup.payload());
        let cases = [
            ("another payload", format!("{header}.{raised}.{signature}"), TokenError::SignatureWrong),
            ("no signature", format!("{message}."), TokenError::SignatureWrong),
            ("half a signature", format!("{message}.{}", &signature[..40]), TokenError::SignatureWrong),
            ("a signature of zeros", format!("{message}.{}", "A".repeat(86)), TokenError::SignatureWrong),
            ("a stranger's signature", strangers, TokenError::SignatureWrong),
            ("a signature that is no base64url", format!("{message}.{signature}="), TokenError::Malformed),
        ];
        for (name, forged, expected) in cases {
            assert_eq!(setup.verify(&forged), Err(expected), "{algorithm}: {name}");
        }
    }
}

#[test]
fn rfc_8725_3_4_a_public_key_that_is_not_on_its_curve_is_refused() {
    let off_curve = json!({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    });
    let read = VerifyingKey::from_jwk(off_curve.to_string());
    assert_eq!(read.unwrap_err(), KeyError::JwkInvalid);
}

#[test]
fn rfc_8725_3_6_an_encrypted_token_is_refused_and_nothing_is_decompressed() {
    let setup = Setup::new(Algorithm::EdDsa);
    // Five parts are a JWE (RFC 7516 §7.1), and only there `zip` has a meaning.
    let encrypted = encode(with(setup.header(), "zip", "DEF")) + "..AAAA.AAAA.AAAA";
    setup.expect(&encrypted, Err(TokenError::Malformed));
    setup.expect(&setup.token_with_header("zip", "DEF"), Ok(()));
}

#[test]
fn rfc_8725_3_7_a_header_or_payload_that_is_not_utf_8_is_refused() {
    let setup = Setup::new(Algorithm::EdDsa);
    let (header, payload) = (setup.header().to_string(), setup.payload().to_string());
    let latin = |text: &str| {
        let (start, end) = text.split_at(text.len() - 1);
        URL_SAFE_NO_PAD.encode([start.as_bytes(), b",\"x\":\"\xe9\"", end.as_bytes()].concat())
    };
    let sign = |header: &str, payload: &str| setup.key.sign_parts(header, payload).unwrap();
    setup.expect(&sign(&latin(&header), &encode(&payload)), Err(TokenError::Malformed));
    setup.expect(&sign(&encode(&header), &latin(&payload)), Err(TokenError::Malformed));
}

#[test]
fn rfc_8725_3_8_another_issuer_and_an_empty_subject_are_refused() {
    let setup = Setup::new(Algorithm::EdDsa);
    for other in ["", "https://id.example/", "HTTPS://ID.EXAMPLE", "https://id.example.evil"] {
        setup.expect(&setup.token_with_claim("iss", other), Err(TokenError::IssuerWrong));
    }
    setup.expect(&setup.token_with_claim("sub", ""), Err(TokenError::ClaimInvalid("sub")));
}

#[test]
fn rfc_8725_3_9_another_audience_is_refused() {
    let setup = Setup::new(Algorithm::EdDsa);
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
        let result = setup.verify(&setup.token_with_claim("aud", audience.clone()));
        assert_eq!(result.map(|_| ()), expected, "{audience}");
    }
}

#[test]
fn rfc_8725_3_10_header_parameters_that_bring_a_key_or_an_extension_are_refused() {
    let setup = Setup::new(Algorithm::EdDsa);
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
        let header = with(setup.header(), name, value);
        setup.expect(&setup.sign(&header, setup.payload()), Err(TokenError::HeaderRefused(name)));
        let forged = stranger.sign_parts(&encode(&header), &encode(setup.payload())).unwrap();
        setup.expect(&forged, Err(TokenError::HeaderRefused(name)));
    }
}

#[test]
fn rfc_8725_3_10_a_kid_is_only_compared() {
    let setup = Setup::new(Algorithm::EdDsa);
    for kid in ["", "../../../dev/null", "x' or '1'='1", "\u{0}", &"k".repeat(2_000)] {
        setup.expect(&setup.token_with_header("kid", kid), Err(TokenError::KeyUnknown));
    }
    for kid in [json!(7), json!(null), json!([setup.key.kid()])] {
        setup.expect(&setup.token_with_header("kid", kid), Err(TokenError::HeaderRefused("kid")));
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
    let setup = Setup::new(Algorithm::EdDsa);
    let results = |token: &str| {
        EVERY_TYPE.map(|typ| {
            let expected = setup.expected.clone().with_type(typ);
            match verify(token, &setup.keys, &expected, at(1)) {
                Ok(_) => true,
                Err(TokenError::TypeRefused) => false,
                Err(other) => panic!("{other}"),
            }
        })
    };
    for (typ, accepted) in cases {
        assert_eq!(results(&setup.token_with_header("typ", typ.clone())), accepted, "{typ}");
    }
    let mut untyped = setup.header();
    untyped.as_object_mut().unwrap().remove("typ");
    assert_eq!(results(&setup.sign(untyped, setup.payload())), [false, false, true], "no typ");
    setup.expect(&setup.token_with_header("typ", 1), Err(TokenError::HeaderRefused("typ")));
}

#[test]
fn rfc_8725_3_12_another_kind_of_token_of_the_same_issuer_is_refused() {
    let setup = Setup::new(Algorithm::EdDsa);
    let id_token = with(with(setup.payload(), "nonce", "n"), "aud", "client");
    setup.expect(
        &setup.sign(with(setup.header(), "typ", "JWT"), id_token.clone()),
        Err(TokenError::TypeRefused),
    );
    setup.expect(&setup.sign(setup.header(), id_token), Err(TokenError::AudienceWrong));
}

#[test]
fn a_token_is_valid_from_nbf_until_just_before_exp() {
    let setup = Setup::new(Algorithm::Hs256);
    let token = setup.token();
    let millisecond = Duration::milliseconds(1);
    let strict = setup.expected.clone();
    let lenient = strict.clone().with_leeway(Duration::seconds(5));
    let exact = strict.clone().with_not_before_tolerance(Duration::zero());
    let unlimited = strict.clone().with_leeway(Duration::MAX);
    let negative = strict.clone().with_leeway(Duration::MIN);
    let cases = [
        ("at nbf", &strict, at(0), Ok(())),
        ("a clock 60 s slow", &strict, at(-60), Ok(())),
        ("a clock more than 60 s slow", &strict, at(-60) - millisecond, Err(TokenError::NotYetValid)),
        ("without tolerance", &exact, at(0), Ok(())),
        ("without tolerance, early", &exact, at(0) - millisecond, Err(TokenError::NotYetValid)),
        ("just before exp", &strict, at(60) - millisecond, Ok(())),
        ("at exp", &strict, at(60), Err(TokenError::Expired)),
        ("with leeway", &lenient, at(65) - millisecond, Ok(())),
        ("at the end of the leeway", &lenient, at(65), Err(TokenError::Expired)),
        ("with the maximum leeway", &unlimited, DateTime::<Utc>::MAX_UTC, Ok(())),
        ("with a negative leeway", &negative, at(0), Err(TokenError::Expired)),
        ("at the last date", &strict, DateTime::<Utc>::MAX_UTC, Err(TokenError::Expired)),
        ("at the first date", &strict, DateTime::<Utc>::MIN_UTC, Err(TokenError::NotYetValid)),
    ];
    for (name, expected, now, result) in cases {
        assert_eq!(verify(&token, &setup.keys, expected, now).map(|_| ()), result, "{name}");
    }
}

#[test]
fn nbf_iat_and_exp_are_checked_independently() {
    let setup = Setup::new(Algorithm::Hs256);
    let cases = [
        ("nbf", START + 61, Ok(())),
        ("nbf", START + 62, Err(TokenError::NotYetValid)),
        ("iat", START + 61, Ok(())),
        ("iat", START + 62, Err(TokenError::NotYetValid)),
        ("exp", START + 1, Err(TokenError::Expired)),
        ("exp", 0, Err(TokenError::Expired)),
    ];
    for (claim, seconds, expected) in cases {
        let result = setup.verify(&setup.token_with_claim(claim, seconds));
        assert_eq!(result.map(|_| ()), expected, "{claim} {seconds}");
    }
}

#[test]
fn a_token_that_is_expired_and_wrong_is_reported_as_wrong() {
    let setup = Setup::new(Algorithm::EdDsa);
    let expired = with(setup.payload(), "exp", START - 60);
    setup.expect(&setup.sign(setup.header(), &expired), Err(TokenError::Expired));
    assert!(TokenError::Expired.is_expired());

    let cases = [
        ("iss", json!("other"), TokenError::IssuerWrong),
        ("aud", json!("other"), TokenError::AudienceWrong),
        ("sub", json!(1), TokenError::ClaimInvalid("sub")),
        ("roles", json!(1), TokenError::ClaimInvalid("roles")),
        ("nbf", json!(START + 600), TokenError::NotYetValid),
    ];
    for (claim, value, expected) in cases {
        setup.expect(&setup.sign(setup.header(), with(expired.clone(), claim, value)), Err(expected));
        assert!(!expected.is_expired());
    }
    setup.expect(&setup.sign(with(setup.header(), "typ", "JWT"), &expired), Err(TokenError::TypeRefused));
    let stranger = Setup { key: SigningKey::random(Algorithm::EdDsa), ..Setup::new(Algorithm::EdDsa) };
    setup.expect(&stranger.sign(setup.header(), &expired), Err(TokenError::SignatureWrong));
}

#[test]
fn no_claim_is_read_before_the_signature_was_verified() {
    let setup = Setup::new(Algorithm::EdDsa);
    let stranger = Setup { key: SigningKey::random(Algorithm::EdDsa), ..Setup::new(Algorithm::EdDsa) };
    for payload in [json!([]), json!({}), with(setup.payload(), "exp", 0)] {
        setup.expect(&stranger.sign(setup.header(), payload), Err(TokenError::SignatureWrong));
    }
}

#[test]
fn a_token_that_is_not_three_parts_of_base64url_with_json_objects_is_malformed() {
    let setup = Setup::new(Algorithm::EdDsa);
    let token = setup.token();
    let header = setup.header().to_string();
    let sign = |header: &str| setup.sign(header, setup.payload());
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
        ("a list for a payload", setup.sign(&header, "[]")),
        ("text behind the payload", setup.sign(&header, setup.payload().to_string() + "{}")),
    ];
    for (name, token) in cases {
        assert_eq!(setup.verify(&token), Err(TokenError::Malformed), "{name}");
    }
}

/// The unused bits of the last character must be zero. Otherwise a token would have several encodings.
#[test]
fn a_signature_has_only_one_valid_encoding() {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let setup = Setup::new(Algorithm::EdDsa);
    let token = setup.token();
    let (rest, last) = token.split_at(token.len() - 1);
    for other in ALPHABET.chars().filter(|letter| !last.contains(*letter)) {
        assert!(setup.verify(&format!("{rest}{other}")).is_err(), "{other}");
    }
}

#[test]
fn an_unknown_header_parameter_has_no_effect() {
    let setup = Setup::new(Algorithm::EdDsa);
    for (name, value) in [("cty", json!("JWT")), ("x5t", json!("hint")), ("x-app", json!({"a": [1]}))] {
        setup.expect(&setup.token_with_header(name, value), Ok(()));
    }
}

#[test]
fn a_token_without_kid_is_verified_with_the_only_key() {
    let setup = Setup::new(Algorithm::EdDsa);
    let mut header = setup.header();
    header.as_object_mut().unwrap().remove("kid");
    let token = setup.sign(header, setup.payload());
    setup.expect(&token, Ok(()));

    let second = SigningKey::random(Algorithm::EdDsa).verifying_key().clone();
    let keys = Keyring::new([setup.key.verifying_key().clone(), second]).unwrap();
    assert_eq!(verify(&token, &keys, &setup.expected, at(1)), Err(TokenError::KeyUnknown));
}

#[test]
fn a_key_without_kid_verifies_tokens_with_any_kid() {
    let secret = KeyMaterial::generate(Algorithm::Hs256).unwrap();
    let key = Arc::new(SigningKey::with_kid("the issuer's name", Algorithm::Hs256, &secret).unwrap());
    let keys = Keyring::from(VerifyingKey::hs256(secret.as_bytes()).unwrap());
    let setup = Setup { key, keys, expected: Expected::new(ISSUER, AUDIENCE) };
    setup.expect(&setup.token(), Ok(()));
}

#[test]
fn tokens_of_several_algorithms_are_each_verified_with_their_own_key() {
    let setups = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Hs256].map(Setup::new);
    let keys = Keyring::new(setups.iter().map(|setup| setup.key.verifying_key().clone())).unwrap();
    for setup in &setups {
        assert!(verify(&setup.token(), &keys, &setup.expected, at(1)).is_ok());
        for other in &setups {
            let borrowed = setup.token_with_header("kid", other.key.kid());
            let result = verify(&borrowed, &keys, &setup.expected, at(1)).map(|_| ());
            let is_own = setup.key.kid() == other.key.kid();
            let expected = if is_own { Ok(()) } else { Err(TokenError::AlgorithmRefused) };
            assert_eq!(result, expected);
        }
    }
}

#[test]
fn a_token_over_8_kib_is_refused_before_it_is_parsed() {
    let setup = Setup::new(Algorithm::EdDsa);
    let mut lengths = Vec::new();
    for padding in 5_700..6_100 {
        let token = setup.token_with_claim("x", "x".repeat(padding));
        let expected = if token.len() <= 8192 { Ok(()) } else { Err(TokenError::TooLong) };
        setup.expect(&token, expected);
        lengths.push(token.len());
    }
    assert!(lengths.iter().any(|length| (8189..=8192).contains(length)), "none is just short enough");
    assert!(lengths.iter().any(|length| (8193..=8196).contains(length)), "none is just too long");
    setup.expect(&".".repeat(8193), Err(TokenError::TooLong));
    setup.expect(&"a".repeat(8192), Err(TokenError::Malformed));
}

#[test]
fn every_error_says_what_is_wrong_and_what_is_accepted() {
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
