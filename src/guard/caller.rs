//! The caller of a request, as the guard stores it in the request's extensions.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use actix_web::{HttpMessage, HttpRequest};

use super::guard::Authenticator;
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
    user: Option<Arc<dyn Any + Send + Sync>>,
    authenticator: Arc<Authenticator>,
}

impl Caller {
    pub(super) fn new(authenticator: &Arc<Authenticator>, claims: &Arc<Claims>) -> Self {
        Self { claims: Arc::clone(claims), user: None, authenticator: Arc::clone(authenticator) }
    }

    pub(super) fn with_user<U: Send + Sync + 'static>(mut self, user: &Arc<U>) -> Self {
        self.user = Some(Arc::clone(user) as Arc<dyn Any + Send + Sync>);
        self
    }

    /// Stores the caller in the extensions of `request`.
    pub(super) fn store(self, request: &HttpRequest) {
        request.extensions_mut().insert(self);
    }

    /// Returns the stored caller of `request`, if `authenticator` is the one that accepted its token.
    pub(super) fn stored(request: &HttpRequest, authenticator: &Arc<Authenticator>) -> Option<Self> {
        let extensions = request.extensions();
        let caller = extensions.get::<Self>()?;
        Arc::ptr_eq(&caller.authenticator, authenticator).then(|| caller.clone())
    }

    pub(super) fn into_claims(self) -> Arc<Claims> {
        self.claims
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
