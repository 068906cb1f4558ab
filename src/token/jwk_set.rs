//! Key sets as JSON (RFC 7517 §5). What is read may come from a stranger; fetching is not done here.

use serde::Serialize;
use serde_json::Value;

use super::error::KeyError;
use super::jwk::{self, Jwk, SymmetricKeys};
use super::limits::{MAX_SET_BYTES, MAX_SET_KEYS};
use super::verifying_key::VerifyingKey;

/// A set of public keys as it is published (RFC 7517 §5). Never holds a symmetric key.
///
/// # Example: what a server publishes
/// ```
/// # let key = hallpass::token::KeyMaterial::generate(hallpass::token::Algorithm::EdDsa)
/// #     .and_then(|material| hallpass::token::SigningKey::new(hallpass::token::Algorithm::EdDsa, &material))?;
/// use std::sync::Arc;
/// use hallpass::token::Keyring;
///
/// let set = Keyring::from(Arc::new(key)).jwks();
/// assert_eq!(serde_json::to_value(&set).unwrap()["keys"][0]["crv"], "Ed25519");
/// # Ok::<(), hallpass::token::KeyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct JwkSet {
    /// The keys, in the ring's order.
    pub keys: Vec<Jwk>,
}

/// The usable keys of the set in `json`. Those of another kind are skipped, as RFC 7517 §5 asks.
pub(super) fn read(json: &[u8], symmetric: SymmetricKeys) -> Result<Vec<VerifyingKey>, KeyError> {
    if json.len() > MAX_SET_BYTES {
        return Err(KeyError::SetTooLarge);
    }
    let set: Value = serde_json::from_slice(json).map_err(|_| KeyError::SetInvalid)?;
    let entries = set.get("keys").and_then(Value::as_array).ok_or(KeyError::SetInvalid)?;
    if entries.len() > MAX_SET_KEYS {
        return Err(KeyError::SetTooLarge);
    }
    entries
        .iter()
        .filter_map(Value::as_object)
        .filter_map(|jwk| jwk::read(jwk, symmetric).transpose())
        .collect()
}
