//! Finds the guard of a request: the nearest to the handler, a middleware's or an installed one.

use std::any::type_name;
use std::sync::Arc;

use actix_web::{HttpMessage, HttpRequest};

use super::caller::Caller;
use super::entered::{AnyGuard, Entered, Nearness, kept, kept_authenticator};
use super::guard::{Authenticator, Guard};
use super::refused::Refused;
use super::source::User;
use crate::log_limit::LogLimit;

static NOT_CONFIGURED: LogLimit = LogLimit::new("no guard for AuthUser");

impl<U: Send + Sync + 'static> Guard<U> {
    /// Makes `guard` that of `request` for what is inside a middleware, except where another is installed further
    /// inside.
    pub(super) fn enter(guard: &Arc<dyn AnyGuard>, request: &HttpRequest) {
        let mut extensions = request.extensions_mut();
        Caller::step_back(&mut extensions);
        Entered::new(guard, request).keep(&mut extensions);
    }

    /// Finds the guard of `request`.
    pub(super) fn of(request: &HttpRequest) -> Result<Self, Refused> {
        let extensions = request.extensions();
        let of_caller = extensions.get::<Caller>().and_then(|caller| caller.entered()?.nearest(request));
        if let Some(guard) = of_caller.cloned().or_else(|| kept(request, &extensions)) {
            return Ok(guard);
        }
        drop(extensions);
        request.app_data::<Self>().cloned().ok_or_else(|| {
            let user = type_name::<U>();
            let advice = format!(
                "add .app_data(guard.clone()) to the App, where guard is a Guard<{user}>, or .wrap(guard.protect()) to the \
                 scope"
            );
            NOT_CONFIGURED.log(log::Level::Error, &advice);
            Refused::not_configured()
        })
    }
}

impl Authenticator {
    /// Finds the authenticator of `request` for a handler that takes no particular user type.
    pub(super) fn of(request: &HttpRequest) -> Result<Arc<Self>, Refused> {
        let entered = {
            let extensions = request.extensions();
            let caller = extensions.get::<Caller>();
            let of_caller = caller.and_then(|caller| {
                Some((Arc::clone(caller.authenticator()), caller.entered()?.nearness(request)))
            });
            of_caller.or_else(|| kept_authenticator(request, &extensions))
        };
        match entered {
            Some((authenticator, Nearness::Nearest)) => return Ok(authenticator),
            Some((_, Nearness::BehindGuardOfUser)) => {
                return Guard::<User>::of(request).map(|guard| guard.authenticator);
            }
            Some((_, Nearness::BehindAny)) | None => {}
        }
        match request.app_data::<Arc<Self>>() {
            Some(authenticator) => Ok(Arc::clone(authenticator)),
            None => Guard::<User>::of(request).map(|guard| guard.authenticator),
        }
    }
}
