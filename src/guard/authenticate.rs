//! The decision: who sent a request, or why it is refused.
//!
//! Read it from top to bottom: [`Guard::authenticate_now`] decides by what is in memory, without a future: almost every
//! request. [`Guard::authenticate`] waits for the rest. [`Authenticator::verified_claims`] has the steps for the token
//! alone. Extractors and middleware call the same functions.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};
use actix_web::{HttpMessage, HttpRequest};
use chrono::{DateTime, Utc};

use super::answer;
use super::caller::Caller;
use super::credential;
use super::entered::{AnyGuard, Entered};
use super::guard::{Accepted, AnyUser, Authenticator, Guard, Remember};
use super::refusal::Refusal;
use super::refused::Refused;
use super::source::{CachedUser, Unavailable};
use crate::log_limit::LogLimit;
use crate::token::{Claims, TokenError, Verified};

/// The longest wait of a request for the key that its token names.
const MAX_REFRESH_WAIT: Duration = Duration::from_secs(2);

static UNSERVED: LogLimit = LogLimit::new("request refused: no answer is possible");
static INVALID: LogLimit = LogLimit::new("request refused: token_invalid");
static REVOKED: LogLimit = LogLimit::new("request refused: token_revoked");
static FORBIDDEN: LogLimit = LogLimit::new("request refused: role_missing");

/// Logs why a request is refused: what only an attack or a fault causes as a line a second, with its count.
fn log_refusal(refusal: Refusal) {
    match refusal {
        Refusal::Unavailable | Refusal::NotConfigured => UNSERVED.log(log::Level::Error, &refusal),
        Refusal::TokenInvalid(_) | Refusal::CredentialAmbiguous => INVALID.log(log::Level::Info, &refusal),
        Refusal::TokenRevoked => REVOKED.log(log::Level::Info, &refusal),
        Refusal::RoleMissing => FORBIDDEN.log(log::Level::Info, &refusal),
        Refusal::TokenMissing
        | Refusal::TokenExpired
        | Refusal::SignInStale { .. }
        | Refusal::SecondFactorMissing
        | Refusal::SecondFactorUnenrolled
        | Refusal::Application(_) => {
            log::debug!("request refused: {}: {refusal}", refusal.code());
        }
    }
}

/// The treatment of a token that names a key which is not in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnknownKey {
    /// Refuse it at once: an extractor decides in its first poll.
    Refuse,
    /// Wait for the key source to refresh: nothing behind the middleware runs meanwhile.
    Await,
}

/// An authenticated user, and the claims of the token.
pub(super) struct Authenticated<U> {
    pub user: Arc<U>,
    pub claims: Arc<Claims>,
}

/// The decision on a request, as far as it can be made from memory.
pub(super) enum Known<U> {
    Decided(Result<Authenticated<U>, Refused>),
    /// The token is good, and its user is not in memory.
    Claims(Arc<Claims>),
    /// Whether the token is good has to be waited for.
    Nothing,
}

