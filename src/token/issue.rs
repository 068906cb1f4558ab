//! Issuing access tokens: their claims and their lifetime.
//!
//! The caller decides who gets a token.

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::claims::{Claims, is_numeric_date};
use super::error::KeyError;
use super::limits::MAX_TOKEN_BYTES;
use super::signing_key::SigningKey;

/// Issues access tokens with one issuer name, one audience and one lifetime.
///
/// # Example
/// ```
/// use chrono::Duration;
/// use hallpass::token::Issuer;
///
/// let issuer = Issuer::new("https://id.example", "https://api.example", Duration::minutes(15));
/// assert_eq!(issuer.lifetime.num_seconds(), 900);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The `iss` of the tokens.
    pub issuer: String,
    /// The `aud` of the tokens.
    pub audience: String,
    /// The lifetime of a token. Fractions of a second are dropped.
    pub lifetime: Duration,
}

/// The claims of a token that depend on its user.
///
/// # Example
/// ```
/// use hallpass::token::Grant;
///
/// let grant = Grant { subject: "ada".to_owned(), roles: vec!["editor".to_owned()], ..Grant::default() };
/// assert_eq!(grant.session, None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grant {
    /// The user's id, for `sub`. Must not be empty.
    pub subject: String,
    /// The user's e-mail address.
    pub email: Option<String>,
    /// True if the user proved to read the mail of that address.
    pub email_verified: Option<bool>,
    /// The user's current roles.
    pub roles: Vec<String>,
    /// The session's id, for `sid`.
    pub session: Option<String>,
    /// The time at which the user last proved who they are in the session, for `auth_time`.
    pub auth_time: Option<DateTime<Utc>>,
    /// How the user proved it, for `amr` (RFC 8176 §2).
    pub amr: Vec<String>,
}

/// A signed token and its claims. `Debug` shows only the claims, because the token is a credential.
///
/// # Example
/// ```
/// # use hallpass::token::{Algorithm, Grant, Issuer, KeyMaterial, SigningKey};
/// # let key = SigningKey::new(Algorithm::EdDsa, &KeyMaterial::generate(Algorithm::EdDsa)?)?;
/// # let issuer = Issuer::new("i", "a", chrono::Duration::hours(1));
/// # let grant = Grant { subject: "ada".to_owned(), ..Grant::default() };
/// let issued = issuer.issue(&key, &grant, chrono::Utc::now())?;
/// assert_eq!(issued.token.split('.').count(), 3);
/// assert_eq!(issued.claims.sub, "ada");
/// # Ok::<(), hallpass::token::IssueError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Issued {
    /// The token in compact form.
    pub token: String,
    /// The claims, as a verifier will read them.
    pub claims: Claims,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("claims", &self.claims).finish_non_exhaustive()
    }
}

