//! Passwords: rules, hashes, and the threads that compute them. And the codes of second factors.
//!
//! | file | what it owns |
//! |---|---|
//! | `context` | words that are easy to guess for one user |
//! | `cost` | the cost of checking a stored hash |
//! | `leaked` | leaked passwords |
//! | `rules` | the rules for a new password; its strength |
//! | `password` | a password and its stored hash |
//! | `foreign` | hashes of other programs |
//! | `lanes` | bcrypt over four passwords at once |
//! | `batch` | the hashes that one thread computes at a time |
//! | `origin` | the origin of a request for a hash |
//! | `queue`, `queue_memory` | which job is next, and which is shed; the origins that were served or shed before |
//! | `hasher` | the threads that hash |
//! | `webauthn/` | what an authenticator sends for a passkey |
//! | `totp`, `recovery_code` | codes of an authenticator app; recovery codes |

mod batch;
mod context;
mod cost;
mod error;
mod foreign;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod hasher;
mod lanes;
mod leaked;
mod origin;
mod password;
mod queue;
mod queue_memory;
mod recovery_code;
mod rules;
mod totp;
mod webauthn;

pub(crate) use context::PasswordContext;
pub use context::PasswordRules;
pub(crate) use cost::{Cost, Costs};
pub use error::HashError;
pub use hasher::Hasher;
pub(crate) use origin::Class;
pub use origin::Origin;
pub use password::Password;
pub(crate) use password::{StoredHash, check_stored, is_proof_of_all};
pub(crate) use queue_memory::RETRY_AFTER_SECS;
pub(crate) use recovery_code::{RECOVERY_CODES, RecoveryCode};
pub(crate) use rules::{Strength, check_new, check_presented, check_shape};
pub(crate) use totp::{TotpSecret, qr_code};
pub use webauthn::PasskeyError;
pub(crate) use webauthn::{
    Assertion, AssertionResponse, CreationOptions, RegistrationResponse, RelyingParty, RequestOptions,
    check_passkeys, verify_assertion, verify_registration,
};