impl<U: Send + Sync + 'static> Guard<U> {
    /// Authenticates `request` and loads its user. A second call for the same request returns what the first found.
    pub(super) async fn authenticate(
        &self,
        request: &HttpRequest,
        unknown_key: UnknownKey,
    ) -> Result<Authenticated<U>, Refused> {
        let known = self.authenticate_now(request, None);
        self.authenticate_rest(request, known, unknown_key).await
    }

    /// Goes on from what is known without waiting.
    pub(super) async fn authenticate_rest(
        &self,
        request: &HttpRequest,
        known: Known<U>,
        unknown_key: UnknownKey,
    ) -> Result<Authenticated<U>, Refused> {
        let claims = match known {
            Known::Decided(decision) => return decision,
            Known::Claims(claims) => claims,
            Known::Nothing => self.authenticator.authenticate(request, unknown_key).await?,
        };
        let user =
            self.load_user(&claims).await.map_err(|refusal| self.authenticator.refuse(refusal, request))?;
        Ok(self.admit(request, user, claims, None))
    }

    /// Authenticates `request` as far as that needs no waiting. `middleware` is this guard, where a middleware asks.
    pub(super) fn authenticate_now(
        &self,
        request: &HttpRequest,
        middleware: Option<&Arc<dyn AnyGuard>>,
    ) -> Known<U> {
        if let Some(authenticated) = self.authenticated_before(request, middleware) {
            return Known::Decided(Ok(authenticated));
        }
        if self.authenticator.verify_token.is_some() {
            return Known::Nothing;
        }
        let decision = self.decide(request);
        if decision.is_ok() {
            self.authenticator.note(Ok(()));
        }
        match decision {
            Ok(Decision::Admitted(user, token)) => {
                Known::Decided(Ok(self.admit(request, user, Arc::clone(&token.claims), middleware)))
            }
            Ok(Decision::UserNotCached(claims)) => Known::Claims(claims),
            Err(Refusal::TokenInvalid(TokenError::KeyUnknown)) => Known::Nothing,
            Err(refusal) => Known::Decided(Err(self.authenticator.refuse(refusal, request))),
        }
    }

    /// Decides about `request`, of which nothing else has to know who sent it, if that needs no waiting.
    #[cfg(feature = "server")]
    pub(crate) fn decide_at_once(&self, request: &HttpRequest) -> Option<Result<Arc<U>, Refused>> {
        if self.authenticator.verify_token.is_some() {
            return None;
        }
        match self.decide(request) {
            Ok(Decision::Admitted(user, _)) => {
                self.authenticator.note(Ok(()));
                Some(Ok(user))
            }
            Ok(Decision::UserNotCached(_)) | Err(Refusal::TokenInvalid(TokenError::KeyUnknown)) => None,
            Err(refusal) => Some(Err(self.authenticator.refuse(refusal, request))),
        }
    }

    fn authenticated_before(
        &self,
        request: &HttpRequest,
        middleware: Option<&Arc<dyn AnyGuard>>,
    ) -> Option<Authenticated<U>> {
        let mut extensions = request.extensions_mut();
        let caller = extensions.get_mut::<Caller>().filter(|caller| caller.is_of(&self.authenticator))?;
        let user = caller.user()?;
        if let Some(guard) = middleware {
            caller.enter(Entered::new(guard, request));
        }
        Some(Authenticated { user, claims: caller.shared_claims() })
    }

    /// Decides about `request` by what is in memory.
    fn decide(&self, request: &HttpRequest) -> Result<Decision<U>, Refusal> {
        let authenticator = &self.authenticator;
        let credential = authenticator.credential(request)?;
        let now = authenticator.clock.now();
        // Read before everything that it is the version of: what changes meanwhile has a later one.
        let (version, cached) = match &authenticator.remember {
            Remember::Nothing => (None, None),
            Remember::User => {
                let keys = authenticator.key_source.keys().ok();
                (Some(0), keys.and_then(|keys| authenticator.verifier.cached_with(&keys, credential)))
            }
            Remember::While(version) => {
                let version = version();
                // The version is one of the keys too.
                (version, version.and_then(|_| authenticator.verifier.cached(credential)))
            }
        };
        if let Some(token) = cached {
            match token.check_times(now) {
                Ok(()) => {
                    if let Some(user) = accepted(&token, version) {
                        return Ok(Decision::Admitted(user, token));
                    }
                }
                Err(error)
                    if authenticator.verifier.is_current(&token, &authenticator.key_source.keys()?) =>
                {
                    return Err(error.into());
                }
                Err(_) => {}
            }
        }
        let token = authenticator.verify(credential::text(credential)?, now)?;
        if let Some(user) = accepted(&token, version) {
            return Ok(Decision::Admitted(user, token));
        }
        if let Some(check_claims) = &authenticator.check_claims {
            check_claims(&token.claims)?;
        }
        match self.users.cached(&token.claims) {
            CachedUser::Found(user) => {
                if let Some(version) = version {
                    let accepted = Accepted { version, user: Arc::clone(&user) as AnyUser };
                    token.note.store(Some(Arc::new(accepted)));
                }
                Ok(Decision::Admitted(user, token))
            }
            CachedUser::Gone => Err(Refusal::TokenRevoked),
            CachedUser::NotCached => Ok(Decision::UserNotCached(Arc::clone(&token.claims))),
        }
    }

    /// Stores the caller in `request`.
    fn admit(
        &self,
        request: &HttpRequest,
        user: Arc<U>,
        claims: Arc<Claims>,
        middleware: Option<&Arc<dyn AnyGuard>>,
    ) -> Authenticated<U> {
        let entered = middleware.map(|guard| Entered::new(guard, request));
        let any_user = Arc::clone(&user) as AnyUser;
        Caller::new(&self.authenticator, Arc::clone(&claims), Some(any_user), entered).store(request);
        Authenticated { user, claims }
    }

    async fn load_user(&self, claims: &Claims) -> Result<Arc<U>, Refusal> {
        match self.users.cached(claims) {
            CachedUser::Found(user) => Ok(user),
            CachedUser::Gone => Err(Refusal::TokenRevoked),
            CachedUser::NotCached => match self.users.find(claims).await {
                Ok(Some(user)) => Ok(user),
                Ok(None) => Err(Refusal::TokenRevoked),
                Err(Unavailable) => Err(Refusal::Unavailable),
            },
        }
    }
}

