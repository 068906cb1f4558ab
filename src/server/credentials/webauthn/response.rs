//! The responses of `navigator.credentials`, as `PublicKeyCredential.toJSON()` writes them (§5.1.1). Unknown fields do
//! not matter.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer};

/// The longest text of a field. Attestation objects without a certificate are far shorter.
const MAX_CHARS: usize = 16_384;

/// The most transports of a credential; the specification has six.
const MOST_TRANSPORTS: usize = 8;

/// The response of `navigator.credentials.create()`.
#[derive(Debug)]
pub(crate) struct RegistrationResponse {
    /// The id of the credential.
    pub id: Vec<u8>,
    pub(super) client_data: Vec<u8>,
    pub(super) attestation_object: Vec<u8>,
    /// How the browser reaches the authenticator, sorted. Nobody vouches for it.
    pub transports: Vec<String>,
}

/// The response of `navigator.credentials.get()`.
#[derive(Debug)]
pub(crate) struct AssertionResponse {
    /// The id of the credential.
    pub id: Vec<u8>,
    /// The user that the credential was made for, if the authenticator says so.
    pub user_handle: Option<Vec<u8>>,
    pub(super) client_data: Vec<u8>,
    pub(super) authenticator_data: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Credential<R> {
    #[serde(rename = "rawId", deserialize_with = "base64url")]
    raw_id: Vec<u8>,
    #[serde(rename = "type")]
    kind: Kind,
    response: R,
}

/// The only type of credential.
#[derive(Deserialize)]
enum Kind {
    #[serde(rename = "public-key")]
    PublicKey,
}

#[derive(Deserialize)]
struct Attestation {
    #[serde(rename = "clientDataJSON", deserialize_with = "base64url")]
    client_data: Vec<u8>,
    #[serde(rename = "attestationObject", deserialize_with = "base64url")]
    attestation_object: Vec<u8>,
    #[serde(default)]
    transports: Vec<String>,
}

#[derive(Deserialize)]
struct Signed {
    #[serde(rename = "clientDataJSON", deserialize_with = "base64url")]
    client_data: Vec<u8>,
    #[serde(rename = "authenticatorData", deserialize_with = "base64url")]
    authenticator_data: Vec<u8>,
    #[serde(deserialize_with = "base64url")]
    signature: Vec<u8>,
    #[serde(rename = "userHandle", default, deserialize_with = "optional_base64url")]
    user_handle: Option<Vec<u8>>,
}

impl<'de> Deserialize<'de> for RegistrationResponse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Credential { raw_id, kind: Kind::PublicKey, response } =
            Credential::<Attestation>::deserialize(deserializer)?;
        let Attestation { client_data, attestation_object, mut transports } = response;
        transports.retain(|name| is_transport(name));
        transports.sort_unstable();
        transports.dedup();
        transports.truncate(MOST_TRANSPORTS);
        Ok(Self { id: raw_id, client_data, attestation_object, transports })
    }
}

impl<'de> Deserialize<'de> for AssertionResponse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Credential { raw_id, kind: Kind::PublicKey, response } =
            Credential::<Signed>::deserialize(deserializer)?;
        let Signed { client_data, authenticator_data, signature, user_handle } = response;
        Ok(Self { id: raw_id, user_handle, client_data, authenticator_data, signature })
    }
}

/// Tells whether this may be a transport (§5.8.4). Browsers pass over those that they do not know.
fn is_transport(name: &str) -> bool {
    (1..=16).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

fn base64url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    decode(&String::deserialize(deserializer)?)
}

fn optional_base64url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    Option::<String>::deserialize(deserializer)?.map(|text| decode(&text)).transpose()
}

fn decode<E: serde::de::Error>(text: &str) -> Result<Vec<u8>, E> {
    if text.len() > MAX_CHARS {
        return Err(E::custom("it is too long"));
    }
    URL_SAFE_NO_PAD.decode(text).map_err(|_| E::custom("it is not base64url"))
}
