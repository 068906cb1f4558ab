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

mod algorithm;
mod cache;
mod claims;
#[cfg(test)]
mod differential;
mod error;
mod expected;
#[cfg(test)]
mod fixtures;
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
pub(crate) use cache::VerifiedTokens;
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
