//! What the examples need to be tried by hand: an address, and a token. In life the login server issues it.

#![allow(dead_code, reason = "each example is a crate of its own, and uses what it needs")]

use hallpass::testing::Mint;
use hallpass::{Guard, GuardBuilder, User};

const SECRET: &[u8] = b"thirty-two bytes, or rather more of them";
const ISSUER: &str = "https://id.example";
const AUDIENCE: &str = "https://app.example";

/// Starts a guard as an app does that shares a secret with its issuer.
pub fn guard() -> GuardBuilder<User> {
    Guard::builder().shared_secret(SECRET).issuer(ISSUER).audience(AUDIENCE)
}

/// Prints a token for this user, to be pasted into the shell.
pub fn introduce(name: &str, id: &str, roles: &[&str]) {
    let mint = Mint::shared_secret(SECRET).with_issuer(ISSUER).with_audience(AUDIENCE);
    let email = format!("{}@example.com", name.to_lowercase());
    println!("{name}={}", mint.token_for(id).email(&email).roles(roles.iter().copied()));
}

/// Where to listen: `ADDRESS`, or 127.0.0.1:8081.
pub fn address() -> String {
    std::env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:8081".to_owned())
}
