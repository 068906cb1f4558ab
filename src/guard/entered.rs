//! The guard of a middleware, and where the middleware stands: so that extractors inside find it, unless a guard that
//! is installed nearer to the handler counts.

use std::any::Any;
use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::dev::Extensions;

use super::guard::{Authenticator, Guard};
use super::source::User;

/// The place in memory of what is installed: it tells two installations apart, of the same guard too.
type Place = Option<usize>;

pub(super) fn installed<T: 'static>(request: &HttpRequest) -> Place {
    request.app_data::<T>().map(|installed| std::ptr::from_ref(installed).addr())
}

/// What is installed at a place in an app, of the kinds that could be nearer than the guard of a middleware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Places {
    /// A guard for the same kind of user.
    guard: Place,
    /// A guard, for handlers that take no particular kind of user.
    any: (Place, Place),
}

impl Places {
    fn of<U: Send + Sync + 'static>(request: &HttpRequest) -> Self {
        Self { guard: installed::<Guard<U>>(request), any: Self::of_any(request) }
    }

    fn of_any(request: &HttpRequest) -> (Place, Place) {
        (installed::<Arc<Authenticator>>(request), installed::<Guard<User>>(request))
    }
}

/// The guard of a middleware that a request has passed.
#[derive(Clone)]
pub(super) struct Entered {
    guard: Arc<dyn AnyGuard>,
    places: Places,
}

/// A guard for whatever kind of user.
pub(super) trait AnyGuard: Any + Send + Sync {
    /// Returns what is installed where a middleware of this guard stands, which `request` has reached.
    fn places(&self, request: &HttpRequest) -> Places;

    /// Leaves the guard in `extensions`, for each kind of user one.
    fn keep(&self, places: Places, extensions: &mut Extensions);
}

impl<U: Send + Sync + 'static> AnyGuard for Guard<U> {
    fn places(&self, request: &HttpRequest) -> Places {
        Places::of::<U>(request)
    }

    fn keep(&self, places: Places, extensions: &mut Extensions) {
        extensions.insert(Kept { value: self.clone(), installed: places.guard });
        extensions.insert(Kept { value: Arc::clone(&self.authenticator), installed: places.any });
    }
}

/// A guard or its authenticator, and what was installed where its middleware stands. If something else is installed
/// where it is asked for, that is nearer.
struct Kept<T, P> {
    value: T,
    installed: P,
}

impl Entered {
    pub(super) fn new(guard: &Arc<dyn AnyGuard>, request: &HttpRequest) -> Self {
        Self { guard: Arc::clone(guard), places: guard.places(request) }
    }

    /// Leaves the guard in `extensions`, where it does not depend on a caller.
    pub(super) fn keep(self, extensions: &mut Extensions) {
        self.guard.keep(self.places, extensions);
    }

    /// Returns the guard, if it is one for the users `U` and none is nearer to where `request` is.
    pub(super) fn nearest<U: Send + Sync + 'static>(&self, request: &HttpRequest) -> Option<&Guard<U>> {
        let guard: &dyn Any = &*self.guard;
        guard.downcast_ref().filter(|_| self.places.guard == installed::<Guard<U>>(request))
    }

    /// Tells how near the guard is to where `request` is, for a handler that takes no particular kind of user.
    pub(super) fn nearness(&self, request: &HttpRequest) -> Nearness {
        Nearness::of(self.places.any, request)
    }
}

/// How near the guard of a middleware is to a handler that takes no particular kind of user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nearness {
    Nearest,
    /// A `Guard<User>` is installed nearer.
    BehindGuardOfUser,
    /// A guard is installed nearer, with its configuration.
    BehindAny,
}

impl Nearness {
    fn of(middleware: (Place, Place), request: &HttpRequest) -> Self {
        let here = Places::of_any(request);
        if here == middleware {
            Self::Nearest
        } else if here.0 == middleware.0 {
            Self::BehindGuardOfUser
        } else {
            Self::BehindAny
        }
    }
}

/// Returns the guard for the users `U` that was kept in the extensions of `request`, if none is nearer.
pub(super) fn kept<U: Send + Sync + 'static>(
    request: &HttpRequest,
    extensions: &Extensions,
) -> Option<Guard<U>> {
    let kept = extensions.get::<Kept<Guard<U>, Place>>()?;
    (kept.installed == installed::<Guard<U>>(request)).then(|| kept.value.clone())
}

/// Returns the authenticator that was kept in the extensions of `request`, and how near it is.
pub(super) fn kept_authenticator(
    request: &HttpRequest,
    extensions: &Extensions,
) -> Option<(Arc<Authenticator>, Nearness)> {
    let kept = extensions.get::<Kept<Arc<Authenticator>, (Place, Place)>>()?;
    Some((Arc::clone(&kept.value), Nearness::of(kept.installed, request)))
}
