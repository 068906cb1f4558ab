//! The secret bytes of a key: generated, stored, wiped when dropped, never printed.

use std::fmt;

use aws_lc_rs::rand;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use zeroize::Zeroizing;

use super::algorithm::Algorithm;
use super::error::KeyError;
use super::limits::MIN_SECRET_BYTES;

/// The secret bytes of a key: PKCS#8 DER for EdDSA and ES256, at least 32 random bytes for HS256.
///
/// Wiped when dropped, redacted in `Debug`, and nothing to compare with `==`.
///
/// # Example
/// ```
/// use hallpass::token::{Algorithm, KeyMaterial};
///
/// let material = KeyMaterial::generate(Algorithm::Hs256)?;
/// assert_eq!(material.as_bytes().len(), 32);
/// # Ok::<(), hallpass::token::KeyError>(())
/// ```
pub struct KeyMaterial(Zeroizing<Vec<u8>>);

impl KeyMaterial {
    /// Fresh random key material for `algorithm`.
    ///
    /// # Errors
    /// [`KeyError::Cryptography`] when the system has no random numbers.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::{Algorithm, KeyMaterial, SigningKey};
    ///
    /// let key = SigningKey::new(Algorithm::Es256, &KeyMaterial::generate(Algorithm::Es256)?)?;
    /// assert_eq!(key.algorithm(), Algorithm::Es256);
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    ///
    /// Source: RFC 5958 (PKCS#8, version 1: the private key alone), RFC 7518 §3.2 (length for HS256).
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let document = match algorithm {
            Algorithm::EdDsa => Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1()),
            Algorithm::Es256 => {
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).and_then(|pair| pair.to_pkcs8v1())
            }
            Algorithm::Hs256 => {
                let mut secret = Zeroizing::new(vec![0; MIN_SECRET_BYTES]);
                rand::fill(&mut secret).map_err(|_| KeyError::Cryptography)?;
                return Ok(Self(secret));
            }
        };
        document.map(|der| Self::from_bytes(der.as_ref().to_vec())).map_err(|_| KeyError::Cryptography)
    }

    /// Key material as it was stored. Whether it suits an algorithm is told by [`SigningKey::new`].
    pub fn from_bytes(bytes: impl Into<Zeroizing<Vec<u8>>>) -> Self {
        Self(bytes.into())
    }

    /// The secret bytes, to be sealed before they are stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyMaterial([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_key_material_is_never_the_same_twice() {
        for algorithm in Algorithm::ALL {
            let [a, b] = [(); 2].map(|()| KeyMaterial::generate(algorithm).unwrap());
            assert_ne!(a.as_bytes(), b.as_bytes(), "{algorithm}");
        }
    }
}
