//! Verifies a token: a pure function of the token, the keys, the expected claims and the time.
//!
//! It follows RFC 8725: the algorithm comes from the key, the key never comes from the token, and no claim is read
//! before the signature was verified. Whether the token's session was revoked is not checked here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};

use super::claims::Claims;
use super::error::TokenError;
use super::expected::Expected;
use super::header::Header;
use super::keyring::Keyring;
use super::limits::MAX_TOKEN_BYTES;

/// Returns the claims of `token` if one of `keys` signed it and it matches `expected` at `now`.
///
/// # Errors
/// [`TokenError`] names the first check that failed. [`TokenError::Expired`] means that every other check passed.
///
/// # Example
/// ```
/// use chrono::Duration;
/// use hallpass::testing::Mint;
/// use hallpass::token::{Expected, Keyring, TokenError, verify};
///
/// let mint = Mint::new().with_issuer("https://id.example").with_audience("https://api.example");
/// let (token, now) = (mint.token_for("ada").to_string(), mint.clock().now());
/// let keys = Keyring::from_jwks(mint.jwks())?;
/// let expected = Expected::new("https://id.example", "https://api.example");
///
/// assert_eq!(verify(&token, &keys, &expected, now).unwrap().sub, "ada");
/// assert_eq!(verify(&token, &keys, &expected, now + Duration::hours(1)).unwrap_err(), TokenError::Expired);
/// # Ok::<(), hallpass::token::KeyError>(())
/// ```
///
/// Source: RFC 7515 §5.2, RFC 7519 §7.2, RFC 8725 §3.
pub fn verify(
    token: &str,
    keys: &Keyring,
    expected: &Expected,
    now: DateTime<Utc>,
) -> Result<Claims, TokenError> {
    let claims = verify_whenever(token, keys, expected)?;
    expected.check_times(&claims, now)?;
    Ok(claims)
}

/// Does all that [`verify()`] does, but for the times of the token.
pub(super) fn verify_whenever(
    token: &str,
    keys: &Keyring,
    expected: &Expected,
) -> Result<Claims, TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::TooLong);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
    let header = Header::read(&decode(header)?)?;
    let payload = decode(payload)?;

    let key = keys.find(header.kid.as_deref()).ok_or(TokenError::KeyUnknown)?;
    if header.algorithm != key.algorithm() {
        return Err(TokenError::AlgorithmRefused);
    }
    if !expected.accepts_type(header.typ.as_deref()) {
        return Err(TokenError::TypeRefused);
    }
    key.verify_signature(message.as_bytes(), signature)?;
    let claims = Claims::read(payload)?;
    expected.check_names(&claims)?;
    Ok(claims)
}

/// Decodes base64url without padding to UTF-8 (RFC 7515 §2). A token with four parts fails here, because a dot is
/// not base64url.
fn decode(part: &str) -> Result<String, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    String::from_utf8(bytes).map_err(|_| TokenError::Malformed)
}

#[cfg(test)]
mod tests;
