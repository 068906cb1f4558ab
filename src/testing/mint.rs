//! Tokens for tests: of any user, and of every kind that a guard must refuse.

use std::fmt;
use std::sync::Arc;

use actix_web::http::header::{AUTHORIZATION, HeaderName};
use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Duration};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::clock::Clock;
use crate::guard::{Guard, GuardBuilder, KeySource, User};
use crate::token::{Algorithm, KeyMaterial, Keyring, SigningKey, TokenType};

/// The names that a mint puts into its tokens until it is told others. `.test` is nobody's (RFC 6761 §6.2).
const ISSUER: &str = "https://issuer.test";
const AUDIENCE: &str = "https://app.test";

/// How far an expired or not yet valid token is off: beyond what any guard forgives, which is five minutes.
const WIDE_OF_THE_MARK: Duration = Duration::hours(1);

/// Issues tokens in a test, and gives the guard that accepts them.
///
/// It signs with an Ed25519 key that was made at random, and goes by a clock of its own that stands still at
/// the time of its making, in whole seconds; the `with_` functions change that.
///
/// # Example: the app's own guard, built from the mint's keys
/// ```
/// use hallpass::Guard;
/// use hallpass::testing::Mint;
///
/// let mint = Mint::new().with_issuer("https://id.example").with_audience("https://api.example");
/// let guard = Guard::builder()
///     .jwks(&mint.jwks())
///     .issuer("https://id.example")
///     .audience("https://api.example")
///     .clock(mint.clock().clone())
///     .build()?;
/// # Ok::<(), hallpass::GuardError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Mint {
    key: Arc<SigningKey>,
    issuer: String,
    audience: String,
    typ: TokenType,
    clock: Clock,
}

impl Mint {
    /// A mint with a fresh Ed25519 key.
    ///
    /// # Panics
    /// When the system has no random numbers.
    #[expect(clippy::new_without_default, reason = "every one has another key")]
    pub fn new() -> Self {
        Self::with_key(fresh_key(Algorithm::EdDsa))
    }

    /// A mint that signs with the secret of a guard's
    /// [`shared_secret`](crate::GuardBuilder::shared_secret) (HS256).
    ///
    /// # Panics
    /// When the secret has under 32 bytes, which no guard accepts (RFC 7518 §3.2).
    ///
    /// # Example: for a guard that was built elsewhere
    /// ```
    /// use actix_web::{App, test, web};
    /// use hallpass::testing::Mint;
    /// use hallpass::{AuthUser, Guard};
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let secret = b"thirty-two bytes, or rather more of them";
    /// let names = ("https://id.example", "https://api.example");
    /// let guard = Guard::builder().shared_secret(secret).issuer(names.0).audience(names.1).build().unwrap();
    /// let hello = web::get().to(|user: AuthUser| async move { user.id.clone() });
    /// let app = test::init_service(App::new().app_data(guard).route("/", hello)).await;
    ///
    /// let mint = Mint::shared_secret(secret).with_issuer(names.0).with_audience(names.1);
    /// let ask = test::TestRequest::get().uri("/").insert_header(mint.token_for("ada").bearer());
    /// assert_eq!(test::call_and_read_body(&app, ask.to_request()).await, "ada");
    /// # });
    /// ```
    #[track_caller]
    pub fn shared_secret(secret: &[u8]) -> Self {
        let material = KeyMaterial::from_bytes(secret.to_vec());
        match SigningKey::with_kid("mint", Algorithm::Hs256, &material) {
            Ok(key) => Self::with_key(key),
            Err(error) => panic!("{error}"),
        }
    }

