//! The issuer, audience, type and times that a token must have.

use chrono::{DateTime, Duration, Utc};

use super::claims::Claims;
use super::error::TokenError;

/// The expected `typ` of a token (RFC 8725 §3.11). Defaults to access tokens.
///
/// Case does not matter, and neither does a leading `application/` (RFC 7515 §4.1.9).
///
/// # Example
/// ```
/// use hallpass::token::{Expected, TokenType};
///
/// let expected = Expected::new("https://id.example", "https://api.example").with_type(TokenType::Jwt);
/// # let _ = expected;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TokenType {
    /// `at+jwt`: access tokens of this server and of RFC 9068 §2.1.
    #[default]
    AtJwt,
    /// `JWT`, which many older issuers use.
    Jwt,
    /// Any type, or none. Safe only if the issuer signs nothing but access tokens with these keys for this audience.
    Any,
}

impl TokenType {
    fn accepts(self, typ: Option<&str>) -> bool {
        let name = match self {
            Self::AtJwt => "at+jwt",
            Self::Jwt => "jwt",
            Self::Any => return true,
        };
        let Some(typ) = typ else { return false };
        let (prefix, rest) = typ.split_at_checked("application/".len()).unwrap_or((typ, ""));
        let typ = if prefix.eq_ignore_ascii_case("application/") { rest } else { typ };
        typ.eq_ignore_ascii_case(name)
    }
}

/// The issuer, audience, type and times that a token must have.
///
/// # Example
/// ```
/// use chrono::Duration;
/// use hallpass::token::Expected;
///
/// let expected = Expected::new("https://id.example", "https://api.example").with_leeway(Duration::seconds(5));
/// assert_eq!(expected.issuer(), "https://id.example");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    issuer: String,
    audience: String,
    typ: TokenType,
    leeway: Duration,
    not_before_tolerance: Duration,
}

impl Expected {
    /// Expects access tokens of this issuer for this audience, without leeway after `exp`.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::Expected;
    ///
    /// let expected = Expected::new("https://id.example", "https://api.example");
    /// assert_eq!(expected.audience(), "https://api.example");
    /// ```
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            typ: TokenType::default(),
            leeway: Duration::zero(),
            not_before_tolerance: Duration::seconds(60),
        }
    }

    /// Sets the expected type. Defaults to [`TokenType::AtJwt`].
    ///
    /// # Example
    /// ```
    /// use hallpass::token::{Expected, TokenType};
    ///
    /// let expected = Expected::new("i", "a").with_type(TokenType::Any);
    /// # let _ = expected;
    /// ```
    #[must_use]
    pub fn with_type(mut self, typ: TokenType) -> Self {
        self.typ = typ;
        self
    }

    /// Sets how long after its `exp` a token is still accepted. Defaults to zero.
    ///
    /// # Example
    /// ```
    /// use chrono::Duration;
    /// use hallpass::token::Expected;
    ///
    /// let expected = Expected::new("i", "a").with_leeway(Duration::seconds(30));
    /// # let _ = expected;
    /// ```
    #[must_use]
    pub fn with_leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Sets how far in the future `nbf` and `iat` may be, because clocks differ. Defaults to 60 s.
    ///
    /// # Example
    /// ```
    /// use chrono::Duration;
    /// use hallpass::token::Expected;
    ///
    /// let strict = Expected::new("i", "a").with_not_before_tolerance(Duration::zero());
    /// # let _ = strict;
    /// ```
    #[must_use]
    pub fn with_not_before_tolerance(mut self, tolerance: Duration) -> Self {
        self.not_before_tolerance = tolerance;
        self
    }

    /// Returns the expected issuer.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::Expected;
    ///
    /// assert_eq!(Expected::new("https://id.example", "https://api.example").issuer(), "https://id.example");
    /// ```
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the expected audience.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::Expected;
    ///
    /// assert_eq!(Expected::new("https://id.example", "https://api.example").audience(), "https://api.example");
    /// ```
    pub fn audience(&self) -> &str {
        &self.audience
    }

    pub(super) fn accepts_type(&self, typ: Option<&str>) -> bool {
        self.typ.accepts(typ)
    }

    pub(super) fn check_names(&self, claims: &Claims) -> Result<(), TokenError> {
        if claims.iss != self.issuer {
            return Err(TokenError::IssuerWrong);
        }
        if !claims.aud.contains(&self.audience) {
            return Err(TokenError::AudienceWrong);
        }
        Ok(())
    }

    /// The times are checked last, so that `Expired` means that everything else is right.
    pub(super) fn check_times(&self, claims: &Claims, now: DateTime<Utc>) -> Result<(), TokenError> {
        self.valid_times(claims).check(now)
    }

    /// Returns the times between which these claims are valid.
    pub(super) fn valid_times(&self, claims: &Claims) -> ValidTimes {
        let start = claims.not_before().max(claims.issued_at()).unwrap_or(DateTime::<Utc>::MIN_UTC);
        ValidTimes {
            // Beyond the first and the last date that there is, there are no times to tell apart.
            from: start.checked_sub_signed(self.not_before_tolerance).unwrap_or(DateTime::<Utc>::MIN_UTC),
            until: claims.expires_at().checked_add_signed(self.leeway),
        }
    }
}

/// The times between which a token is valid.
#[derive(Debug, Clone, Copy)]
pub(super) struct ValidTimes {
    from: DateTime<Utc>,
    /// The first moment at which it is no longer valid; `None` if there is none.
    until: Option<DateTime<Utc>>,
}

impl ValidTimes {
    pub(super) fn check(self, now: DateTime<Utc>) -> Result<(), TokenError> {
        if now < self.from {
            return Err(TokenError::NotYetValid);
        }
        if self.until.is_some_and(|until| now >= until) {
            return Err(TokenError::Expired);
        }
        Ok(())
    }
}
