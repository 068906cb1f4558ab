//! Tokens and keys: knows no HTTP, no database, and no clock of its own.
