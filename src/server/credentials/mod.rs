//! Passwords: the rules for a new one, the stored hash, hashes from elsewhere, and the threads that hash.

mod foreign;
mod hasher;
mod password;
mod rules;

pub use hasher::{HashError, Hasher, Load};
pub use password::{Password, check_stored};
pub use rules::{Strength, check_new, check_presented, check_shape};
