//! The verdict on a token: one pure function of the token, the keys, what is expected, and the time.
//!
//! Follows RFC 8725: the algorithm is the key's, no key is taken from the token, and no claim is believed before
//! the signature. Whether the session behind a genuine token still lives is not known here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Duration, Utc};
use serde_json::Value;

use super::claims::{Claims, Members};
use super::key::Algorithm;
use super::keyring::Keyring;

/// The longest token that is read at all, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Header parameters that say where a key comes from, or how to read the rest: a stranger's word (RFC 8725 §3.10,
/// RFC 7515 §4.1.11, RFC 7797 §3). No extension is understood here, so every `crit` is refused.
const REFUSED_PARAMETERS: [&str; 6] = ["jku", "jwk", "x5u", "x5c", "crit", "b64"];

/// Why a token was refused: the first check that failed.
///
/// # Example
/// ```
/// # use hallpass::token::{Expected, Keyring, TokenError, verify};
/// # let ring = Keyring::from_jwks(hallpass::testing::Mint::new().jwks())?;
/// let verdict = verify("no.such.token", &ring, &Expected::new("i", "a"), chrono::Utc::now());
/// assert_eq!(verdict.unwrap_err(), TokenError::Malformed);
/// # Ok::<(), hallpass::token::KeyError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Longer than [`MAX_TOKEN_BYTES`], and refused unread.
    #[error("the token is too long; at most {MAX_TOKEN_BYTES} bytes are accepted")]
    TooLong,
    /// Not a JWS in compact form with a JSON object as header and payload (RFC 7515 §7.1, RFC 7519 §7.2).
    #[error("the token is malformed; three base64url parts with a JSON object in the first two are accepted")]
    Malformed,
    /// A header parameter, named here, that is never obeyed or has the wrong type (RFC 8725 §3.10).
    #[error("the token's header has an unacceptable {0:?}; alg, typ and kid are accepted")]
    HeaderRefused(&'static str),
    /// No algorithm of ours, or not the key's own (RFC 8725 §3.1, §3.2).
    #[error("the token's algorithm is refused; that of our key is accepted")]
    AlgorithmRefused,
    /// No key of ours has that name (RFC 7515 §4.1.4).
    #[error("the token names a key that is not known; the kid of one of our keys is accepted")]
    KeyUnknown,
    /// A token of another kind (RFC 8725 §3.11).
    #[error("the token is of another type; the expected typ is accepted")]
    TypeRefused,
    /// Changed, or signed by somebody else.
    #[error("the token's signature is wrong; that of our key is accepted")]
    SignatureWrong,
    /// A claim, named here, that must be there and is not.
    #[error("the token has no {0}, which is required")]
    ClaimMissing(&'static str),
    /// A claim, named here, that has the wrong type or is out of range.
    #[error("the token's {0} is unacceptable; the type and range of RFC 7519 are accepted")]
    ClaimInvalid(&'static str),
    /// Issued by somebody else (RFC 8725 §3.8).
    #[error("the token is from another issuer; the expected iss is accepted")]
    IssuerWrong,
    /// Issued for somebody else (RFC 8725 §3.9).
    #[error("the token is for another audience; the expected aud is accepted")]
    AudienceWrong,
    /// From the future, by more than clocks differ (RFC 7519 §4.1.5).
    #[error("the token is not yet valid; it is accepted from its nbf and iat on")]
    NotYetValid,
    /// Fully genuine, but its time has come (RFC 7519 §4.1.4).
    #[error("the token has expired; it was accepted until its exp")]
    Expired,
}

impl TokenError {
    /// Whether the token was in order but for its age; what a client cures by refreshing.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::TokenError;
    ///
    /// assert!(TokenError::Expired.is_expired());
    /// assert!(!TokenError::SignatureWrong.is_expired());
    /// ```
    pub fn is_expired(self) -> bool {
        self == Self::Expired
    }
}

/// Which tokens are accepted by their `typ` header (RFC 8725 §3.11). Defaults to access tokens.
///
/// Compared without regard to case, and with or without `application/` (RFC 7515 §4.1.9).
///
/// # Example
/// ```
/// use hallpass::token::{Expected, TokenType};
///
/// let expected = Expected::new("https://id.example", "https://api.example").with_type(TokenType::Jwt);
/// # let _ = expected;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TokenType {
    /// `at+jwt`, the access tokens of this house and of RFC 9068 §2.1.
    #[default]
    AtJwt,
    /// `JWT`, as many older issuers write.
    Jwt,
    /// Whatever it is, or none. Safe only if the issuer signs nothing but access tokens with these keys for this
    /// audience.
    Any,
}

impl TokenType {
    fn accepts(self, typ: Option<&str>) -> bool {
        let name = match self {
            Self::AtJwt => "at+jwt",
            Self::Jwt => "jwt",
            Self::Any => return true,
        };
        let Some(typ) = typ else { return false };
        let (prefix, rest) = typ.split_at_checked("application/".len()).unwrap_or((typ, ""));
        let typ = if prefix.eq_ignore_ascii_case("application/") { rest } else { typ };
        typ.eq_ignore_ascii_case(name)
    }
}

/// What a token must say to be ours.
///
/// # Example
/// ```
/// use chrono::Duration;
/// use hallpass::token::Expected;
///
/// let expected = Expected::new("https://id.example", "https://api.example").with_leeway(Duration::seconds(5));
/// assert_eq!(expected.issuer(), "https://id.example");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    issuer: String,
    audience: String,
    typ: TokenType,
    leeway: Duration,
    not_before_tolerance: Duration,
}

