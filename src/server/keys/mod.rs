//! Keys: the vault that seals them, the signing keys in memory, and rotation.
//!
//! | file | what it owns |
//! |---|---|
//! | `vault` | sealing and unsealing: encryption with authentication, by a passphrase; no SQL, no prompts |
//! | `seal` | the bytes of a seal: version, suite, generation, ciphertext; for each purpose its own key |
//! | `installation` | the first start on a database, and a change of the passphrase |
//! | `passphrase` | a passphrase in a file or at a descriptor |
//! | `sealed` | making, sealing and unsealing one signing key |
//! | `signing` | the unsealed signing keys of a running server |
//! | `rotation` | when a key is made, signs, is retired and is removed |

mod error;
pub mod installation;
pub(crate) mod passphrase;
pub mod rotation;
mod seal;
mod sealed;
mod signing;
pub mod vault;

pub use error::KeysError;
pub use sealed::new_signing_key;
pub(crate) use signing::SigningKeys;