/// A decision by what is in memory.
enum Decision<U> {
    Admitted(Arc<U>, Arc<Verified<Accepted>>),
    UserNotCached(Arc<Claims>),
}

/// Returns the user with whom `token` was accepted, if nothing that this depends on has changed since.
fn accepted<U: Send + Sync + 'static>(token: &Verified<Accepted>, version: Option<u64>) -> Option<Arc<U>> {
    let accepted = token.note.load();
    let accepted = accepted.as_ref().filter(|accepted| Some(accepted.version) == version)?;
    Arc::clone(&accepted.user).downcast().ok()
}

impl Authenticator {
    /// Authenticates `request` by its token alone, and stores the caller without a user.
    pub(super) async fn authenticate(
        self: &Arc<Self>,
        request: &HttpRequest,
        unknown_key: UnknownKey,
    ) -> Result<Arc<Claims>, Refused> {
        if let Some(claims) = self.claims_before(request) {
            return Ok(claims);
        }
        let claims = self
            .verified_claims(request, unknown_key)
            .await
            .map_err(|refusal| self.refuse(refusal, request))?;
        self.note(Ok(()));
        Caller::new(self, Arc::clone(&claims), None, None).store(request);
        Ok(claims)
    }

    fn claims_before(self: &Arc<Self>, request: &HttpRequest) -> Option<Arc<Claims>> {
        let extensions = request.extensions();
        extensions.get::<Caller>().filter(|caller| caller.is_of(self)).map(Caller::shared_claims)
    }

    /// Reads the credential, verifies the token, and runs the app's checks of its claims.
    async fn verified_claims(
        &self,
        request: &HttpRequest,
        unknown_key: UnknownKey,
    ) -> Result<Arc<Claims>, Refusal> {
        let token = credential::text(self.credential(request)?)?;
        let verify = || self.verify(token, self.clock.now());
        let verified = match verify() {
            Err(Refusal::TokenInvalid(TokenError::KeyUnknown)) => {
                self.refresh_keys(unknown_key).await?;
                verify()?
            }
            verified => verified?,
        };
        let claims = Arc::clone(&verified.claims);
        if let Some(check_claims) = &self.check_claims {
            check_claims(&claims)?;
        }
        if let Some(verify_token) = &self.verify_token {
            verify_token(Arc::clone(&claims), request.clone()).await?;
        }
        Ok(claims)
    }

    /// Tells the app of a verdict, if it wants to know.
    fn note(&self, verdict: Result<(), Refusal>) {
        if let Some(on_verdict) = &self.on_verdict {
            on_verdict(verdict);
        }
    }

    fn credential<'r>(&self, request: &'r HttpRequest) -> Result<&'r [u8], Refusal> {
        let values = request.headers().get_all(&self.header).map(HeaderValue::as_bytes);
        credential::find(values, &self.scheme)
    }

    fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Arc<Verified<Accepted>>, Refusal> {
        Ok(self.verifier.verify(token, &self.key_source.keys()?, now)?)
    }

    /// Asks the key source to refresh, and waits for it if the request may wait.
    ///
    /// The key source starts its refresh in any case, so that a later request finds the key.
    async fn refresh_keys(&self, unknown_key: UnknownKey) -> Result<(), Refusal> {
        let refresh = self.key_source.refresh();
        let Some(refresh) = refresh.filter(|_| unknown_key == UnknownKey::Await) else {
            return Err(Refusal::TokenInvalid(TokenError::KeyUnknown));
        };
        match actix_rt::time::timeout(MAX_REFRESH_WAIT, refresh).await {
            Ok(Err(Unavailable)) => Err(Refusal::Unavailable),
            // After a timeout the token is verified again too, since the key may have come in another way.
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }

    /// Logs why `request` is refused, and makes the response.
    ///
    /// The app's own response is completed: success becomes 401, and a missing challenge is added.
    pub(super) fn refuse(&self, refusal: Refusal, request: &HttpRequest) -> Refused {
        log_refusal(refusal);
        self.note(Err(refusal));
        let status = answer::status(refusal);
        let custom = self.on_unauthorized.as_ref().filter(|_| status.is_client_error());
        let Some(custom) = custom else {
            return Refused::new(refusal, answer::failure(refusal, &self.challenge).response());
        };
        let mut response = custom(refusal, status, request);
        if response.status().is_success() {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        let is_challenged = response.headers().contains_key(WWW_AUTHENTICATE);
        if let Some(challenge) = self.challenge.of(refusal).filter(|_| !is_challenged) {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        Refused::new(refusal, response)
    }
}
