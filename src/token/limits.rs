//! The sizes that are accepted: of a token, of a set of keys, of a shared secret.

/// The longest token that is read at all, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// More than any issuer's set has, certificates included.
pub(super) const MAX_SET_BYTES: usize = 256 * 1024;

/// Bounds the work that a hostile set can cause.
pub(crate) const MAX_SET_KEYS: usize = 100;

/// The least that an HMAC-SHA-256 key may have, in bytes: as many as the hash's output (RFC 7518 §3.2).
pub(super) const MIN_SECRET_BYTES: usize = 32;
