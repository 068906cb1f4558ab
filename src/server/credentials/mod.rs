//! Passwords: the rules for a new one, the stored hash, hashes from elsewhere, and the threads that hash.

mod error;
mod foreign;
mod hasher;
mod password;
mod rules;

pub use error::HashError;
pub use hasher::Hasher;
pub use password::Password;
pub(crate) use password::check_stored;
pub(crate) use rules::{Strength, check_new, check_presented, check_shape};
