//! Users that an embedding app adds: the first admin, say, or those of its own sign-up.

use super::accounts::{NewUser, parse_email, parse_name, parse_roles};
use super::auth_server::AuthServer;
use super::credentials::{HashError, Origin, Password, PasswordRules, check_new};
use super::error::Error;
use crate::guard::User;

/// A user to be added by [`AuthServer::add_user`].
///
/// # Example
/// ```
/// use hallpass::server::NewAccount;
///
/// let ada = NewAccount::new("ada@example.com").name("Ada Lovelace").roles(["admin"]);
/// let ada = ada.password("seventeen blue lanterns");
/// # let _ = ada;
/// ```
#[derive(Debug)]
#[must_use = "the user is added by AuthServer::add_user"]
pub struct NewAccount {
    email: String,
    name: Option<String>,
    roles: Vec<String>,
    password: Option<Password>,
}

/// The reason why a user was not added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddUserError {
    /// A field is not acceptable. Names the field, and what is accepted.
    #[error("{0}")]
    Invalid(String),
    /// There is a user with this address.
    #[error("there is a user with this e-mail address already")]
    EmailTaken,
    /// The database cannot be written, or too many passwords wait to be hashed.
    #[error("not now: {0}")]
    Unavailable(String),
}

impl NewAccount {
    /// A user with this address, which counts as verified: the app vouches for it.
    pub fn new(email: impl Into<String>) -> Self {
        Self { email: email.into(), name: None, roles: Vec::new(), password: None }
    }

    /// Sets the name to show.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the roles. The role `admin` opens the routes under `/admin`.
    pub fn roles<R: Into<String>>(mut self, roles: impl IntoIterator<Item = R>) -> Self {
        self.roles = roles.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the password, which is judged as one that the user chooses. A user without one cannot sign in by password.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(Password::from(password));
        self
    }
}

impl AuthServer {
    /// Adds a user.
    ///
    /// # Errors
    /// [`AddUserError`].
    ///
    /// # Example: an app makes sure that it has an admin
    /// ```no_run
    /// use hallpass::server::{AddUserError, AuthServer, NewAccount};
    ///
    /// # async fn f(auth: AuthServer, password: String) -> Result<(), AddUserError> {
    /// let admin = NewAccount::new("ada@example.com").roles(["admin"]).password(&password);
    /// match auth.add_user(admin).await {
    ///     Ok(_) | Err(AddUserError::EmailTaken) => Ok(()),
    ///     Err(other) => Err(other),
    /// }
    /// # }
    /// ```
    pub async fn add_user(&self, account: NewAccount) -> Result<User, AddUserError> {
        let invalid = |field: &str| {
            let field = field.to_owned();
            move |reason: String| AddUserError::Invalid(format!("the {field} {reason}"))
        };
        let email = parse_email(&account.email).map_err(invalid("e-mail address"))?;
        let name = account.name.map(|name| parse_name(&name)).transpose().map_err(invalid("name"))?;
        let roles = parse_roles(&account.roles).map_err(AddUserError::Invalid)?;
        let password_hash = match account.password {
            Some(password) => {
                let context = PasswordRules::new(self.settings()).context(&email, name.as_deref());
                check_new(&password, &context).map_err(invalid("password"))?;
                Some(self.hasher().hash(&password, Origin::LOCAL).await?)
            }
            None => None,
        };
        let user = NewUser { email, email_is_verified: true, name, roles, password_hash };
        Ok(self.users().add(user).await?.into())
    }
}

impl From<HashError> for AddUserError {
    fn from(error: HashError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<Error> for AddUserError {
    fn from(error: Error) -> Self {
        match error {
            Error::EmailTaken => Self::EmailTaken,
            other => Self::Unavailable(other.to_string()),
        }
    }
}