/// The reason why no token was issued.
///
/// # Example
/// ```
/// # use hallpass::token::{Algorithm, Grant, IssueError, Issuer, KeyMaterial, SigningKey};
/// # let key = SigningKey::new(Algorithm::EdDsa, &KeyMaterial::generate(Algorithm::EdDsa)?)?;
/// let result = Issuer::new("i", "a", chrono::Duration::hours(1)).issue(&key, &Grant::default(), chrono::Utc::now());
/// assert_eq!(result.unwrap_err(), IssueError::SubjectEmpty);
/// # Ok::<(), hallpass::token::KeyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The subject is empty. Verifiers refuse such a token.
    #[error("the subject is empty; a user's id is accepted")]
    SubjectEmpty,
    /// The lifetime is shorter than a second, or ends after the year 9999.
    #[error("the token's lifetime is out of range; from 1 s up to the end of the year 9999 is accepted")]
    LifetimeOutOfRange,
    /// The token is longer than verifiers accept.
    #[error(
        "the token is too long; at most {MAX_TOKEN_BYTES} bytes are accepted, fewer roles make it shorter"
    )]
    TooLong,
    /// Signing failed.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Issuer {
    /// Makes an issuer.
    ///
    /// # Example
    /// ```
    /// use chrono::Duration;
    /// use hallpass::token::Issuer;
    ///
    /// let issuer = Issuer::new("https://id.example", "https://api.example", Duration::hours(1));
    /// assert_eq!(issuer.audience, "https://api.example");
    /// ```
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>, lifetime: Duration) -> Self {
        Self { issuer: issuer.into(), audience: audience.into(), lifetime }
    }

    /// Signs a token for `grant` that is valid from `now` for the issuer's lifetime.
    ///
    /// `now` is a parameter, so a test can issue an expired token. Fractions of a second are dropped. `jti` is a
    /// random UUID.
    ///
    /// # Errors
    /// [`IssueError`] if the token could not be signed, or would be refused by every verifier.
    ///
    /// # Example
    /// ```
    /// use chrono::{DateTime, Duration};
    /// use hallpass::token::{Algorithm, Grant, Issuer, KeyMaterial, SigningKey};
    ///
    /// let key = SigningKey::new(Algorithm::EdDsa, &KeyMaterial::generate(Algorithm::EdDsa)?)?;
    /// let issuer = Issuer::new("https://id.example", "https://api.example", Duration::hours(1));
    /// let grant = Grant { subject: "ada".to_owned(), ..Grant::default() };
    /// let issued = issuer.issue(&key, &grant, DateTime::UNIX_EPOCH)?;
    /// assert_eq!((issued.claims.iat, issued.claims.exp), (Some(0), 3600));
    /// # Ok::<(), hallpass::token::IssueError>(())
    /// ```
    /// Source: RFC 7519 §4.1 (claims), RFC 9068 §2.1 (`typ`).
    pub fn issue(&self, key: &SigningKey, grant: &Grant, now: DateTime<Utc>) -> Result<Issued, IssueError> {
        if grant.subject.is_empty() {
            return Err(IssueError::SubjectEmpty);
        }
        let iat = now.timestamp();
        let exp = iat
            .checked_add(self.lifetime.num_seconds())
            .filter(|&exp| exp > iat && is_numeric_date(iat) && is_numeric_date(exp))
            .ok_or(IssueError::LifetimeOutOfRange)?;
        let mut claims = Claims {
            email: grant.email.clone(),
            email_verified: grant.email_verified,
            roles: grant.roles.clone(),
            iat: Some(iat),
            nbf: Some(iat),
            jti: Some(Uuid::new_v4().to_string()),
            sid: grant.session.clone(),
            auth_time: grant.auth_time.map(|at| at.timestamp()),
            amr: grant.amr.clone(),
            ..Claims::new(&*self.issuer, &*self.audience, &*grant.subject, exp)
        };
        let payload = serde_json::to_string(&claims).map_err(|_| KeyError::ClaimsUnwritable)?;
        let token = key.sign_payload(&payload)?;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(IssueError::TooLong);
        }
        claims.payload = Some(payload.into());
        Ok(Issued { token, claims })
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::super::algorithm::Algorithm;
    use super::*;

    fn issuer(lifetime: Duration) -> Issuer {
        Issuer::new("https://id.example", "https://api.example", lifetime)
    }

    fn grant() -> Grant {
        Grant {
            subject: "ada".to_owned(),
            email: Some("ada@example.com".to_owned()),
            email_verified: Some(true),
            roles: vec!["admin".to_owned()],
            session: Some("s1".to_owned()),
            auth_time: DateTime::from_timestamp(1_799_999_000, 500_000_000),
            amr: vec!["pwd".to_owned()],
        }
    }

    fn part(token: &str, index: usize) -> Value {
        let part = token.split('.').nth(index).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn a_token_has_exactly_the_header_and_claims_that_are_documented() {
        let now = DateTime::from_timestamp(1_800_000_000, 999_999_999).unwrap();
        for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Hs256] {
            let key = SigningKey::random(algorithm);
            let issued = issuer(Duration::milliseconds(3_600_999)).issue(&key, &grant(), now).unwrap();
            let header = json!({"alg": algorithm.name(), "typ": "at+jwt", "kid": key.kid()});
            assert_eq!(part(&issued.token, 0), header);
            assert_eq!(
                part(&issued.token, 1),
                json!({
                    "iss": "https://id.example", "aud": "https://api.example", "sub": "ada",
                    "email": "ada@example.com", "email_verified": true, "roles": ["admin"], "sid": "s1", "jti": issued.claims.jti,
                    "auth_time": 1_799_999_000, "amr": ["pwd"],
                    "iat": 1_800_000_000, "nbf": 1_800_000_000, "exp": 1_800_003_600,
                })
            );
        }
    }

    #[test]
    fn two_tokens_issued_in_the_same_second_have_different_ids() {
        let key = SigningKey::random(Algorithm::EdDsa);
        let [a, b] = [(); 2].map(|()| {
            issuer(Duration::hours(1)).issue(&key, &grant(), DateTime::UNIX_EPOCH).unwrap().claims.jti
        });
        assert!(a.is_some());
        assert_ne!(a, b);
    }

    #[test]
    fn a_token_that_every_verifier_would_refuse_is_not_issued() {
        let hour = Duration::hours(1);
        let epoch = DateTime::UNIX_EPOCH;
        let many_roles = Grant { roles: vec!["r".repeat(32); 200], ..grant() };
        let cases = [
            ("no subject", hour, Grant::default(), epoch, IssueError::SubjectEmpty),
            ("no lifetime", Duration::zero(), grant(), epoch, IssueError::LifetimeOutOfRange),
            ("under a second", Duration::milliseconds(999), grant(), epoch, IssueError::LifetimeOutOfRange),
            ("negative", -hour, grant(), epoch, IssueError::LifetimeOutOfRange),
            ("endless", Duration::MAX, grant(), epoch, IssueError::LifetimeOutOfRange),
            ("endless backwards", Duration::MIN, grant(), epoch, IssueError::LifetimeOutOfRange),
            ("before the epoch", hour, grant(), epoch - hour, IssueError::LifetimeOutOfRange),
            ("after the calendar", hour, grant(), DateTime::<Utc>::MAX_UTC, IssueError::LifetimeOutOfRange),
            ("too long", hour, many_roles, epoch, IssueError::TooLong),
        ];
        let key = SigningKey::random(Algorithm::Hs256);
        for (name, lifetime, grant, now, expected) in cases {
            assert_eq!(issuer(lifetime).issue(&key, &grant, now), Err(expected), "{name}");
        }
    }

    #[test]
    fn an_issued_token_is_not_printed() {
        let issued = issuer(Duration::hours(1)).issue(
            &SigningKey::random(Algorithm::EdDsa),
            &grant(),
            DateTime::UNIX_EPOCH,
        );
        let issued = issued.unwrap();
        let signature = issued.token.rsplit('.').next().unwrap();
        assert!(!format!("{issued:?}").contains(signature));
    }
}
