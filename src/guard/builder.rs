//! The builder of guards. [`GuardBuilder::build`] reports every missing or contradictory setting, with the line that
//! fixes it.

use std::any::TypeId;
use std::sync::Arc;

use actix_web::http::header::{AUTHORIZATION, HeaderName};
use actix_web::{HttpRequest, HttpResponse};
use arc_swap::ArcSwap;
use chrono::Duration;

use super::answer::Challenge;
use super::credential::Scheme;
use super::guard::{
    Authenticator, CheckClaims, Guard, OnUnauthorized, OnVerdict, Remember, VerifyToken, Version,
};
use super::guard_error::GuardError;
#[cfg(feature = "jwks-url")]
use super::jwks_url::JwksUrl;
use super::refusal::Refusal;
use super::source::{DynUsers, FromClaims, KeySource, User, UserSource};
use crate::clock::Clock;
use crate::token::{Claims, Expected, KeyError, Keyring, TokenType, VerifiedTokens, VerifyingKey};

/// Called by [`GuardBuilder::build`], since the clock may be set after the keys.
type MakeKeys = dyn FnOnce(&Clock) -> Result<Arc<dyn KeySource>, GuardError> + Send + Sync;

/// Builds a [`Guard`]; returned by [`Guard::builder`].
///
/// Keys, an issuer and an audience are required.
///
/// # Example
/// ```
/// use hallpass::Guard;
///
/// let guard = Guard::builder()
///     .shared_secret(b"thirty-two bytes, or rather more of them")
///     .issuer("https://id.example")
///     .audience("https://api.example")
///     .build()?;
/// # Ok::<(), hallpass::GuardError>(())
/// ```
#[must_use]
pub struct GuardBuilder<U> {
    keys: Option<Box<MakeKeys>>,
    users: Arc<dyn DynUsers<U>>,
    issuer: Option<String>,
    audience: Option<String>,
    typ: TokenType,
    leeway: Duration,
    header: String,
    scheme: Option<String>,
    bare: bool,
    realm: String,
    check_claims: Option<Box<CheckClaims>>,
    verify_token: Option<Box<VerifyToken>>,
    on_unauthorized: Option<Box<OnUnauthorized>>,
    on_verdict: Option<Box<OnVerdict>>,
    version: Option<Box<Version>>,
    has_users_of_claims: bool,
    clock: Clock,
}

impl Guard<User> {
    /// Starts to build a guard. Its users are made from the token's claims unless [`users`](GuardBuilder::users) is
    /// set.
    ///
    /// # Example
    /// ```
    /// let builder = hallpass::Guard::builder().issuer("https://id.example").audience("https://api.example");
    /// # let _ = builder;
    /// ```
    pub fn builder() -> GuardBuilder<User> {
        GuardBuilder::new(Arc::new(FromClaims))
    }
}

