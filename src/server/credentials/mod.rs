//! Passwords: rules, hashes, and the threads that compute them.
//!
//! | file | what it owns |
//! |---|---|
//! | `context` | the words that anybody would try first for one user |
//! | `cost` | what a stored hash costs to check |
//! | `leaked` | leaked passwords |
//! | `rules` | what a new password must be; its strength |
//! | `password` | a password and its stored hash |
//! | `foreign` | hashes of other programs |
//! | `lanes` | bcrypt over four passwords at once |
//! | `batch` | what one thread computes at a time |
//! | `origin` | who asks for a hash |
//! | `queue`, `queue_memory` | who is hashed next, and who is shed; what that depends on from before |
//! | `hasher` | the threads that hash |

mod batch;
mod context;
mod cost;
mod error;
mod foreign;
mod hasher;
mod lanes;
mod leaked;
mod origin;
mod password;
mod queue;
mod queue_memory;
mod rules;

pub(crate) use context::PasswordContext;
pub use context::PasswordRules;
pub(crate) use cost::{Cost, Costs};
pub use error::HashError;
pub use hasher::Hasher;
pub(crate) use origin::Class;
pub use origin::Origin;
pub use password::Password;
pub(crate) use password::{check_stored, is_proof_of_all};
pub(crate) use queue_memory::RETRY_AFTER_SECS;
pub(crate) use rules::{Strength, check_new, check_presented, check_shape};
