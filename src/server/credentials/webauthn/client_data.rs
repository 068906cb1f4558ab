//! The client data (§5.8.1): what the browser says about the page that asked.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::error::WebauthnError;
use super::relying_party::RelyingParty;

/// The client data. Browsers may add fields, which do not matter.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: bool,
    #[serde(default)]
    top_origin: Option<String>,
}

impl ClientData {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, WebauthnError> {
        // Some old browsers begin with a byte order mark, which the specification's UTF-8 decode drops.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        serde_json::from_slice(bytes).map_err(|_| WebauthnError::Malformed("client data"))
    }

    /// Returns the challenge that it answers.
    pub(super) fn challenge(&self) -> Result<Vec<u8>, WebauthnError> {
        URL_SAFE_NO_PAD.decode(&self.challenge).map_err(|_| WebauthnError::Malformed("client data"))
    }

    /// Checks that it is about this kind of ceremony, this challenge and a page of the party, which is in no frame of
    /// another site's.
    pub(super) fn check(
        &self,
        kind: &str,
        challenge: &[u8],
        party: &RelyingParty,
    ) -> Result<(), WebauthnError> {
        if self.kind != kind {
            return Err(WebauthnError::Mismatch("ceremony"));
        }
        if verify_slices_are_equal(&self.challenge()?, challenge).is_err() {
            return Err(WebauthnError::Mismatch("challenge"));
        }
        if !party.accepts(&self.origin) || self.cross_origin || self.top_origin.is_some() {
            return Err(WebauthnError::Mismatch("origin"));
        }
        Ok(())
    }
}