    /// A mint that signs with this key.
    ///
    /// # Example: ES256
    /// ```
    /// use hallpass::testing::Mint;
    /// use hallpass::token::{Algorithm, KeyMaterial, SigningKey};
    ///
    /// let material = KeyMaterial::generate(Algorithm::Es256)?;
    /// let mint = Mint::with_key(SigningKey::new(Algorithm::Es256, &material)?);
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    pub fn with_key(key: impl Into<Arc<SigningKey>>) -> Self {
        // Tokens count whole seconds, so a test that adds up times should too.
        let now = DateTime::from_timestamp(Clock::system().now().timestamp(), 0).unwrap_or_default();
        Self {
            key: key.into(),
            issuer: ISSUER.to_owned(),
            audience: AUDIENCE.to_owned(),
            typ: TokenType::AtJwt,
            clock: Clock::manual(now),
        }
    }

    /// The `iss` of its tokens. Defaults to `https://issuer.test`.
    #[must_use]
    pub fn with_issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = issuer.into();
        self
    }

    /// The `aud` of its tokens. Defaults to `https://app.test`.
    #[must_use]
    pub fn with_audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = audience.into();
        self
    }

    /// The `typ` of its tokens, as the guard's [`token_type`](crate::GuardBuilder::token_type) wants it.
    /// Defaults to [`TokenType::AtJwt`].
    #[must_use]
    pub fn with_token_type(mut self, typ: TokenType) -> Self {
        self.typ = typ;
        self
    }

    /// The clock that its tokens are issued by. Defaults to one of its own that stands still.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The clock that its tokens are issued by, and that [`builder`](Self::builder) gives to the guard.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The keys that verify its tokens, for [`GuardBuilder::keys`].
    pub fn keys(&self) -> Arc<dyn KeySource> {
        Arc::new(ArcSwap::from_pointee(Keyring::from(Arc::clone(&self.key))))
    }

    /// The public keys as a JWK set (RFC 7517 §5), for an app that reads them from a file; none under HS256.
    pub fn jwks(&self) -> String {
        let set = Keyring::from(Arc::clone(&self.key)).jwks();
        serde_json::to_string(&set).expect("a key set is a plain structure")
    }

    /// Starts a guard with all that it needs to accept this mint's tokens: keys, issuer, audience, clock.
    ///
    /// # Example: a guard with users of the app's own
    /// ```
    /// use std::sync::Arc;
    /// use hallpass::testing::Mint;
    /// use hallpass::{Guard, Unavailable, UserSource, token::Claims};
    ///
    /// struct Member { nickname: String }
    /// struct Members;
    ///
    /// impl UserSource for Members {
    ///     type User = Member;
    ///
    ///     async fn find(&self, claims: &Claims) -> Result<Option<Arc<Member>>, Unavailable> {
    ///         Ok(Some(Arc::new(Member { nickname: claims.sub.clone() })))
    ///     }
    /// }
    ///
    /// let guard: Guard<Member> = Mint::new().builder().users(Members).build()?;
    /// # Ok::<(), hallpass::GuardError>(())
    /// ```
    pub fn builder(&self) -> GuardBuilder<User> {
        Guard::builder()
            .keys(self.keys())
            .issuer(&*self.issuer)
            .audience(&*self.audience)
            .token_type(self.typ)
            .clock(self.clock.clone())
    }

    /// A guard that accepts this mint's tokens and takes its users from their claims.
    ///
    /// # Panics
    /// When the mint was given an empty issuer or audience.
    #[track_caller]
    pub fn guard(&self) -> Guard {
        match self.builder().build() {
            Ok(guard) => guard,
            Err(error) => panic!("{error}"),
        }
    }

    /// A token for the user with this id, good from now for an hour, of a session that begins now.
    ///
    /// What else it says, and what is wrong with it, is told to the [`Token`].
    pub fn token_for(&self, subject: impl fmt::Display) -> Token {
        Token {
            mint: self.clone(),
            subject: subject.to_string(),
            claims: Map::new(),
            lifetime: Duration::hours(1),
            time: Time::Good,
            signed_in_ago: None,
            fault: None,
        }
    }
}

fn fresh_key(algorithm: Algorithm) -> SigningKey {
    KeyMaterial::generate(algorithm)
        .and_then(|material| {
            SigningKey::with_kid(SigningKey::fresh_kid(algorithm, &material)?, algorithm, &material)
        })
        .expect("the system has random numbers")
}

