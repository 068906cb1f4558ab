//! Passkeys: what an authenticator sends when one is made and when it signs (Web Authentication, level 3). Pure: what
//! was challenged and what is stored are parameters. Everything that is not expected is refused; so is every
//! attestation but `none` and self attestation, since none is asked for.
//!
//! Not by `webauthn-rs`: it is under the MPL-2.0 and needs `rsa`, which has an open advisory (RUSTSEC-2023-0071), and
//! eighty more crates, most of them for the attestation that is not asked for. The test vectors of the specification run
//! as tests.
//!
//! | file | what it owns |
//! |---|---|
//! | `client_data` | what the browser says: the challenge and the origin |
//! | `authenticator_data` | what the authenticator says: flags, counter, the new key |
//! | `public_key` | COSE keys, and signatures |
//! | `relying_party` | whose credentials they are, and on which pages |
//! | `error` | the reasons why a response is refused |
//! | `options` | the JSON that `navigator.credentials` takes |
//! | `response` | the JSON of `navigator.credentials` |

mod authenticator_data;
mod client_data;
mod error;
mod options;
mod public_key;
mod relying_party;
mod response;

use aws_lc_rs::digest::{SHA256, digest};
use ciborium::Value;

use authenticator_data::AuthenticatorData;
use client_data::ClientData;
use error::WebauthnError;
pub(crate) use options::{CreationOptions, RequestOptions};
use public_key::PublicKey;
pub use relying_party::PasskeyError;
pub(crate) use relying_party::{RelyingParty, check_passkeys};
pub(crate) use response::{AssertionResponse, RegistrationResponse};

/// The longest id of a credential (§7.1, step 25).
const MAX_ID_BYTES: usize = 1_023;

/// A credential that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewCredential {
    /// The id that the authenticator gave it.
    pub id: Vec<u8>,
    /// The public key, as a COSE_Key.
    pub public_key: Vec<u8>,
    /// The authenticator's count of signatures.
    pub sign_count: u32,
    /// It may be copied to other devices.
    pub syncable: bool,
    /// It has been copied.
    pub synced: bool,
    /// The authenticator has verified its user, by a PIN or a fingerprint for example.
    pub user_verified: bool,
}

/// The content of a valid assertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Assertion {
    /// The authenticator's count of signatures.
    pub sign_count: u32,
    /// The credential has been copied to other devices.
    pub synced: bool,
    /// The authenticator has verified its user.
    pub user_verified: bool,
}

impl RegistrationResponse {
    /// Returns the challenge that it says to answer.
    ///
    /// # Errors
    /// [`WebauthnError`] where it cannot be read.
    pub(crate) fn challenge(&self) -> Result<Vec<u8>, WebauthnError> {
        ClientData::read(&self.client_data)?.challenge()
    }
}

impl AssertionResponse {
    /// Returns the challenge that it says to answer.
    ///
    /// # Errors
    /// [`WebauthnError`] where it cannot be read.
    pub(crate) fn challenge(&self) -> Result<Vec<u8>, WebauthnError> {
        ClientData::read(&self.client_data)?.challenge()
    }
}

/// Verifies the response of `navigator.credentials.create()` to `challenge` (§7.1).
///
/// # Errors
/// [`WebauthnError`].
pub(crate) fn verify_registration(
    party: &RelyingParty,
    challenge: &[u8],
    response: &RegistrationResponse,
) -> Result<NewCredential, WebauthnError> {
    ClientData::read(&response.client_data)?.check("webauthn.create", challenge, party)?;
    let attestation = Attestation::read(&response.attestation_object)?;
    let data = AuthenticatorData::read(&attestation.authenticator_data)?;
    data.check(&party.id)?;
    let made = data.made.ok_or(WebauthnError::Malformed("authenticator data"))?;
    if made.id != response.id || made.id.is_empty() || made.id.len() > MAX_ID_BYTES {
        return Err(WebauthnError::Mismatch("credential id"));
    }
    let key = PublicKey::read(&made.public_key)?;
    match attestation.format.as_str() {
        "none" if attestation.statement.is_empty() => {}
        "packed" => self_attested(&key, &attestation, &response.client_data)?,
        _ => return Err(WebauthnError::Unsupported("attestation")),
    }
    Ok(NewCredential {
        id: made.id,
        public_key: made.public_key,
        sign_count: data.sign_count,
        syncable: data.flags.backup_eligible(),
        synced: data.flags.backed_up(),
        user_verified: data.flags.user_verified(),
    })
}