impl<U: Send + Sync + 'static> GuardBuilder<U> {
    fn new(users: Arc<dyn DynUsers<U>>) -> Self {
        Self {
            keys: None,
            users,
            issuer: None,
            audience: None,
            typ: TokenType::AtJwt,
            leeway: Duration::zero(),
            header: AUTHORIZATION.as_str().to_owned(),
            scheme: Some("Bearer".to_owned()),
            bare: false,
            realm: "Authentication Required".to_owned(),
            check_claims: None,
            verify_token: None,
            on_unauthorized: None,
            on_verdict: None,
            version: None,
            has_users_of_claims: true,
            clock: Clock::system(),
        }
    }

    /// Verifies tokens with a shared secret of at least 32 bytes (HS256, RFC 7518 §3.2).
    ///
    /// # Example
    /// ```
    /// # use hallpass::Guard;
    /// let guard = Guard::builder()
    ///     .shared_secret(b"thirty-two bytes, or rather more of them")
    ///     .issuer("https://id.example")
    ///     .audience("https://api.example")
    ///     .build();
    /// assert!(guard.is_ok());
    /// ```
    pub fn shared_secret(self, secret: &[u8]) -> Self {
        self.key(VerifyingKey::hs256(secret))
    }

    /// Verifies tokens with a public key in PEM: Ed25519 or P-256.
    ///
    /// # Example
    /// ```
    /// # use hallpass::Guard;
    /// // The public key of RFC 8410 §10.1.
    /// let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    /// let guard = Guard::builder().public_key_pem(pem).issuer("https://id.example").audience("https://api.example").build();
    /// assert!(guard.is_ok());
    /// ```
    pub fn public_key_pem(self, pem: &str) -> Self {
        self.key(VerifyingKey::from_pem(pem.as_bytes()))
    }

    /// Verifies tokens with a public key as a JWK (RFC 7517 §4): Ed25519 or P-256.
    ///
    /// # Example
    /// ```
    /// # use hallpass::Guard;
    /// let jwk = r#"{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    /// let guard = Guard::builder().public_key_jwk(jwk).issuer("https://id.example").audience("https://api.example").build();
    /// assert!(guard.is_ok());
    /// ```
    pub fn public_key_jwk(self, json: &str) -> Self {
        self.key(VerifyingKey::from_jwk(json))
    }

    /// Verifies tokens with the keys of a JWK set (RFC 7517 §5), for example from a file.
    ///
    /// # Example
    /// ```
    /// # use hallpass::Guard;
    /// # use hallpass::testing::Mint;
    /// # let keys = Mint::new().jwks();
    /// // let keys = std::fs::read_to_string("jwks.json")?;
    /// let guard = Guard::builder().jwks(&keys).issuer("https://id.example").audience("https://api.example").build();
    /// assert!(guard.is_ok());
    /// ```
    pub fn jwks(self, json: &str) -> Self {
        self.keyring(Keyring::from_jwks(json.as_bytes()))
    }

    /// Verifies tokens with the keys that an issuer publishes at a URL. They are fetched regularly.
    ///
    /// [`JwksUrl`] describes how, and which changes such a guard does not learn of.
    ///
    /// # Example
    /// ```
    /// # actix_rt::System::new().block_on(async {
    /// use hallpass::{Guard, JwksUrl};
    ///
    /// let url = JwksUrl::new("https://id.example/.well-known/jwks.json")?;
    /// let guard = Guard::builder().jwks_url(url).issuer("https://id.example").audience("https://api.example").build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    #[cfg(feature = "jwks-url")]
    pub fn jwks_url(self, url: JwksUrl) -> Self {
        self.make_keys(|clock| Ok(url.or_clock(clock).start()?))
    }

    /// Verifies tokens with the keys that `source` returns for each request.
    ///
    /// # Example: a key source of your own
    /// ```
    /// use std::sync::Arc;
    /// use hallpass::token::Keyring;
    /// use hallpass::{Guard, KeySource, Refusal};
    ///
    /// struct Fixed(Arc<Keyring>);
    ///
    /// impl KeySource for Fixed {
    ///     fn keys(&self) -> Result<Arc<Keyring>, Refusal> {
    ///         Ok(Arc::clone(&self.0))
    ///     }
    /// }
    ///
    /// # let keys = Keyring::from_jwks(hallpass::testing::Mint::new().jwks())?;
    /// let guard = Guard::builder().keys(Arc::new(Fixed(Arc::new(keys)))).issuer("i").audience("a").build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keys(self, source: Arc<dyn KeySource>) -> Self {
        self.make_keys(|_| Ok(source))
    }

    fn key(self, key: Result<VerifyingKey, KeyError>) -> Self {
        self.keyring(key.map(Keyring::from))
    }

    fn keyring(self, keys: Result<Keyring, KeyError>) -> Self {
        self.make_keys(|_| Ok(Arc::new(ArcSwap::from_pointee(keys?))))
    }

    fn make_keys(
        mut self,
        make: impl FnOnce(&Clock) -> Result<Arc<dyn KeySource>, GuardError> + Send + Sync + 'static,
    ) -> Self {
        self.keys = Some(Box::new(make));
        self
    }

    /// Sets the `iss` that every token must have (RFC 8725 §3.8). Required.
    ///
    /// # Example: a guard without one is not built
    /// ```
    /// let error = hallpass::Guard::builder().shared_secret(&[7; 32]).audience("a").build().unwrap_err();
    /// assert!(error.to_string().contains(".issuer("));
    /// ```
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Sets the audience that every token must have in `aud` (RFC 8725 §3.9). Required.
    ///
    /// # Example: a guard without one is not built
    /// ```
    /// let error = hallpass::Guard::builder().shared_secret(&[7; 32]).issuer("i").build().unwrap_err();
    /// assert!(error.to_string().contains(".audience("));
    /// ```
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Sets the `typ` that every token must have (RFC 8725 §3.11). Defaults to [`TokenType::AtJwt`].
    ///
    /// # Example: an issuer with `typ: JWT`
    /// ```
    /// use hallpass::Guard;
    /// use hallpass::token::TokenType;
    ///
    /// let builder = Guard::builder().token_type(TokenType::Jwt);
    /// # let _ = builder;
    /// ```
    pub fn token_type(mut self, typ: TokenType) -> Self {
        self.typ = typ;
        self
    }

    /// Sets how long after its `exp` a token is still accepted: whole seconds, at most 300. Defaults to 0.
    ///
    /// `nbf` and `iat` always tolerate 60 s of clock difference.
    ///
    /// # Example
    /// ```
    /// use chrono::Duration;
    /// use hallpass::Guard;
    ///
    /// let builder = Guard::builder().leeway(Duration::seconds(30));
    /// # let _ = builder;
    /// ```
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Sets the header that carries the token. Defaults to `Authorization`.
    ///
    /// # Example: the token alone, in another header
    /// ```
    /// # use actix_web::{App, test, web};
    /// # use hallpass::{AuthUser, testing::Mint};
    /// # actix_rt::System::new().block_on(async {
    /// # let mint = Mint::new();
    /// let guard = mint.builder().header("X-API-Key").without_scheme().build().unwrap();
    /// # let hello = web::get().to(|user: AuthUser| async move { user.id.clone() });
    /// # let app = test::init_service(App::new().app_data(guard).route("/", hello)).await;
    /// let request = test::TestRequest::get().insert_header(("X-API-Key", mint.token_for("ada").to_string()));
    /// assert_eq!(test::call_and_read_body(&app, request.to_request()).await, "ada");
    /// # });
    /// ```
    pub fn header(mut self, name: &str) -> Self {
        self.header = name.to_owned();
        self
    }

    /// Sets the scheme before the token, compared in any case (RFC 9110 §11.1). Defaults to `Bearer`.
    ///
    /// # Example: `Authorization: Token …`
    /// ```
    /// # use actix_web::{App, test, web};
    /// # use hallpass::{AuthUser, testing::Mint};
    /// # actix_rt::System::new().block_on(async {
    /// # let mint = Mint::new();
    /// let guard = mint.builder().scheme("Token").build().unwrap();
    /// # let hello = web::get().to(|user: AuthUser| async move { user.id.clone() });
    /// # let app = test::init_service(App::new().app_data(guard).route("/", hello)).await;
    /// let value = format!("token {}", mint.token_for("ada"));
    /// let request = test::TestRequest::get().insert_header(("Authorization", value));
    /// assert_eq!(test::call_and_read_body(&app, request.to_request()).await, "ada");
    /// # });
    /// ```
    pub fn scheme(mut self, name: &str) -> Self {
        self.scheme = Some(name.to_owned());
        self
    }

    /// Takes the whole value of the header as the token, as in `X-API-Key: <token>`.
    ///
    /// # Example
    /// ```
    /// let builder = hallpass::Guard::builder().header("X-API-Key").without_scheme();
    /// # let _ = builder;
    /// ```
    pub fn without_scheme(mut self) -> Self {
        self.scheme = None;
        self
    }

    /// Sets whether a token without a scheme, `Authorization: <token>`, is accepted too. Defaults to `false`.
    ///
    /// # Example
    /// ```
    /// # use actix_web::{App, test, web};
    /// # use hallpass::{AuthUser, testing::Mint};
    /// # actix_rt::System::new().block_on(async {
    /// # let mint = Mint::new();
    /// let guard = mint.builder().accept_bare(true).build().unwrap();
    /// # let hello = web::get().to(|user: AuthUser| async move { user.id.clone() });
    /// # let app = test::init_service(App::new().app_data(guard).route("/", hello)).await;
    /// let request = test::TestRequest::get().insert_header(("Authorization", mint.token_for("ada").to_string()));
    /// assert_eq!(test::call_and_read_body(&app, request.to_request()).await, "ada");
    /// # });
    /// ```
    pub fn accept_bare(mut self, bare: bool) -> Self {
        self.bare = bare;
        self
    }

    /// Sets the realm of the challenges. Defaults to `Authentication Required`.
    ///
    /// # Example
    /// ```
    /// let guard = hallpass::testing::Mint::new().builder().realm("The Library").build()?;
    /// assert_eq!(guard.challenge(), r#"Bearer realm="The Library""#);
    /// # Ok::<(), hallpass::GuardError>(())
    /// ```
    pub fn realm(mut self, realm: &str) -> Self {
        self.realm = realm.to_owned();
        self
    }

    /// Sets the clock. Defaults to the system's.
    ///
    /// # Example
    /// ```
    /// use chrono::{DateTime, Utc};
    /// use hallpass::Guard;
    /// use hallpass::clock::Clock;
    ///
    /// let clock = Clock::manual(Utc::now());
    /// let builder = Guard::builder().clock(clock.clone()); // and the test moves `clock`
    /// # let _ = builder;
    /// ```
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Sets a check of verified claims that does not wait, for example against a list of ended sessions in memory.
    ///
    /// It runs before [`verify_token`](Self::verify_token).
    ///
    /// # Example: sessions that have ended
    /// ```
    /// use std::collections::HashSet;
    /// use std::sync::{Arc, RwLock};
    /// use hallpass::{Guard, Refusal};
    ///
    /// let ended: Arc<RwLock<HashSet<String>>> = Arc::default();
    /// let builder = Guard::builder().check_claims(move |claims| match &claims.sid {
    ///     Some(session) if ended.read().unwrap().contains(session) => Err(Refusal::TokenRevoked),
    ///     _ => Ok(()),
    /// });
    /// # let _ = builder;
    /// ```
    pub fn check_claims(
        mut self,
        check: impl Fn(&Claims) -> Result<(), Refusal> + Send + Sync + 'static,
    ) -> Self {
        self.check_claims = Some(Box::new(check));
        self
    }

    /// Sets a check of verified claims that may wait. It gets the request, and may refuse it for a reason of its own:
    /// [`Refusal::Application`].
    ///
    /// Under the middleware it runs once for each request. Without, several extractors of one handler may each run it.
    /// If this is called again, the checks run one after the other, until one refuses.
    ///
    /// # Example: a maintenance window
    /// ```
    /// use hallpass::{Guard, Refusal};
    ///
    /// let builder = Guard::builder().verify_token(|claims, request| async move {
    ///     if request.method().is_safe() || claims.sub == "operator" {
    ///         Ok(())
    ///     } else {
    ///         Err(Refusal::Application("maintenance"))
    ///     }
    /// });
    /// ```
    pub fn verify_token<F, Fut>(mut self, check: F) -> Self
    where
        F: Fn(Arc<Claims>, HttpRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Refusal>> + 'static,
    {
        self.verify_token = Some(match self.verify_token {
            None => Box::new(move |claims, request| Box::pin(check(claims, request))),
            Some(first) => {
                let check = Arc::new(check);
                Box::new(move |claims, request| {
                    let (passes, check) = (first(Arc::clone(&claims), request.clone()), Arc::clone(&check));
                    Box::pin(async move {
                        passes.await?;
                        check(claims, request).await
                    })
                })
            }
        });
        self
    }

    /// Sets a function that is told of each accepted token and each refusal, for counting.
    #[cfg(feature = "server")]
    pub(crate) fn on_verdict(mut self, note: impl Fn(Result<(), Refusal>) + Send + Sync + 'static) -> Self {
        self.on_verdict = Some(Box::new(note));
        self
    }

    /// Sets the function that makes the responses with 401 and 403. It gets the reason, the status and the request.
    ///
    /// A response with a 2xx status is sent as 401, and a missing challenge is added.
    ///
    /// # Example
    /// ```
    /// use actix_web::HttpResponse;
    /// use hallpass::Guard;
    ///
    /// let builder = Guard::builder().on_unauthorized(|reason, status, _request| {
    ///     HttpResponse::build(status).body(format!("please sign in: {}", reason.code()))
    /// });
    /// # let _ = builder;
    /// ```
    pub fn on_unauthorized(
        mut self,
        answer: impl Fn(Refusal, actix_web::http::StatusCode, &HttpRequest) -> HttpResponse
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.on_unauthorized = Some(Box::new(answer));
        self
    }

    /// Sets the source of users. Defaults to [`FromClaims`].
    ///
    /// # Example
    /// ```
    /// use std::sync::Arc;
    /// use hallpass::{Claims, Guard, Unavailable, UserSource};
    ///
    /// struct Members;
    ///
    /// impl UserSource for Members {
    ///     type User = String;
    ///
    ///     async fn find(&self, claims: &Claims) -> Result<Option<Arc<String>>, Unavailable> {
    ///         Ok(Some(Arc::new(format!("member {}", claims.sub))))
    ///     }
    /// }
    ///
    /// let guard: Guard<String> = hallpass::testing::Mint::new().builder().users(Members).build()?;
    /// # Ok::<(), hallpass::GuardError>(())
    /// ```
    pub fn users<S: UserSource>(self, source: S) -> GuardBuilder<S::User> {
        GuardBuilder {
            users: Arc::new(source),
            keys: self.keys,
            issuer: self.issuer,
            audience: self.audience,
            typ: self.typ,
            leeway: self.leeway,
            header: self.header,
            scheme: self.scheme,
            bare: self.bare,
            realm: self.realm,
            check_claims: self.check_claims,
            verify_token: self.verify_token,
            on_unauthorized: self.on_unauthorized,
            on_verdict: self.on_verdict,
            version: self.version,
            has_users_of_claims: TypeId::of::<S>() == TypeId::of::<FromClaims>(),
            clock: self.clock,
        }
    }

    /// Makes the guard remember its decisions about tokens that it has accepted, while `version` returns the same
    /// number.
    ///
    /// It then asks neither the keys, nor [`check_claims`](Self::check_claims), nor the users again; the token's times
    /// are checked at each request all the same. So the number must change after every change of what these return.
    /// With `None`, nothing is remembered. A guard with [`verify_token`](Self::verify_token) asks each time.
    ///
    /// A guard whose users are made [from the claims](FromClaims), and that has no checks of its own, remembers the
    /// user without this.
    ///
    /// # Example: users in memory, with a version
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use hallpass::Guard;
    ///
    /// let version = Arc::new(AtomicU64::new(0)); // whoever changes a user, a key or a session adds 1 to it afterwards
    /// let builder = Guard::builder().remember_while(move || Some(version.load(Ordering::SeqCst)));
    /// # let _ = builder;
    /// ```
    pub fn remember_while(mut self, version: impl Fn() -> Option<u64> + Send + Sync + 'static) -> Self {
        self.version = Some(Box::new(version));
        self
    }

    /// Builds the guard.
    ///
    /// # Errors
    /// [`GuardError`] if a setting is missing or not valid, or contradicts another.
    ///
    /// # Example: the error names the missing line
    /// ```
    /// let error = hallpass::Guard::builder().issuer("https://id.example").build().unwrap_err();
    /// assert!(error.to_string().starts_with("the guard has no keys; add .shared_secret(..)"));
    /// ```
    pub fn build(self) -> Result<Guard<U>, GuardError> {
        let make_keys = self.keys.ok_or(GuardError::NoKeys)?;
        let issuer = self.issuer.filter(|issuer| !issuer.is_empty()).ok_or(GuardError::NoIssuer)?;
        let audience = self.audience.filter(|audience| !audience.is_empty()).ok_or(GuardError::NoAudience)?;
        if self.leeway < Duration::zero() || self.leeway > Duration::seconds(300) {
            return Err(GuardError::Leeway(self.leeway.num_seconds()));
        }
        let header = HeaderName::try_from(&self.header).map_err(|_| GuardError::Header(self.header))?;
        let challenge = Challenge::new(self.scheme.as_deref().unwrap_or("Bearer"), &self.realm)
            .map_err(GuardError::Challenge)?;
        let scheme = match self.scheme {
            Some(name) => Scheme::Named { name, bare: self.bare },
            None if self.bare => return Err(GuardError::BareWithoutScheme),
            None => Scheme::Whole,
        };
        let remember = match self.version {
            Some(version) => Remember::While(version),
            None if self.has_users_of_claims && self.check_claims.is_none() => Remember::User,
            None => Remember::Nothing,
        };
        // Last, since it may start to fetch.
        let key_source = make_keys(&self.clock)?;
        let expected = Expected::new(issuer, audience).with_type(self.typ).with_leeway(self.leeway);
        Ok(Guard {
            authenticator: Arc::new(Authenticator {
                key_source,
                verifier: VerifiedTokens::new(expected),
                remember,
                header,
                scheme,
                challenge,
                check_claims: self.check_claims,
                verify_token: self.verify_token,
                on_unauthorized: self.on_unauthorized,
                on_verdict: self.on_verdict,
                clock: self.clock,
            }),
            users: self.users,
        })
    }
}

impl<U> std::fmt::Debug for GuardBuilder<U> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuardBuilder")
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}
