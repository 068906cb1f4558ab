//! The header of a token (RFC 7515 §4): read and written.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::Value;

use super::algorithm::Algorithm;
use super::error::{KeyError, TokenError};
use super::json_object::JsonObject;

/// Header parameters that say where the key is or how to read the rest. Whoever made the token chose them, so they
/// are refused (RFC 8725 §3.10, RFC 7515 §4.1.11, RFC 7797 §3). No extension is supported, so neither is any `crit`.
const REFUSED_PARAMETERS: [&str; 6] = ["jku", "jwk", "x5u", "x5c", "crit", "b64"];

/// The header parameters that are used. All others are ignored (RFC 7515 §4) or refused.
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) typ: Option<String>,
    pub(super) kid: Option<String>,
}

impl Header {
    pub(super) fn read(json: &str) -> Result<Self, TokenError> {
        let JsonObject(mut members) = serde_json::from_str(json).map_err(|_| TokenError::Malformed)?;
        if let Some(name) = REFUSED_PARAMETERS.into_iter().find(|name| members.contains_key(*name)) {
            return Err(TokenError::HeaderRefused(name));
        }
        let algorithm = members
            .get("alg")
            .and_then(Value::as_str)
            .and_then(Algorithm::from_alg)
            .ok_or(TokenError::AlgorithmRefused)?;
        let mut string = |name| match members.remove(name) {
            None => Ok(None),
            Some(Value::String(string)) => Ok(Some(string)),
            Some(_) => Err(TokenError::HeaderRefused(name)),
        };
        Ok(Self { algorithm, typ: string("typ")?, kid: string("kid")? })
    }
}

/// Returns the header of the access tokens that a key signs, in base64url.
pub(super) fn for_access_tokens(algorithm: Algorithm, kid: &str) -> Result<String, KeyError> {
    #[derive(Serialize)]
    struct Header<'a> {
        alg: Algorithm,
        typ: &'a str,
        kid: &'a str,
    }
    let header = serde_json::to_string(&Header { alg: algorithm, typ: "at+jwt", kid })
        .map_err(|_| KeyError::ClaimsUnwritable)?;
    Ok(URL_SAFE_NO_PAD.encode(header))
}