/// Verifies the response of `navigator.credentials.get()` to `challenge`, by the credential with this COSE
/// `public_key`, which is `syncable` or not (§7.2). Whose credential it is, and the counter, are for the caller to
/// check.
///
/// # Errors
/// [`WebauthnError`].
pub(crate) fn verify_assertion(
    party: &RelyingParty,
    challenge: &[u8],
    response: &AssertionResponse,
    public_key: &[u8],
    syncable: bool,
) -> Result<Assertion, WebauthnError> {
    ClientData::read(&response.client_data)?.check("webauthn.get", challenge, party)?;
    let data = AuthenticatorData::read(&response.authenticator_data)?;
    data.check(&party.id)?;
    if data.flags.backup_eligible() != syncable {
        return Err(WebauthnError::Mismatch("backup eligibility"));
    }
    let signed = signed_bytes(&response.authenticator_data, &response.client_data);
    PublicKey::read(public_key)?.verify(&signed, &response.signature)?;
    Ok(Assertion {
        sign_count: data.sign_count,
        synced: data.flags.backed_up(),
        user_verified: data.flags.user_verified(),
    })
}

/// An attestation object (§6.5.4).
struct Attestation {
    format: String,
    statement: Vec<(Value, Value)>,
    authenticator_data: Vec<u8>,
}

impl Attestation {
    fn read(bytes: &[u8]) -> Result<Self, WebauthnError> {
        let malformed = || WebauthnError::Malformed("attestation object");
        let mut rest = bytes;
        let Ok(Value::Map(entries)) = ciborium::from_reader(&mut rest) else { return Err(malformed()) };
        if !rest.is_empty() || entries.len() != 3 {
            return Err(malformed());
        }
        let (mut format, mut statement, mut data) = (None, None, None);
        for entry in entries {
            match entry {
                (Value::Text(key), Value::Text(value)) if key == "fmt" => format = Some(value),
                (Value::Text(key), Value::Map(value)) if key == "attStmt" => statement = Some(value),
                (Value::Text(key), Value::Bytes(value)) if key == "authData" => data = Some(value),
                _ => return Err(malformed()),
            }
        }
        Ok(Self {
            format: format.ok_or_else(malformed)?,
            statement: statement.ok_or_else(malformed)?,
            authenticator_data: data.ok_or_else(malformed)?,
        })
    }
}

/// Checks a self attestation: signed by the new key itself (§8.2).
fn self_attested(
    key: &PublicKey,
    attestation: &Attestation,
    client_data: &[u8],
) -> Result<(), WebauthnError> {
    let Attestation { statement, authenticator_data, .. } = attestation;
    let value =
        |name: &str| statement.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value);
    if value("x5c").is_some() || statement.len() != 2 {
        return Err(WebauthnError::Unsupported("attestation"));
    }
    let algorithm = value("alg").and_then(Value::as_integer).and_then(|number| i64::try_from(number).ok());
    if algorithm != Some(key.algorithm()) {
        return Err(WebauthnError::Mismatch("algorithm"));
    }
    let signature = value("sig").and_then(Value::as_bytes).ok_or(WebauthnError::Malformed("attestation"))?;
    key.verify(&signed_bytes(authenticator_data, client_data), signature)
}

fn signed_bytes(data: &[u8], client_data: &[u8]) -> Vec<u8> {
    [data, digest(&SHA256, client_data).as_ref()].concat()
}

#[cfg(test)]
mod tests;
