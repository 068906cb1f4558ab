//! The public keys of credentials: COSE_Key (RFC 9052 §7, RFC 9053, RFC 8230), and their signatures (§6.5.5).

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use ciborium::Value;

use super::error::WebauthnError;

const ES256: i64 = -7;
const EDDSA: i64 = -8;
const RS256: i64 = -257;

/// The algorithms that are asked for, the best first. Windows Hello has RS256 alone on older machines.
pub(super) const ALGORITHMS: [i64; 3] = [EDDSA, ES256, RS256];

/// The labels of a COSE_Key. Those of the parameters mean what the type of the key says.
const KTY: i64 = 1;
const ALG: i64 = 3;
const CRV_OR_N: i64 = -1;
const X_OR_E: i64 = -2;
const Y: i64 = -3;

/// The public key of a credential.
#[derive(Debug)]
pub(super) enum PublicKey {
    /// ECDSA on P-256, with SHA-256: the point, uncompressed.
    Es256(Vec<u8>),
    /// Ed25519.
    EdDsa(Vec<u8>),
    /// RSASSA-PKCS1-v1_5, with SHA-256: the modulus and the exponent.
    Rs256(Vec<u8>, Vec<u8>),
}

impl PublicKey {
    pub(super) fn read(cose: &[u8]) -> Result<Self, WebauthnError> {
        let malformed = || WebauthnError::Malformed("public key");
        let mut rest = cose;
        let Ok(Value::Map(entries)) = ciborium::from_reader(&mut rest) else { return Err(malformed()) };
        if !rest.is_empty() {
            return Err(malformed());
        }
        let value = |label: i64| {
            let mut found =
                entries.iter().filter(|(key, _)| *key == Value::from(label)).map(|(_, value)| value);
            found.next().filter(|_| found.next().is_none())
        };
        let number =
            |label| value(label).and_then(Value::as_integer).and_then(|number| i64::try_from(number).ok());
        let bytes = |label| value(label).and_then(Value::as_bytes).cloned();
        match (number(KTY), number(ALG)) {
            (Some(2), Some(ES256)) if number(CRV_OR_N) == Some(1) => {
                let (x, y) = bytes(X_OR_E).zip(bytes(Y)).ok_or_else(malformed)?;
                if x.len() != 32 || y.len() != 32 {
                    return Err(malformed());
                }
                Ok(Self::Es256([&[4][..], &x, &y].concat()))
            }
            (Some(1), Some(EDDSA)) if number(CRV_OR_N) == Some(6) => {
                let x = bytes(X_OR_E).filter(|x| x.len() == 32).ok_or_else(malformed)?;
                Ok(Self::EdDsa(x))
            }
            (Some(3), Some(RS256)) => {
                let (n, e) = bytes(CRV_OR_N).zip(bytes(X_OR_E)).ok_or_else(malformed)?;
                Ok(Self::Rs256(n, e))
            }
            _ => Err(WebauthnError::Unsupported("algorithm")),
        }
    }

    pub(super) fn algorithm(&self) -> i64 {
        match self {
            Self::Es256(_) => ES256,
            Self::EdDsa(_) => EDDSA,
            Self::Rs256(..) => RS256,
        }
    }

    pub(super) fn verify(&self, signed: &[u8], signature: &[u8]) -> Result<(), WebauthnError> {
        let verified = match self {
            Self::Es256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(signed, signature)
            }
            Self::EdDsa(key) => UnparsedPublicKey::new(&ED25519, key).verify(signed, signature),
            Self::Rs256(n, e) => {
                PublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature)
            }
        };
        verified.map_err(|_| WebauthnError::Signature)
    }
}
