//! The server as seen from outside: the real app under actix's test harness, and the binary as a process.

mod account;
mod app;
mod cli;
mod expect;
mod extractors;
mod guard;
<<<<<<< HEAD
mod import;
=======
mod jwks_url;
>>>>>>> efbdaf1 (guard: verify with keys fetched from a JWKS URL)
mod login;
mod manners;
mod prompt;
mod secrets;
mod settings;
mod throttle;
mod user;
mod wire;
