//! The caller of a request, as the guard stores it in the request's extensions.

use std::fmt;
use std::sync::Arc;

use actix_web::dev::Extensions;
use actix_web::{HttpMessage, HttpRequest};

use super::entered::Entered;
use super::guard::{AnyUser, Authenticator};
use crate::token::Claims;

/// The authenticated caller of a request, for middleware and access logs.
///
/// A guard stores it in the request's extensions once it has accepted the token.
///
/// # Example: the subject in an access log
/// ```
/// use actix_web::{HttpMessage, dev::ServiceResponse};
/// use hallpass::{Caller, User};
///
/// fn subject(response: &ServiceResponse) -> String {
///     match response.request().extensions().get::<Caller>() {
///         Some(caller) => caller.claims().sub.clone(),
///         None => "-".to_owned(),
///     }
/// }
///
/// fn email(caller: &Caller) -> Option<String> {
///     caller.user::<User>().map(|user| user.email.clone())
/// }
/// ```
#[derive(Clone)]
pub struct Caller {
    claims: Arc<Claims>,
    user: Option<AnyUser>,
    authenticator: Arc<Authenticator>,
    /// The guard of the middleware that stored this, if one did.
    entered: Option<Entered>,
}

impl Caller {
    pub(super) fn new(
        authenticator: &Arc<Authenticator>,
        claims: Arc<Claims>,
        user: Option<AnyUser>,
        entered: Option<Entered>,
    ) -> Self {
        Self { claims, user, authenticator: Arc::clone(authenticator), entered }
    }

    /// Stores the caller in the extensions of `request`.
    pub(super) fn store(self, request: &HttpRequest) {
        let mut extensions = request.extensions_mut();
        let replaced = extensions.insert(self);
        // The guard of the middleware around this one is still found, for what it is still the nearest guard of.
        if let Some(entered) = replaced.and_then(|replaced| replaced.entered) {
            entered.keep(&mut extensions);
        }
    }

    /// Forgets which middleware stored the caller of `request`, since another is nearer now; its guard is still found.
    pub(super) fn step_back(extensions: &mut Extensions) {
        let entered = extensions.get_mut::<Self>().and_then(|caller| caller.entered.take());
        if let Some(entered) = entered {
            entered.keep(extensions);
        }
    }

    /// Tells whether `authenticator` is the one that accepted the token.
    pub(super) fn is_of(&self, authenticator: &Arc<Authenticator>) -> bool {
        Arc::ptr_eq(&self.authenticator, authenticator)
    }

    pub(super) fn authenticator(&self) -> &Arc<Authenticator> {
        &self.authenticator
    }

    /// Notes that the caller has passed a further middleware, of the same guard.
    pub(super) fn enter(&mut self, entered: Entered) {
        self.entered = Some(entered);
    }

    pub(super) fn entered(&self) -> Option<&Entered> {
        self.entered.as_ref()
    }

    pub(super) fn shared_claims(&self) -> Arc<Claims> {
        Arc::clone(&self.claims)
    }

    /// Returns the claims of the verified token.
    ///
    /// # Example
    /// ```
    /// fn session(caller: &hallpass::Caller) -> Option<&str> {
    ///     caller.claims().sid.as_deref()
    /// }
    /// ```
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Returns the user, or `None` if no guard with the user type `U` has loaded one.
    ///
    /// # Example
    /// ```
    /// use hallpass::{Caller, User};
    ///
    /// fn is_admin(caller: &Caller) -> bool {
    ///     caller.user::<User>().is_some_and(|user| user.roles.contains(&"admin".to_owned()))
    /// }
    /// ```
    pub fn user<U: Send + Sync + 'static>(&self) -> Option<Arc<U>> {
        Arc::clone(self.user.as_ref()?).downcast().ok()
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("claims", &self.claims).finish_non_exhaustive()
    }
}
