//! Passwords: rules, hashes, and the threads that compute them.
//!
//! | file | what it owns |
//! |---|---|
//! | `rules` | what a new password must be; its strength |
//! | `password` | a password and its stored hash |
//! | `foreign` | hashes of other programs |
//! | `lanes` | bcrypt over four passwords at once |
//! | `batch` | what one thread computes at a time |
//! | `hasher` | the threads that hash, and their queue |

mod batch;
mod error;
mod foreign;
mod hasher;
mod lanes;
mod password;
mod rules;

pub use error::HashError;
pub use hasher::Hasher;
pub use password::Password;
pub(crate) use password::{check_stored, is_proof_of_all};
pub(crate) use rules::{Strength, check_new, check_presented, check_shape};
