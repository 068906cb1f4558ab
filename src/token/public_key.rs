//! Public keys: the curve point, read from PEM, and its thumbprint.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Serialize;

use super::algorithm::Algorithm;
use super::error::KeyError;

/// What may be shown to anybody. There is no variant for a secret, so none can be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// The encoded point (RFC 8032 §5.1.2).
    Ed25519([u8; 32]),
    /// The uncompressed point: 4, x, y (SEC 1 §2.3.3).
    P256([u8; 65]),
}

impl PublicKey {
    /// SubjectPublicKeyInfo of Ed25519 up to the key (RFC 8410 §4).
    const ED25519_DER: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
    /// SubjectPublicKeyInfo of an uncompressed P-256 point up to the point (RFC 5480 §2).
    const P256_DER: &[u8] =
        b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";

    pub(super) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed25519(_) => Algorithm::EdDsa,
            Self::P256(_) => Algorithm::Es256,
        }
    }

    pub(super) fn ed25519(x: &[u8]) -> Option<Self> {
        x.try_into().ok().map(Self::Ed25519)
    }

    /// `None` unless the point is on the curve (RFC 8725 §3.4).
    pub(super) fn p256(point: &[u8]) -> Option<Self> {
        let point: [u8; 65] = point.try_into().ok()?;
        if point[0] != 4 {
            return None;
        }
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok()?;
        Some(Self::P256(point))
    }

    /// The one public key in a PEM text.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let pem = str::from_utf8(pem).map_err(|_| KeyError::PemInvalid)?;
        if pem.contains("PRIVATE KEY-----") {
            return Err(KeyError::PrivateKey);
        }
        Self::from_pem_block(pem).ok_or(KeyError::PemInvalid)
    }

    /// The two kinds of key have one encoding each, so comparing beats an ASN.1 parser and what it lets through.
    fn from_pem_block(pem: &str) -> Option<Self> {
        let (_, rest) = pem.split_once("-----BEGIN PUBLIC KEY-----")?;
        let (body, rest) = rest.split_once("-----END PUBLIC KEY-----")?;
        if rest.contains("-----BEGIN") {
            return None;
        }
        let body: String = body.split_ascii_whitespace().collect();
        let der = STANDARD.decode(body).ok()?;
        match (der.strip_prefix(Self::ED25519_DER), der.strip_prefix(Self::P256_DER)) {
            (Some(x), _) => Self::ed25519(x),
            (_, Some(point)) => Self::p256(point),
            (None, None) => None,
        }
    }

    /// The SHA-256 thumbprint in base64url (RFC 7638 §3, RFC 8037 §2).
    pub(super) fn thumbprint(&self) -> String {
        let members = serde_json::to_vec(&PublicMembers::from(self)).expect("a struct of strings is JSON");
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &members))
    }
}

/// The required members alone, in lexicographic order: the text that a thumbprint is made from (RFC 7638 §3.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct PublicMembers {
    crv: &'static str,
    kty: &'static str,
    x: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
}

impl From<&PublicKey> for PublicMembers {
    fn from(key: &PublicKey) -> Self {
        match key {
            PublicKey::Ed25519(x) => {
                Self { crv: "Ed25519", kty: "OKP", x: URL_SAFE_NO_PAD.encode(x), y: None }
            }
            PublicKey::P256(point) => Self {
                crv: "P-256",
                kty: "EC",
                x: URL_SAFE_NO_PAD.encode(&point[1..33]),
                y: Some(URL_SAFE_NO_PAD.encode(&point[33..])),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::RFC_8037_PRIVATE;
    use super::*;

    #[test]
    fn a_pem_text_is_one_public_key_of_ours_or_refused() {
        fn pem(label: &str, body: &str) -> String {
            format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
        }
        const ED25519: &str = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        const P256: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==";
        const P256_OFF_CURVE: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrA==";
        const P256_COMPRESSED: &str =
            "MDkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDIgADf83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU=";
        const P384: &str = "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAELNHLNYyjLsv0ICghgWxK7MKytUqFORdZ\nD3k31B/Ow051IqZhxhG9B4XNk1QVMdNY0EjlRfhNEH162vlCIBvuS/MZLzEpCbx7\nRw2wKPru/UEgb9hkerydq3BsdzZLoem9";
        let public = |body| pem("PUBLIC KEY", body);
        let refused = Err(KeyError::PemInvalid);
        let cases = [
            ("Ed25519", public(ED25519), Ok(Algorithm::EdDsa)),
            ("P-256", public(P256), Ok(Algorithm::Es256)),
            ("windows line ends", public(P256).replace('\n', "\r\n"), Ok(Algorithm::Es256)),
            ("text before and after", format!("key:\n{}end", public(ED25519)), Ok(Algorithm::EdDsa)),
            ("a private key", pem("PRIVATE KEY", RFC_8037_PRIVATE), Err(KeyError::PrivateKey)),
            ("a private key of the older form", pem("EC PRIVATE KEY", "MHcC"), Err(KeyError::PrivateKey)),
            ("a sealed private key", pem("ENCRYPTED PRIVATE KEY", "MHcC"), Err(KeyError::PrivateKey)),
            (
                "both halves",
                public(ED25519) + &pem("PRIVATE KEY", RFC_8037_PRIVATE),
                Err(KeyError::PrivateKey),
            ),
            ("a private key that calls itself public", public(RFC_8037_PRIVATE), refused.clone()),
            ("a point off the curve", public(P256_OFF_CURVE), refused.clone()),
            ("a compressed point", public(P256_COMPRESSED), refused.clone()),
            ("a point in hybrid form", public(&P256.replace("AEf8", "AHf8")), refused.clone()),
            ("another curve", public(P384), refused.clone()),
            ("two keys", public(ED25519) + &public(P256), refused.clone()),
            ("a certificate", pem("CERTIFICATE", ED25519), refused.clone()),
            ("another kind's label", pem("RSA PUBLIC KEY", ED25519), refused.clone()),
            (
                "a byte too few",
                public("MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHUQ=="),
                refused.clone(),
            ),
            ("no end", "-----BEGIN PUBLIC KEY-----\n".to_owned() + ED25519, refused.clone()),
            ("no base64", public("!"), refused.clone()),
            ("an empty block", public(""), refused.clone()),
            ("nothing", String::new(), refused.clone()),
        ];
        for (name, text, expected) in cases {
            assert_eq!(PublicKey::from_pem(text.as_bytes()).map(|key| key.algorithm()), expected, "{name}");
        }
        assert_eq!(PublicKey::from_pem(&[0xff]).map(|key| key.algorithm()), refused, "not text");
    }
}