/// When a token is good.
#[derive(Debug, Clone, Copy)]
enum Time {
    Past,
    Good,
    Future,
}

/// What is wrong with a token.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Forged,
    Foreign,
}

/// A token in the making, by [`Mint::token_for`]; [`to_string`](ToString::to_string) is its text.
///
/// It is signed when it is read, at what is then the time of the mint's clock.
///
/// # Example: one user, several tokens
/// ```
/// use chrono::Duration;
/// use hallpass::testing::Mint;
///
/// let mint = Mint::new();
/// let ada = mint.token_for("ada").email("ada@example.com").roles(["editor"]);
/// let header = ada.clone().bearer();
/// let long_ago = ada.clone().signed_in_ago(Duration::minutes(11)).bearer();
/// let worthless = [ada.clone().expired(), ada.clone().not_yet_valid(), ada.clone().forged(), ada.foreign()];
/// # let _ = (header, long_ago, worthless.map(|token| token.to_string()));
/// ```
#[derive(Debug, Clone)]
#[must_use = "a token is worth nothing until it is sent"]
pub struct Token {
    mint: Mint,
    subject: String,
    claims: Map<String, Value>,
    lifetime: Duration,
    time: Time,
    signed_in_ago: Option<Duration>,
    fault: Option<Fault>,
}

impl Token {
    /// The user's e-mail address. Defaults to none.
    pub fn email(self, email: &str) -> Self {
        self.claim("email", email)
    }

    /// The user's roles. Defaults to none.
    pub fn roles<R: Into<String>>(self, roles: impl IntoIterator<Item = R>) -> Self {
        let roles: Vec<String> = roles.into_iter().map(Into::into).collect();
        self.claim("roles", roles)
    }

    /// The session's id, the token's `sid`. Defaults to one made at random.
    pub fn session(self, id: impl fmt::Display) -> Self {
        self.claim("sid", id.to_string())
    }

    /// How long before now the user signed in, the token's `auth_time` (OpenID Connect Core 1.0 §2). Defaults to
    /// when the token was issued.
    pub fn signed_in_ago(mut self, ago: Duration) -> Self {
        self.signed_in_ago = Some(ago);
        self
    }

    /// How long it is good, whole seconds. Defaults to an hour.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Any claim, of the app's own or in place of one of the mint's.
    ///
    /// # Panics
    /// When `value` cannot be written as JSON.
    ///
    /// # Example: for another audience
    /// ```
    /// # use hallpass::testing::Mint;
    /// # let mint = Mint::new();
    /// let token = mint.token_for("ada").claim("aud", "https://elsewhere.example").claim("tenant", 7);
    /// # token.to_string();
    /// ```
    #[track_caller]
    pub fn claim(mut self, name: &str, value: impl Serialize) -> Self {
        match serde_json::to_value(value) {
            Ok(value) => self.claims.insert(name.to_owned(), value),
            Err(error) => panic!("the claim {name:?} cannot be written as JSON: {error}"),
        };
        self
    }

    /// Expired an hour ago: refused as `token_expired`.
    pub fn expired(mut self) -> Self {
        self.time = Time::Past;
        self
    }

    /// Good from in an hour on: refused as `token_invalid`.
    pub fn not_yet_valid(mut self) -> Self {
        self.time = Time::Future;
        self
    }

    /// With the name of the mint's key and a signature that is not its own: refused as `token_invalid`.
    pub fn forged(mut self) -> Self {
        self.fault = Some(Fault::Forged);
        self
    }

    /// Genuine, but from another issuer with a key of its own: refused as `token_invalid`.
    pub fn foreign(mut self) -> Self {
        self.fault = Some(Fault::Foreign);
        self
    }

