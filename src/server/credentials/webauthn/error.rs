//! The reasons why a response of an authenticator is refused.

/// The reason why a response is refused, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WebauthnError {
    /// It is not written as the specification says.
    #[error("the {0} is malformed")]
    Malformed(&'static str),
    /// It is for another ceremony, challenge, origin or party.
    #[error("the {0} is another")]
    Mismatch(&'static str),
    /// The authenticator did not notice a user, or has not verified one.
    #[error("the user was not {0}")]
    User(&'static str),
    /// Its algorithm or attestation is none that was asked for.
    #[error("the {0} is none that was asked for")]
    Unsupported(&'static str),
    /// The signature is not of the credential's key.
    #[error("the signature is wrong")]
    Signature,
}
