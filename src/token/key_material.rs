//! The secret bytes of a key.

use std::fmt;

use aws_lc_rs::rand;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use zeroize::Zeroizing;

use super::algorithm::Algorithm;
use super::error::KeyError;
use super::limits::MIN_SECRET_BYTES;

/// The secret bytes of a key: PKCS#8 DER for EdDSA and ES256, at least 32 random bytes for HS256.
///
/// The bytes are wiped when it is dropped and redacted in `Debug`. There is no `==`, which would not run in
/// constant time.
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
    /// Generates random key material for `algorithm`.
    ///
    /// # Errors
    /// [`KeyError::Cryptography`] if the operating system provides no random numbers.
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

    /// Wraps stored bytes. They are checked when a [`SigningKey`](super::SigningKey) is made of them.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::{Algorithm, KeyMaterial, SigningKey};
    ///
    /// let stored = KeyMaterial::generate(Algorithm::EdDsa)?.as_bytes().to_vec();
    /// assert!(SigningKey::new(Algorithm::EdDsa, &KeyMaterial::from_bytes(stored)).is_ok());
    /// # Ok::<(), hallpass::token::KeyError>(())
    /// ```
    pub fn from_bytes(bytes: impl Into<Zeroizing<Vec<u8>>>) -> Self {
        Self(bytes.into())
    }

    /// Returns the secret bytes. Encrypt them before storing them.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::KeyMaterial;
    ///
    /// assert_eq!(KeyMaterial::from_bytes(vec![7; 32]).as_bytes(), [7; 32]);
    /// ```
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
    fn generated_key_material_is_never_the_same_twice() {
        for algorithm in Algorithm::ALL {
            let [a, b] = [(); 2].map(|()| KeyMaterial::generate(algorithm).unwrap());
            assert_ne!(a.as_bytes(), b.as_bytes(), "{algorithm}");
        }
    }
}
