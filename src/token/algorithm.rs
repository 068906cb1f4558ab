//! The signature algorithms and their registered names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A signature algorithm for tokens (RFC 7518 §3.1, RFC 8037 §3.1). Defaults to EdDSA.
///
/// # Example: the name is the token's `alg`
/// ```
/// use hallpass::token::Algorithm;
///
/// assert_eq!("EdDSA".parse(), Ok(Algorithm::EdDsa));
/// assert_eq!(Algorithm::Es256.to_string(), "ES256");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Algorithm {
    /// EdDSA with an Ed25519 key: short keys, deterministic signatures.
    #[default]
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ECDSA over P-256 with SHA-256, for verifiers without EdDSA.
    #[serde(rename = "ES256")]
    Es256,
    /// HMAC with SHA-256. The key is shared: everyone who can verify can also sign.
    #[serde(rename = "HS256")]
    Hs256,
}

impl Algorithm {
    pub(super) const ALL: [Self; 3] = [Self::EdDsa, Self::Es256, Self::Hs256];

    /// Returns the registered name, as in a token's `alg`.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::Algorithm;
    ///
    /// assert_eq!(Algorithm::EdDsa.name(), "EdDSA");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Hs256 => "HS256",
        }
    }

    /// Returns the algorithm for the `alg` of a token or a JWK. Case matters (RFC 7515 §4.1.1).
    ///
    /// `Ed25519` is the newer name of EdDSA with an Ed25519 key (RFC 9864 §2.2). It is accepted but never written,
    /// because many verifiers do not know it yet.
    pub(super) fn from_alg(alg: &str) -> Option<Self> {
        match alg {
            "Ed25519" => Some(Self::EdDsa),
            name => Self::from_name(name),
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    pub(super) fn to_jsonwebtoken(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::from_name(name).ok_or_else(|| UnknownAlgorithm(name.to_owned()))
    }
}

/// The error for a name that is not the name of an [`Algorithm`].
///
/// # Example
/// ```
/// use hallpass::token::Algorithm;
///
/// let error = "RS256".parse::<Algorithm>().unwrap_err();
/// assert_eq!(error.to_string(), "\"RS256\" is not a supported algorithm; EdDSA, ES256 and HS256 are accepted");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a supported algorithm; EdDSA, ES256 and HS256 are accepted")]
pub struct UnknownAlgorithm(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_algorithm_has_the_same_name_in_text_and_in_json() {
        for algorithm in Algorithm::ALL {
            let name = algorithm.to_string();
            assert_eq!(name.parse(), Ok(algorithm));
            assert_eq!(serde_json::to_value(algorithm).unwrap(), name);
            assert_eq!(serde_json::from_value::<Algorithm>(name.into()).unwrap(), algorithm);
        }
        // "Ed25519" is accepted as the `alg` of a token, but not in the configuration.
        for unknown in ["none", "eddsa", "HS512", "RS256", "Ed25519", ""] {
            let error = unknown.parse::<Algorithm>().unwrap_err().to_string();
            assert!(error.ends_with("EdDSA, ES256 and HS256 are accepted"), "{error}");
        }
    }
}
