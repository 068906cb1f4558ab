//! The options of `navigator.credentials`, as `PublicKeyCredential.parseCreationOptionsFromJSON()` and
//! `parseRequestOptionsFromJSON()` take them (§5.4, §5.5).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use utoipa::ToSchema;

use super::public_key::ALGORITHMS;
use super::relying_party::RelyingParty;
use crate::server::model::{Passkey, UserRecord};

/// The only type of credential.
const PUBLIC_KEY: &str = "public-key";

/// Options of `navigator.credentials.create()` (WebAuthn, level 3).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PasskeyCreationOptions)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreationOptions {
    rp: Party,
    user: Owner,
    /// In base64url.
    challenge: String,
    /// The algorithms that are accepted, the best first.
    pub_key_cred_params: Vec<Algorithm>,
    /// In milliseconds.
    timeout: i64,
    /// The passkeys that the user has already.
    exclude_credentials: Vec<Descriptor>,
    authenticator_selection: Selection,
    #[schema(value_type = String)]
    attestation: &'static str,
}

/// Options of `navigator.credentials.get()` (WebAuthn, level 3).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PasskeyRequestOptions)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RequestOptions {
    /// In base64url.
    challenge: String,
    rp_id: String,
    /// In milliseconds.
    timeout: i64,
    /// The passkeys that are accepted; empty if any that the authenticator finds is.
    allow_credentials: Vec<Descriptor>,
    /// `required` to sign in with a passkey alone, `discouraged` after a password.
    #[schema(value_type = String)]
    user_verification: &'static str,
}

/// The party that the passkey is made for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PasskeyParty)]
struct Party {
    id: String,
    name: String,
}

/// The user that the passkey is made for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PasskeyUser)]
#[serde(rename_all = "camelCase")]
struct Owner {
    /// The bytes of the user's id, in base64url.
    id: String,
    name: String,
    display_name: String,
}

/// An algorithm of a passkey.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PasskeyAlgorithm)]
struct Algorithm {
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: &'static str,
    /// Its number for COSE.
    alg: i64,
}

/// Names a passkey.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PasskeyDescriptor)]
struct Descriptor {
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: &'static str,
    /// In base64url.
    id: String,
    /// How the browser reaches its authenticator.
    transports: Vec<String>,
}

/// The abilities that the authenticator should have.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PasskeyAuthenticator)]
#[serde(rename_all = "camelCase")]
struct Selection {
    #[schema(value_type = String)]
    resident_key: &'static str,
    #[schema(value_type = String)]
    user_verification: &'static str,
}

impl CreationOptions {
    /// Returns the options for a passkey of `user`, who has `known` ones.
    pub(crate) fn new(
        (party, name): (&RelyingParty, &str),
        user: &UserRecord,
        challenge: &[u8],
        known: &[Passkey],
        timeout: chrono::Duration,
    ) -> Self {
        Self {
            rp: Party { id: party.id.clone(), name: name.to_owned() },
            user: Owner {
                id: URL_SAFE_NO_PAD.encode(user.id.as_bytes()),
                name: user.email.clone(),
                display_name: user.name.as_ref().unwrap_or(&user.email).clone(),
            },
            challenge: URL_SAFE_NO_PAD.encode(challenge),
            pub_key_cred_params: ALGORITHMS.map(|alg| Algorithm { kind: PUBLIC_KEY, alg }).into(),
            timeout: timeout.num_milliseconds(),
            exclude_credentials: known.iter().map(Descriptor::of).collect(),
            // A security key that stores nothing, or verifies nobody, is a second factor too.
            authenticator_selection: Selection { resident_key: "preferred", user_verification: "preferred" },
            attestation: "none",
        }
    }
}

impl RequestOptions {
    /// Returns the options to sign in by a passkey alone, or after a first factor by one of `allowed`.
    pub(crate) fn new(
        party: &RelyingParty,
        challenge: &[u8],
        allowed: Option<&[Passkey]>,
        timeout: chrono::Duration,
    ) -> Self {
        Self {
            challenge: URL_SAFE_NO_PAD.encode(challenge),
            rp_id: party.id.clone(),
            timeout: timeout.num_milliseconds(),
            allow_credentials: allowed.unwrap_or_default().iter().map(Descriptor::of).collect(),
            // Alone it has to be both factors; after a password it is the second.
            user_verification: if allowed.is_none() { "required" } else { "discouraged" },
        }
    }
}

impl Descriptor {
    fn of(passkey: &Passkey) -> Self {
        let id = URL_SAFE_NO_PAD.encode(&passkey.credential_id);
        Self { kind: PUBLIC_KEY, id, transports: passkey.transports.clone() }
    }
}
