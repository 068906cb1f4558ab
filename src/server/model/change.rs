//! Changes that every running server must apply.

use uuid::Uuid;

/// A change that every running server must apply to its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The user was changed or deleted.
    User(Uuid),
    /// The session ended; its tokens are revoked.
    Session(Uuid),
    /// A signing key was added, changed or removed.
    Keys,
}