impl Expected {
    /// Access tokens of this issuer for this audience, refused from their `exp` on.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            typ: TokenType::default(),
            leeway: Duration::zero(),
            not_before_tolerance: Duration::seconds(60),
        }
    }

    /// Tokens of another type. Defaults to [`TokenType::AtJwt`].
    ///
    /// # Example
    /// ```
    /// use hallpass::token::{Expected, TokenType};
    ///
    /// let expected = Expected::new("i", "a").with_type(TokenType::Any);
    /// # let _ = expected;
    /// ```
    #[must_use]
    pub fn with_type(mut self, typ: TokenType) -> Self {
        self.typ = typ;
        self
    }

    /// How long after its `exp` a token is still accepted. Defaults to zero.
    ///
    /// # Example
    /// ```
    /// use chrono::Duration;
    /// use hallpass::token::Expected;
    ///
    /// let expected = Expected::new("i", "a").with_leeway(Duration::seconds(30));
    /// # let _ = expected;
    /// ```
    #[must_use]
    pub fn with_leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// How far in the future `nbf` and `iat` may be, since clocks differ. Defaults to 60 s.
    ///
    /// # Example
    /// ```
    /// use chrono::Duration;
    /// use hallpass::token::Expected;
    ///
    /// let strict = Expected::new("i", "a").with_not_before_tolerance(Duration::zero());
    /// # let _ = strict;
    /// ```
    #[must_use]
    pub fn with_not_before_tolerance(mut self, tolerance: Duration) -> Self {
        self.not_before_tolerance = tolerance;
        self
    }

    /// The issuer that a token must name.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The audience that a token must name.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// The expiry comes last, so that "expired" is said of nothing but a token that was good.
    pub(super) fn admit(&self, claims: &Claims, now: DateTime<Utc>) -> Result<(), TokenError> {
        if claims.iss != self.issuer {
            return Err(TokenError::IssuerWrong);
        }
        if !claims.aud.contains(&self.audience) {
            return Err(TokenError::AudienceWrong);
        }
        // Differences of dates cannot overflow; a sum of a date and any duration could.
        let is_ahead = |start: DateTime<Utc>| start - now > self.not_before_tolerance;
        if claims.not_before().is_some_and(is_ahead) || claims.issued_at().is_some_and(is_ahead) {
            return Err(TokenError::NotYetValid);
        }
        if now - claims.expires_at() >= self.leeway {
            return Err(TokenError::Expired);
        }
        Ok(())
    }
}

/// The claims of `token`, if a key of `ring` signed it and it is what is `expected` at `now`.
///
/// Pure: the same question always has the same answer, except that a token once good expires.
///
/// # Errors
/// [`TokenError`] names the first check that failed. [`TokenError::Expired`] is said only of tokens in which
/// everything else is right.
///
/// # Example
/// ```
/// use chrono::Duration;
/// use hallpass::testing::Mint;
/// use hallpass::token::{Expected, Keyring, TokenError, verify};
///
/// let mint = Mint::new().with_issuer("https://id.example").with_audience("https://api.example");
/// let (token, now) = (mint.token_for("ada").to_string(), mint.clock().now());
/// let ring = Keyring::from_jwks(mint.jwks())?;
/// let expected = Expected::new("https://id.example", "https://api.example");
///
/// assert_eq!(verify(&token, &ring, &expected, now).unwrap().sub, "ada");
/// assert_eq!(verify(&token, &ring, &expected, now + Duration::hours(1)).unwrap_err(), TokenError::Expired);
/// # Ok::<(), hallpass::token::KeyError>(())
/// ```
///
/// Source: RFC 7515 §5.2, RFC 7519 §7.2, RFC 8725 §3.
pub fn verify(
    token: &str,
    ring: &Keyring,
    expected: &Expected,
    now: DateTime<Utc>,
) -> Result<Claims, TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::TooLong);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
    let header = Header::read(&decode(header)?)?;
    let payload = decode(payload)?;

    let key = ring.find(header.kid.as_deref()).ok_or(TokenError::KeyUnknown)?;
    if header.algorithm != key.algorithm() {
        return Err(TokenError::AlgorithmRefused);
    }
    if !expected.typ.accepts(header.typ.as_deref()) {
        return Err(TokenError::TypeRefused);
    }
    key.check(message.as_bytes(), signature)?;
    let claims = Claims::read(payload)?;
    expected.admit(&claims, now)?;
    Ok(claims)
}

