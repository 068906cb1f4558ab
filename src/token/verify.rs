//! The verdict on a token: one pure function of the token, the keys, what is expected, and the time.
//!
//! Follows RFC 8725: the algorithm is the key's, no key is taken from the token, and no claim is believed before
//! the signature. Whether the session behind a genuine token still lives is not known here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};

use super::claims::Claims;
use super::error::TokenError;
use super::expected::Expected;
use super::header::Header;
use super::keyring::Keyring;
use super::limits::MAX_TOKEN_BYTES;

/// The claims of `token`, if a key of `ring` signed it and it is what is `expected` at `now`.
///
/// Pure: the same question always has the same answer, except that a token once good expires.
///
/// # Errors
/// [`TokenError`] names the first check that failed. [`TokenError::Expired`] is said only of tokens in which
/// everything else is right.
///
/// # Example
/// ```
/// use chrono::Duration;
/// use hallpass::testing::Mint;
/// use hallpass::token::{Expected, Keyring, TokenError, verify};
///
/// let mint = Mint::new().with_issuer("https://id.example").with_audience("https://api.example");
/// let (token, now) = (mint.token_for("ada").to_string(), mint.clock().now());
/// let ring = Keyring::from_jwks(mint.jwks())?;
/// let expected = Expected::new("https://id.example", "https://api.example");
///
/// assert_eq!(verify(&token, &ring, &expected, now).unwrap().sub, "ada");
/// assert_eq!(verify(&token, &ring, &expected, now + Duration::hours(1)).unwrap_err(), TokenError::Expired);
/// # Ok::<(), hallpass::token::KeyError>(())
/// ```
///
/// Source: RFC 7515 §5.2, RFC 7519 §7.2, RFC 8725 §3.
pub fn verify(
    token: &str,
    ring: &Keyring,
    expected: &Expected,
    now: DateTime<Utc>,
) -> Result<Claims, TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::TooLong);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
    let header = Header::read(&decode(header)?)?;
    let payload = decode(payload)?;

    let key = ring.find(header.kid.as_deref()).ok_or(TokenError::KeyUnknown)?;
    if header.algorithm != key.algorithm() {
        return Err(TokenError::AlgorithmRefused);
    }
    if !expected.accepts_type(header.typ.as_deref()) {
        return Err(TokenError::TypeRefused);
    }
    key.check(message.as_bytes(), signature)?;
    let claims = Claims::read(payload)?;
    expected.admit(&claims, now)?;
    Ok(claims)
}

/// Base64url without padding, of UTF-8 (RFC 7515 §2). A dot is in neither, so a fourth part ends here.
fn decode(part: &str) -> Result<String, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    String::from_utf8(bytes).map_err(|_| TokenError::Malformed)
}

#[cfg(test)]
mod tests;
