//! The fields of a request.

use crate::server::accounts;
use crate::server::credentials::{Password, PasswordContext, check_presented, check_shape};
use crate::server::error::{Error, FieldErrors};

const REQUIRED: &str = "is required";

/// Checks the fields of a request one by one and collects the errors, so that one answer lists them all.
#[derive(Default)]
pub(crate) struct Checked(FieldErrors);

impl Checked {
    /// Takes a field's value. An error is collected, and the value is empty until [`verdict`](Self::verdict) refuses
    /// the request.
    fn take<T: Default>(&mut self, field: &'static str, check: Result<T, String>) -> T {
        check.unwrap_or_else(|reason| {
            self.0.entry(field).or_default().push(reason);
            T::default()
        })
    }

    pub(crate) fn email(&mut self, given: Option<String>) -> String {
        self.take("email", accounts::parse_email(given.as_deref().unwrap_or_default()))
    }

    pub(crate) fn name(&mut self, given: Option<String>) -> String {
        let name = given.ok_or_else(|| REQUIRED.to_owned());
        self.take("name", name.and_then(|name| accounts::parse_name(&name)))
    }

    pub(crate) fn roles(&mut self, given: &[String]) -> Vec<String> {
        self.take("roles", accounts::parse_roles(given))
    }

    /// Takes a field that is required and may be empty.
    pub(crate) fn required<T: Default>(&mut self, field: &'static str, given: Option<T>) -> T {
        self.take(field, given.ok_or_else(|| REQUIRED.to_owned()))
    }

    /// Takes a field that was given in exactly one of several ways; `reason` says which there are.
    pub(crate) fn exactly_one<T>(
        &mut self,
        field: &'static str,
        reason: &str,
        given: Option<T>,
    ) -> Option<T> {
        if given.is_none() {
            self.0.entry(field).or_default().push(reason.to_owned());
        }
        given
    }

    /// Takes the password of an account, as the client sent it.
    pub(crate) fn presented(&mut self, field: &'static str, given: Option<Password>) -> Password {
        let password = given.unwrap_or_default();
        self.take(field, check_presented(&password).map(|()| password))
    }

    /// Takes a new password for the user of `context`. A common password is refused later, since that check takes time.
    pub(crate) fn new_password(
        &mut self,
        field: &'static str,
        given: Option<Password>,
        context: &PasswordContext,
    ) -> Password {
        let password = given.unwrap_or_default();
        let verdict = check_shape(&password, context);
        self.take(field, verdict.map(|()| password))
    }

    /// # Errors
    /// [`Error::ValidationFailed`] with every field that was not acceptable.
    pub(crate) fn verdict(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::ValidationFailed(self.0)) }
    }
}
