//! The server as seen from outside: the real app under actix's test harness, and the binary as a process.

mod account;
mod app;
mod audit;
mod cli;
mod crash;
mod database;
mod events;
mod examples;
mod expect;
mod extractors;
mod guard;
mod import;
mod jwks_url;
mod keys;
mod login;
mod manners;
mod model;
mod openapi;
mod pages;
mod prompt;
mod secrets;
mod session;
mod settings;
mod throttle;
mod user;
mod wire;
