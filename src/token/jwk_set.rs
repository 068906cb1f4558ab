//! JWK sets (RFC 7517 §5): several keys as JSON.

use serde::Serialize;
use serde_json::Value;

use super::error::KeyError;
use super::jwk::{self, Jwk, SymmetricKeys};
use super::limits::{MAX_SET_BYTES, MAX_SET_KEYS};
use super::verifying_key::VerifyingKey;

/// A set of public keys in the form in which it is published (RFC 7517 §5). It never contains a symmetric key.
///
/// # Example: the key set of a server
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
    /// The keys, in the order of the keyring.
    pub keys: Vec<Jwk>,
}

/// Returns the usable keys of a set. Keys of other types are skipped (RFC 7517 §5).
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
