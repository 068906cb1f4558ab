//! Tokens and keys: what is signed, with which key, and what must hold before a claim is believed.
//!
//! Knows no HTTP, no database, and no clock of its own: `now` is a parameter. Keys come in as bytes or
//! text; who stores, seals or fetches them is not decided here.
//!
//! # Example: a token, its key ring, and the verdict
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
//! let ring = Keyring::from(key);
//! let expected = Expected::new("https://id.example", "https://api.example");
//! assert_eq!(verify(&token, &ring, &expected, Utc::now())?.sub, "ada");
//! assert_eq!(verify(&token, &ring, &expected, Utc::now() + Duration::minutes(15)), Err(TokenError::Expired));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod claims;
#[cfg(test)]
mod differential;
mod issue;
mod jwks;
mod key;
mod keyring;
mod verifier;
mod verify;

pub use claims::{Audience, Claims};
pub use issue::{Grant, IssueError, Issued, Issuer};
#[cfg(feature = "server")]
pub(crate) use jwks::MAX_SET_KEYS;
pub use jwks::{Jwk, JwkSet};
pub use key::{Algorithm, KeyError, KeyMaterial, SigningKey, UnknownAlgorithm, VerifyingKey};
pub use keyring::Keyring;
pub(crate) use verifier::Verifier;
pub use verify::{Expected, MAX_TOKEN_BYTES, TokenError, TokenType, verify};
