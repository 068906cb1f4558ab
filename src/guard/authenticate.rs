//! The decision: who sent a request, or why it is refused.
//!
//! Read it from top to bottom: [`Guard::authenticate`] gets the claims of the token from
//! [`Authenticator::authenticate`], loads the user and stores the caller. [`Authenticator::verified_claims`] has the
//! steps for the token alone. Extractors and middleware call the same functions, which wait only for what is not in
//! memory. So everything else is decided in the first poll.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::WWW_AUTHENTICATE;

use super::answer;
use super::caller::Caller;
use super::credential;
use super::guard::{Authenticator, Guard};
use super::refusal::Refusal;
use super::refused::Refused;
use super::source::{CachedUser, Unavailable};
use crate::log_limit::LogLimit;
use crate::token::{Claims, TokenError};

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

impl<U: Send + Sync + 'static> Guard<U> {
    /// Authenticates `request` and loads its user. A second call for the same request returns what the first found.
    pub(super) async fn authenticate(
        &self,
        request: &HttpRequest,
        unknown_key: UnknownKey,
    ) -> Result<Authenticated<U>, Refused> {
        if let Some(caller) = Caller::stored(request, &self.authenticator)
            && let Some(user) = caller.user()
        {
            return Ok(Authenticated { user, claims: caller.into_claims() });
        }
        let claims = self.authenticator.authenticate(request, unknown_key).await?;
        let user =
            self.load_user(&claims).await.map_err(|refusal| self.authenticator.refuse(refusal, request))?;
        Caller::new(&self.authenticator, &claims).with_user(&user).store(request);
        Ok(Authenticated { user, claims })
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

impl Authenticator {
    /// Authenticates `request` by its token alone, and stores the caller without a user.
    pub(super) async fn authenticate(
        self: &Arc<Self>,
        request: &HttpRequest,
        unknown_key: UnknownKey,
    ) -> Result<Arc<Claims>, Refused> {
        if let Some(caller) = Caller::stored(request, self) {
            return Ok(caller.into_claims());
        }
        let claims = self
            .verified_claims(request, unknown_key)
            .await
            .map_err(|refusal| self.refuse(refusal, request))?;
        self.note(Ok(()));
        Caller::new(self, &claims).store(request);
        Ok(claims)
    }

    /// Reads the credential, verifies the token, and runs the app's checks of its claims.
    async fn verified_claims(
        &self,
        request: &HttpRequest,
        unknown_key: UnknownKey,
    ) -> Result<Arc<Claims>, Refusal> {
        let values =
            request.headers().get_all(&self.header).map(actix_web::http::header::HeaderValue::as_bytes);
        let token = credential::token(values, &self.scheme)?;
        let claims = match self.verify(token) {
            Err(Refusal::TokenInvalid(TokenError::KeyUnknown)) => {
                self.refresh_keys(unknown_key).await?;
                self.verify(token)?
            }
            verified => verified?,
        };
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

    fn verify(&self, token: &str) -> Result<Arc<Claims>, Refusal> {
        Ok(self.verifier.verify(token, &self.key_source.keys()?, self.clock.now())?)
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