    /// The header `Authorization: Bearer …` (RFC 6750 §2.1), for `TestRequest::insert_header`.
    ///
    /// For a guard with a header of its own: `.insert_header(("x-api-key", token.to_string()))`.
    pub fn bearer(self) -> (HeaderName, String) {
        (AUTHORIZATION, format!("Bearer {self}"))
    }

    fn payload(&self) -> Value {
        let now = self.mint.clock.now();
        let (issued, start) = match self.time {
            Time::Past => (now - self.lifetime - WIDE_OF_THE_MARK, now - self.lifetime - WIDE_OF_THE_MARK),
            Time::Good => (now, now),
            Time::Future => (now, now + WIDE_OF_THE_MARK),
        };
        let signed_in = self.signed_in_ago.map_or(issued, |ago| now - ago);
        let issuer = match self.fault {
            Some(Fault::Foreign) => "https://another-issuer.test",
            _ => &self.mint.issuer,
        };
        let mut payload = json!({
            "iss": issuer,
            "aud": self.mint.audience,
            "sub": self.subject,
            "iat": issued.timestamp(),
            "nbf": start.timestamp(),
            "exp": (start + self.lifetime).timestamp(),
            "jti": Uuid::new_v4(),
            "sid": Uuid::new_v4(),
            "auth_time": signed_in.timestamp(),
            "roles": [],
        });
        for (name, value) in &self.claims {
            payload[name] = value.clone();
        }
        payload
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = &*self.mint.key;
        let other = self.fault.map(|_| fresh_key(own.algorithm()));
        let key = other.as_ref().unwrap_or(own);
        // A forger claims the mint's key; a foreign issuer names its own.
        let kid = match self.fault {
            Some(Fault::Foreign) => key.kid(),
            _ => own.kid(),
        };
        let typ = match self.mint.typ {
            TokenType::Jwt => "JWT",
            _ => "at+jwt",
        };
        let header = json!({"alg": own.algorithm(), "typ": typ, "kid": kid});
        let part = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
        f.write_str(&key.sign_parts(&part(header), &part(self.payload())).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Claims, Expected, TokenError, verify};

    const SECRET: &[u8] = b"thirty-two bytes, or rather more of them";

    /// The verdict of a guard with five minutes' leeway, the most that one may have.
    fn verdict(mint: &Mint, token: Token) -> Result<Claims, TokenError> {
        let expected = Expected::new(&*mint.issuer, &*mint.audience)
            .with_type(mint.typ)
            .with_leeway(Duration::seconds(300));
        verify(&token.to_string(), &mint.keys().ring().unwrap(), &expected, mint.clock().now())
    }

    #[test]
    fn under_every_algorithm_a_token_is_good_until_something_is_said_to_be_wrong_with_it() {
        type Wrong = fn(Token) -> Token;
        let es256 = Mint::with_key(fresh_key(Algorithm::Es256));
        let cases: [(&str, Wrong, Option<TokenError>); 5] = [
            ("good", |token| token, None),
            ("expired", Token::expired, Some(TokenError::Expired)),
            ("not yet valid", Token::not_yet_valid, Some(TokenError::NotYetValid)),
            ("forged", Token::forged, Some(TokenError::SignatureWrong)),
            ("foreign", Token::foreign, Some(TokenError::KeyUnknown)),
        ];
        for mint in [Mint::new(), es256, Mint::shared_secret(SECRET)] {
            for (name, wrong, expected) in cases {
                let found = verdict(&mint, wrong(mint.token_for("ada"))).err();
                assert_eq!(found, expected, "{name}, {}", mint.key.algorithm());
            }
        }
    }

    #[test]
    fn a_foreign_token_is_refused_by_a_guard_that_knows_no_names_of_keys_and_by_one_that_has_its_key() {
        let mint = Mint::shared_secret(SECRET);
        let token = mint.token_for("ada").foreign().to_string();
        let ring = Keyring::from(crate::token::VerifyingKey::hs256(SECRET).unwrap());
        let expected = Expected::new(ISSUER, AUDIENCE);
        let unnamed = verify(&token, &ring, &expected, mint.clock().now());
        assert_eq!(unnamed, Err(TokenError::SignatureWrong));

        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let payload: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(payload["iss"], "https://another-issuer.test");
        let elsewhere = Mint { issuer: "https://another-issuer.test".to_owned(), ..mint.clone() };
        assert_eq!(verdict(&mint, elsewhere.token_for("ada")), Err(TokenError::IssuerWrong));
    }

    #[test]
    fn a_token_says_what_it_was_told_to() {
        let mint = Mint::new().with_issuer("https://id.example").with_audience("https://api.example");
        let now = mint.clock().now();
        let token = mint
            .token_for(7)
            .email("ada@example.com")
            .roles(["admin", "editor"])
            .session("s1")
            .signed_in_ago(Duration::minutes(11))
            .lifetime(Duration::minutes(5))
            .claim("tenant", 3);
        let claims = verdict(&mint, token).unwrap();
        assert_eq!((claims.iss.as_str(), claims.sub.as_str()), ("https://id.example", "7"));
        assert_eq!(claims.aud, "https://api.example".into());
        assert_eq!(claims.email.as_deref(), Some("ada@example.com"));
        assert_eq!((claims.roles.len(), claims.has_role("admin")), (2, true));
        assert_eq!(claims.sid.as_deref(), Some("s1"));
        assert_eq!(claims.issued_at(), Some(now));
        assert_eq!(claims.expires_at(), now + Duration::minutes(5));
        let custom: Value = claims.custom().unwrap();
        assert_eq!(custom["tenant"], 3);
        assert_eq!(custom["auth_time"], (now - Duration::minutes(11)).timestamp());
    }

    #[test]
    fn a_claim_stands_in_place_of_the_mints_own() {
        let mint = Mint::new();
        let wrong = |name, value: &str| verdict(&mint, mint.token_for("ada").claim(name, value)).unwrap_err();
        assert_eq!(wrong("aud", "https://elsewhere.example"), TokenError::AudienceWrong);
        assert_eq!(wrong("exp", "tomorrow"), TokenError::ClaimInvalid("exp"));
    }

    #[test]
    fn a_token_ages_with_the_mints_clock() {
        let mint = Mint::new();
        let token = mint.token_for("ada");
        let early = token.to_string();
        mint.clock().advance(Duration::hours(2));
        let ring = mint.keys().ring().unwrap();
        let expected = Expected::new(ISSUER, AUDIENCE);
        assert_eq!(verify(&early, &ring, &expected, mint.clock().now()), Err(TokenError::Expired));
        assert!(verdict(&mint, token).is_ok(), "signed when it is read");
    }

    #[test]
    fn two_mints_do_not_trust_each_other() {
        let (one, other) = (Mint::new(), Mint::new());
        let token = other.token_for("ada").to_string();
        let expected = Expected::new(ISSUER, AUDIENCE);
        let verdict = verify(&token, &one.keys().ring().unwrap(), &expected, one.clock().now());
        assert_eq!(verdict, Err(TokenError::KeyUnknown));
    }

    #[test]
    fn a_token_is_of_the_type_that_the_guard_wants() {
        for typ in [TokenType::AtJwt, TokenType::Jwt, TokenType::Any] {
            let mint = Mint::new().with_token_type(typ);
            assert!(verdict(&mint, mint.token_for("ada")).is_ok(), "{typ:?}");
        }
        let mint = Mint::new().with_token_type(TokenType::Jwt);
        let token = mint.token_for("ada").to_string();
        let expected = Expected::new(ISSUER, AUDIENCE);
        let verdict = verify(&token, &mint.keys().ring().unwrap(), &expected, mint.clock().now());
        assert_eq!(verdict, Err(TokenError::TypeRefused));
    }

    #[test]
    #[should_panic(expected = "a shared secret of 5 bytes is too short")]
    fn a_secret_that_no_guard_takes_is_refused_in_words() {
        let _ = Mint::shared_secret(b"short");
    }
}
