//! Keys: the vault that seals them, the signing keys in memory, and rotation.
//!
//! | file | what it owns |
//! |---|---|
//! | `vault` | sealing and unsealing: encryption with authentication, by a passphrase; no SQL, no prompts |
//! | `passphrase` | what a new passphrase must be; stretching |
//! | `seal` | the bytes of a seal: version, suite, generation, ciphertext; for each purpose its own key |
//! | `password_hashes` | the sealed hashes of passwords |
//! | `installation` | the first start on a database, and a change of the passphrase |
//! | `passphrase_file` | a passphrase in a file or at a descriptor |
//! | `sealed` | making, sealing and unsealing one signing key |
//! | `signing` | the unsealed signing keys of a running server |
//! | `rekey` | a new installation key, and everything sealed anew under it |
//! | `handover` | how running servers receive it |
//! | `rotation` | when a key is made, signs, is retired and is removed |

mod error;
mod handover;
pub mod installation;
mod passphrase;
pub(crate) mod passphrase_file;
mod password_hashes;
pub mod rekey;
pub mod rotation;
mod seal;
mod sealed;
mod signing;
pub mod vault;

pub use error::KeysError;
pub(crate) use handover::Follower;
pub(crate) use passphrase::judge_new_passphrase;
pub use password_hashes::PasswordHashes;
pub use sealed::new_signing_key;
pub(crate) use signing::SigningKeys;