/// Base64url without padding, of UTF-8 (RFC 7515 §2). A dot is in neither, so a fourth part ends here.
fn decode(part: &str) -> Result<String, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    String::from_utf8(bytes).map_err(|_| TokenError::Malformed)
}

/// What is read of a token's header; the rest is not understood and has no effect (RFC 7515 §4).
struct Header {
    algorithm: Algorithm,
    typ: Option<String>,
    kid: Option<String>,
}

impl Header {
    fn read(json: &str) -> Result<Self, TokenError> {
        let Members(mut members) = serde_json::from_str(json).map_err(|_| TokenError::Malformed)?;
        if let Some(name) = REFUSED_PARAMETERS.into_iter().find(|name| members.contains_key(*name)) {
            return Err(TokenError::HeaderRefused(name));
        }
        let algorithm = members
            .get("alg")
            .and_then(Value::as_str)
            .and_then(Algorithm::named)
            .ok_or(TokenError::AlgorithmRefused)?;
        let mut text = |name| match members.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(TokenError::HeaderRefused(name)),
        };
        Ok(Self { algorithm, typ: text("typ")?, kid: text("kid")? })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::key::{KeyError, KeyMaterial, SigningKey, VerifyingKey};
    use super::*;

    const ISSUER: &str = "https://id.example";
    const AUDIENCE: &str = "https://api.example";
    /// When every token of these tests is issued, in seconds; each is good for a minute.
    const START: i64 = 1_800_000_000;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(START + seconds, 0).unwrap()
    }

    fn fresh(algorithm: Algorithm) -> Arc<SigningKey> {
        let material = KeyMaterial::generate(algorithm).unwrap();
        let kid = SigningKey::fresh_kid(algorithm, &material).unwrap();
        Arc::new(SigningKey::with_kid(kid, algorithm, &material).unwrap())
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
            let key = fresh(algorithm);
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

    fn with(mut object: Value, member: &str, value: impl Into<Value>) -> Value {
        object[member] = value.into();
        object
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
                let expected = match claimed == algorithm.name() {
                    true => Ok(()),
                    false => Err(TokenError::AlgorithmRefused),
                };
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
            let stranger = Desk { key: fresh(algorithm), ..Desk::new(algorithm) };
            let strangers = stranger.sign(desk.header(), desk.payload());
            let cases = [
                ("another payload", format!("{header}.{raised}.{signature}"), TokenError::SignatureWrong),
                ("no signature", format!("{message}."), TokenError::SignatureWrong),
                ("half a signature", format!("{message}.{}", &signature[..40]), TokenError::SignatureWrong),
                ("a signature of zeros", format!("{message}.{}", "A".repeat(86)), TokenError::SignatureWrong),
                ("a stranger's signature", strangers, TokenError::SignatureWrong),
                (
                    "a signature that is no base64url",
                    format!("{message}.{signature}="),
                    TokenError::Malformed,
                ),
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
        let stranger = fresh(Algorithm::EdDsa);
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
        let stranger = Desk { key: fresh(Algorithm::EdDsa), ..Desk::new(Algorithm::EdDsa) };
        desk.expect(&stranger.sign(desk.header(), &expired), Err(TokenError::SignatureWrong));
    }

    #[test]
    fn a_claim_is_not_read_before_the_signature_holds() {
        let desk = Desk::new(Algorithm::EdDsa);
        let stranger = Desk { key: fresh(Algorithm::EdDsa), ..Desk::new(Algorithm::EdDsa) };
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

        let second = fresh(Algorithm::EdDsa).verifying_key().clone();
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
            assert!(
                text.starts_with("the token") && text.contains("accepted") && !text.ends_with('.'),
                "{text}"
            );
        }
        assert_eq!(TokenError::ClaimMissing("exp").to_string(), "the token has no exp, which is required");
    }
}
