//! Signing and verifying access tokens (RFC 7519), and the keys for both.
//!
//! This module knows no HTTP, no database and no clock: `now` is a parameter, and keys come in as bytes or text.
//!
//! # Example: sign a token and verify it
//! ```
//! use std::sync::Arc;
//! use chrono::{Duration, Utc};
//! use hallpass::token::*;
//!
//! let key = Arc::new(SigningKey::new(Algorithm::EdDsa, &KeyMaterial::generate(Algorithm::EdDsa)?)?);
//! let issuer = Issuer::new("https://id.example", "https://api.example", Duration::minutes(15));
//! let grant = Grant { subject: "ada".to_owned(), ..Grant::default() };
//! let token = issuer.issue(&key, &grant, Utc::now())?.token;
//!
//! let keys = Keyring::from(key);
//! let expected = Expected::new("https://id.example", "https://api.example");
//! assert_eq!(verify(&token, &keys, &expected, Utc::now())?.sub, "ada");
//! assert_eq!(verify(&token, &keys, &expected, Utc::now() + Duration::minutes(15)), Err(TokenError::Expired));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// The files, lowest first: each imports only from files above it in this list.
//
// limits         maximum sizes of tokens and key sets, minimum size of a shared secret
// algorithm      the signature algorithms and their registered names
// error          KeyError and TokenError
// json_object    a JSON object without duplicate members
// header         the header of a token: read and written
// claims         the payload of a token: the claims, and how they are read
// key_material   the secret bytes of a key
// public_key     a public key: validation, PEM, thumbprint
// verifying_key  a key that verifies signatures
// signing_key    a key that signs tokens
// jwk            one key as JSON
// jwk_set        a set of keys as JSON
// keyring        the keys in use, by kid
// issue          makes access tokens
// expected       the issuer, audience, type and times that a token must have
// verify         verifies a token
// cache          remembers tokens that were verified
//
// For tests: fuzzing (fuzz targets), fixtures (key texts), differential (`verify` compared with another library).

mod algorithm;
mod cache;
mod claims;
#[cfg(test)]
mod differential;
mod error;
mod expected;
#[cfg(test)]
mod fixtures;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod header;
mod issue;
mod json_object;
mod jwk;
mod jwk_set;
mod key_material;
mod keyring;
mod limits;
mod public_key;
mod signing_key;
mod verify;
mod verifying_key;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub(crate) use cache::{Verified, VerifiedTokens};
pub use claims::{Audience, Claims};
pub use error::{KeyError, TokenError};
pub use expected::{Expected, TokenType};
pub use issue::{Grant, IssueError, Issued, Issuer};
pub use jwk::Jwk;
pub use jwk_set::JwkSet;
pub use key_material::KeyMaterial;
pub use keyring::Keyring;
#[cfg(feature = "server")]
pub(crate) use limits::MAX_SET_KEYS;
pub use limits::MAX_TOKEN_BYTES;
pub use signing_key::SigningKey;
pub use verify::verify;
pub use verifying_key::VerifyingKey;
