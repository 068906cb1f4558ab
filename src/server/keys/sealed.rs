//! Makes, seals and unseals one signing key.

use chrono::{DateTime, Utc};

use super::KeysError;
use super::vault::Vault;
use crate::server::model::SealedKey;
use crate::token::{Algorithm, KeyMaterial, SigningKey};

/// The purpose of a signing key, as stored and sealed with it.
const ACCESS_TOKEN: &str = "access-token";

/// Unseals one key.
pub(super) fn unseal(sealed: &SealedKey, vault: &Vault) -> Result<SigningKey, KeysError> {
    let unusable = |reason: String| KeysError::Unusable { kid: sealed.kid.clone(), reason };
    let algorithm: Algorithm =
        sealed.algorithm.parse().map_err(|_| unusable("its algorithm is unknown".into()))?;
    let material = KeyMaterial::from_bytes(vault.unseal_key(sealed)?);
    SigningKey::with_kid(&sealed.kid, algorithm, &material).map_err(|error| unusable(error.to_string()))
}

/// Makes a signing key for `algorithm`, which signs from `signs_from` on, and seals it.
///
/// # Errors
/// [`KeysError`] when the key cannot be made or sealed.
pub fn new_signing_key(
    vault: &Vault,
    algorithm: Algorithm,
    now: DateTime<Utc>,
    signs_from: DateTime<Utc>,
) -> Result<SealedKey, KeysError> {
    let unusable = |reason: String| KeysError::Unusable { kid: "just made".into(), reason };
    let material = KeyMaterial::generate(algorithm).map_err(|error| unusable(error.to_string()))?;
    let kid = SigningKey::fresh_kid(algorithm, &material).map_err(|error| unusable(error.to_string()))?;
    Ok(vault.seal_key(&kid, &algorithm.to_string(), ACCESS_TOKEN, now, signs_from, material.as_bytes())?)
}
