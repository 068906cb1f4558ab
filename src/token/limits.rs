//! Maximum sizes of tokens and key sets, and the minimum size of a shared secret.

/// The maximum size of a token, in bytes. A longer one is refused before it is parsed.
///
/// # Example
/// ```
/// use hallpass::token::MAX_TOKEN_BYTES;
///
/// assert_eq!(MAX_TOKEN_BYTES, 8 * 1024);
/// ```
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The maximum size of a JWK set, in bytes. No known issuer comes near it, even with certificates in the set.
pub(super) const MAX_SET_BYTES: usize = 256 * 1024;

/// The maximum number of keys in a JWK set. It bounds the work that a hostile set can cause.
pub(crate) const MAX_SET_KEYS: usize = 100;

/// The minimum size of an HS256 key, in bytes: the size of the hash (RFC 7518 §3.2).
pub(super) const MIN_SECRET_BYTES: usize = 32;
