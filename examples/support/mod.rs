//! Helpers of the examples: an address, and tokens for trying them by hand. In production the login server issues
//! tokens.

#![allow(dead_code, reason = "each example is a crate of its own, and uses what it needs")]

use hallpass::testing::Mint;
use hallpass::{Guard, GuardBuilder, User};

const SECRET: &[u8] = b"thirty-two bytes, or rather more of them";
const ISSUER: &str = "https://id.example";
const AUDIENCE: &str = "https://app.example";

/// Starts to build the guard of an app that shares a secret with its issuer.
pub fn guard() -> GuardBuilder<User> {
    Guard::builder().shared_secret(SECRET).issuer(ISSUER).audience(AUDIENCE)
}

/// Prints a token of a user as `NAME=token`, for pasting into a terminal.
pub fn print_token(name: &str, id: &str, roles: &[&str]) {
    let mint = Mint::shared_secret(SECRET).with_issuer(ISSUER).with_audience(AUDIENCE);
    let email = format!("{}@example.com", name.to_lowercase());
    println!("{name}={}", mint.token_for(id).email(&email).roles(roles.iter().copied()));
}

/// Returns the address to listen on: `ADDRESS`, or 127.0.0.1:8081.
pub fn address() -> String {
    std::env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:8081".to_owned())
}
