//! Tokens for tests: for any user, and of every kind that a guard must refuse.

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

/// The default issuer and audience. Nobody can own a name under `.test` (RFC 6761 §6.2).
const ISSUER: &str = "https://issuer.test";
const AUDIENCE: &str = "https://app.test";

/// The time since an expired token has expired, and until a not yet valid one begins: more than the five minutes that a
/// guard tolerates at most.
const WELL_BEYOND_LEEWAY: Duration = Duration::hours(1);

/// Issues tokens in a test, and makes the guard that accepts them.
///
/// It signs with a random Ed25519 key. It has a clock of its own, which starts at the current time in whole seconds and
/// moves only by hand. The `with_` methods change this.
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
    /// A mint with a new Ed25519 key.
    ///
    /// # Panics
    /// If the system has no random numbers.
    ///
    /// # Example
    /// ```
    /// let mint = hallpass::testing::Mint::new();
    /// assert!(!mint.token_for("ada").to_string().is_empty());
    /// ```
    #[expect(clippy::new_without_default, reason = "each has a different key")]
    pub fn new() -> Self {
        Self::with_key(fresh_key(Algorithm::EdDsa))
    }

    /// A mint that signs with the secret of a guard's
    /// [`shared_secret`](crate::GuardBuilder::shared_secret) (HS256).
    ///
    /// # Panics
    /// If the secret is shorter than 32 bytes, which no guard accepts (RFC 7518 §3.2).
    ///
    /// # Example: for a guard that is built elsewhere
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
    /// let request = test::TestRequest::get().uri("/").insert_header(mint.token_for("ada").bearer());
    /// assert_eq!(test::call_and_read_body(&app, request.to_request()).await, "ada");
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

    /// A mint that signs with `key`.
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

    /// Sets the `iss` of the tokens. Defaults to `https://issuer.test`.
    ///
    /// # Example
    /// ```
    /// let mint = hallpass::testing::Mint::new().with_issuer("https://id.example");
    /// let guard = mint.guard(); // it expects the same issuer
    /// # let _ = guard;
    /// ```
    #[must_use]
    pub fn with_issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = issuer.into();
        self
    }

    /// Sets the `aud` of the tokens. Defaults to `https://app.test`.
    ///
    /// # Example
    /// ```
    /// let mint = hallpass::testing::Mint::new().with_audience("https://api.example");
    /// let guard = mint.guard(); // it expects the same audience
    /// # let _ = guard;
    /// ```
    #[must_use]
    pub fn with_audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = audience.into();
        self
    }

    /// Sets the `typ` of the tokens, for a guard with [`token_type`](crate::GuardBuilder::token_type).
    /// Defaults to [`TokenType::AtJwt`].
    ///
    /// # Example
    /// ```
    /// use hallpass::testing::Mint;
    /// use hallpass::token::TokenType;
    ///
    /// let guard = Mint::new().with_token_type(TokenType::Jwt).guard(); // it expects the same type
    /// # let _ = guard;
    /// ```
    #[must_use]
    pub fn with_token_type(mut self, typ: TokenType) -> Self {
        self.typ = typ;
        self
    }

    /// Sets the clock, for an app whose clock a test moves. Defaults to a manual clock of the mint's own.
    ///
    /// # Example
    /// ```
    /// use chrono::{Duration, Utc};
    /// use hallpass::testing::{Clock, Mint};
    ///
    /// let clock = Clock::manual(Utc::now());
    /// let mint = Mint::new().with_clock(clock.clone());
    /// clock.advance(Duration::hours(1));
    /// assert_eq!(mint.clock().now(), clock.now());
    /// ```
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Returns the clock, which [`builder`](Self::builder) also gives to the guard.
    ///
    /// # Example
    /// ```
    /// let mint = hallpass::testing::Mint::new();
    /// let before = mint.clock().now();
    /// mint.clock().advance(chrono::Duration::minutes(61));
    /// assert_eq!((mint.clock().now() - before).num_minutes(), 61);
    /// ```
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns the keys that verify the tokens, for [`GuardBuilder::keys`].
    ///
    /// # Example
    /// ```
    /// # use hallpass::{Guard, testing::Mint};
    /// let mint = Mint::new();
    /// let guard = Guard::builder().keys(mint.keys()).issuer("https://issuer.test").audience("https://app.test").build()?;
    /// # Ok::<(), hallpass::GuardError>(())
    /// ```
    pub fn keys(&self) -> Arc<dyn KeySource> {
        Arc::new(ArcSwap::from_pointee(Keyring::from(Arc::clone(&self.key))))
    }

    /// Returns the public keys as a JWK set (RFC 7517 §5), for an app that reads them from a file. It is empty for
    /// HS256.
    ///
    /// # Example
    /// ```
    /// use hallpass::testing::Mint;
    ///
    /// assert!(Mint::new().jwks().contains("Ed25519"));
    /// assert_eq!(Mint::shared_secret(&[7; 32]).jwks(), r#"{"keys":[]}"#);
    /// ```
    pub fn jwks(&self) -> String {
        let set = Keyring::from(Arc::clone(&self.key)).jwks();
        serde_json::to_string(&set).expect("a key set is a plain structure")
    }

    /// Starts a guard that accepts this mint's tokens: keys, issuer, audience, type and clock are set.
    ///
    /// # Example: a guard with the app's own users
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

    /// Returns a guard that accepts this mint's tokens and takes users from their claims.
    ///
    /// # Panics
    /// If the mint's issuer or audience is empty.
    ///
    /// # Example
    /// ```
    /// let mint = hallpass::testing::Mint::new();
    /// let app = actix_web::App::new().app_data(mint.guard());
    /// # let _ = app;
    /// ```
    #[track_caller]
    pub fn guard(&self) -> Guard {
        match self.builder().build() {
            Ok(guard) => guard,
            Err(error) => panic!("{error}"),
        }
    }

    /// Starts a token for the user with the id `subject`, valid for an hour from now, of a session that begins now.
    ///
    /// The methods of [`Token`] change this.
    ///
    /// # Example
    /// ```
    /// let mint = hallpass::testing::Mint::new();
    /// let (ada, seven) = (mint.token_for("ada"), mint.token_for(7));
    /// # let _ = (ada.to_string(), seven.to_string());
    /// ```
    pub fn token_for(&self, subject: impl fmt::Display) -> Token {
        Token {
            mint: self.clone(),
            subject: subject.to_string(),
            claims: Map::new(),
            lifetime: Duration::hours(1),
            time: Time::Now,
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

/// The time of a token's validity, seen from now.
#[derive(Debug, Clone, Copy)]
enum Time {
    Past,
    Now,
    Future,
}

/// A reason why a guard must refuse a token, other than its time.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Forged,
    Foreign,
}

/// A token that a test sends, made by [`Mint::token_for`].
///
/// [`to_string`](ToString::to_string) and [`bearer`](Self::bearer) sign it, at the time of the mint's clock.
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
/// let refused = [ada.clone().expired(), ada.clone().not_yet_valid(), ada.clone().forged(), ada.foreign()];
/// # let _ = (header, long_ago, refused.map(|token| token.to_string()));
/// ```
#[derive(Debug, Clone)]
#[must_use = "a token has no effect until it is sent"]
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
    /// Sets the user's e-mail address. Defaults to none.
    ///
    /// # Example
    /// ```
    /// let mint = hallpass::testing::Mint::new();
    /// let token = mint.token_for("ada").email("ada@example.com");
    /// # token.to_string();
    /// ```
    pub fn email(self, email: &str) -> Self {
        self.claim("email", email)
    }

    /// Sets the user's roles. Defaults to none.
    ///
    /// # Example
    /// ```
    /// let mint = hallpass::testing::Mint::new();
    /// let token = mint.token_for("ada").roles(["admin", "editor"]);
    /// # token.to_string();
    /// ```
    pub fn roles<R: Into<String>>(self, roles: impl IntoIterator<Item = R>) -> Self {
        let roles: Vec<String> = roles.into_iter().map(Into::into).collect();
        self.claim("roles", roles)
    }

    /// Sets the id of the session, the claim `sid`. Defaults to a random one.
    ///
    /// # Example
    /// ```
    /// # use hallpass::testing::Mint;
    /// # let mint = Mint::new();
    /// let token = mint.token_for("ada").session("a session that has ended");
    /// # token.to_string();
    /// ```
    pub fn session(self, id: impl fmt::Display) -> Self {
        self.claim("sid", id.to_string())
    }

    /// Sets how long before now the user signed in, the claim `auth_time` (OpenID Connect Core 1.0 §2). Defaults to the
    /// time of issue.
    ///
    /// # Example
    /// ```
    /// let mint = hallpass::testing::Mint::new();
    /// let stale = mint.token_for("ada").signed_in_ago(chrono::Duration::minutes(11));
    /// # stale.to_string();
    /// ```
    pub fn signed_in_ago(mut self, ago: Duration) -> Self {
        self.signed_in_ago = Some(ago);
        self
    }

    /// Sets how the user signed in, the claim `amr` (RFC 8176 §2). Defaults to `["pwd"]`.
    ///
    /// # Example
    /// ```
    /// let mint = hallpass::testing::Mint::new();
    /// let token = mint.token_for("ada").signed_in_by(["pwd", "otp", "mfa"]);
    /// # token.to_string();
    /// ```
    pub fn signed_in_by<M: Into<String>>(self, methods: impl IntoIterator<Item = M>) -> Self {
        let methods: Vec<String> = methods.into_iter().map(Into::into).collect();
        self.claim("amr", methods)
    }

    /// Makes the token one of a sign-in with a second factor, for [`SecondFactor`](crate::SecondFactor).
    ///
    /// # Example
    /// ```
    /// let mint = hallpass::testing::Mint::new();
    /// let token = mint.token_for("ada").with_second_factor();
    /// # token.to_string();
    /// ```
    pub fn with_second_factor(self) -> Self {
        self.signed_in_by(["pwd", "otp", "mfa"])
    }

    /// Sets how long the token is valid, in whole seconds. Defaults to an hour.
    ///
    /// # Example
    /// ```
    /// # use hallpass::testing::Mint;
    /// # let mint = Mint::new();
    /// let token = mint.token_for("ada").lifetime(chrono::Duration::minutes(5));
    /// # token.to_string();
    /// ```
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Sets any claim: one of the app's own, or a different value for one of the mint's.
    ///
    /// # Panics
    /// If `value` cannot be written as JSON.
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

    /// Makes the token one that expired an hour ago. A guard refuses it as `token_expired`.
    ///
    /// # Example
    /// ```
    /// let mint = hallpass::testing::Mint::new();
    /// let refused = mint.token_for("ada").expired().bearer();
    /// # let _ = refused;
    /// ```
    pub fn expired(mut self) -> Self {
        self.time = Time::Past;
        self
    }

    /// Makes the token one that is valid only in an hour. A guard refuses it as `token_invalid`.
    ///
    /// # Example
    /// ```
    /// let mint = hallpass::testing::Mint::new();
    /// let refused = mint.token_for("ada").not_yet_valid().bearer();
    /// # let _ = refused;
    /// ```
    pub fn not_yet_valid(mut self) -> Self {
        self.time = Time::Future;
        self
    }

    /// Signs the token with another key, under the `kid` of the mint's key. A guard refuses it as `token_invalid`.
    ///
    /// # Example
    /// ```
    /// let mint = hallpass::testing::Mint::new();
    /// let refused = mint.token_for("ada").forged().bearer();
    /// # let _ = refused;
    /// ```
    pub fn forged(mut self) -> Self {
        self.fault = Some(Fault::Forged);
        self
    }

    /// Makes the token one of another issuer, signed with that issuer's key. A guard refuses it as `token_invalid`.
    ///
    /// # Example
    /// ```
    /// let mint = hallpass::testing::Mint::new();
    /// let refused = mint.token_for("ada").foreign().bearer();
    /// # let _ = refused;
    /// ```
    pub fn foreign(mut self) -> Self {
        self.fault = Some(Fault::Foreign);
        self
    }

    /// Returns the header `Authorization: Bearer …` (RFC 6750 §2.1), for `TestRequest::insert_header`.
    ///
    /// For a guard with another header, write `.insert_header(("x-api-key", token.to_string()))`.
    ///
    /// # Example
    /// ```
    /// let mint = hallpass::testing::Mint::new();
    /// let request = actix_web::test::TestRequest::get().insert_header(mint.token_for("ada").bearer());
    /// # let _ = request;
    /// ```
    pub fn bearer(self) -> (HeaderName, String) {
        (AUTHORIZATION, format!("Bearer {self}"))
    }

    fn payload(&self) -> Value {
        let now = self.mint.clock.now();
        let expired = now - self.lifetime - WELL_BEYOND_LEEWAY;
        let (issued, start) = match self.time {
            Time::Past => (expired, expired),
            Time::Now => (now, now),
            Time::Future => (now, now + WELL_BEYOND_LEEWAY),
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
            "amr": ["pwd"],
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
        // A forged token names the mint's key; a foreign issuer names its own.
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
mod tests;
