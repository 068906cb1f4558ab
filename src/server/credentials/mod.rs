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
//! | `queue` | who is hashed next, and who is shed |
//! | `hasher` | the threads that hash |

mod batch;
mod context;
mod cost;
mod error;
mod foreign;
mod hasher;
mod lanes;
mod leaked;
mod password;
mod queue;
mod rules;

pub(crate) use context::PasswordContext;
pub use context::PasswordRules;
pub(crate) use cost::{Cost, Costs};
pub use error::HashError;
pub use hasher::Hasher;
pub use password::Password;
pub(crate) use password::{check_stored, is_proof_of_all};
pub(crate) use queue::Class;
pub use queue::Origin;
pub(crate) use rules::{Strength, check_new, check_presented, check_shape};
