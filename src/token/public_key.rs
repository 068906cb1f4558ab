//! Public keys: validation, PEM, thumbprints.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Serialize;

use super::algorithm::Algorithm;
use super::error::KeyError;

/// The prime 2^255 - 19 in little-endian order. A y at or above it is not a valid encoding (RFC 8032 §5.1.3).
const P: [u8; 32] = little_endian(0xed, 0xff, 0x7f);

/// The y coordinate of every Ed25519 point whose order divides 8, in little-endian order. The last two, `P` and
/// `P + 1`, are invalid encodings of 0 and 1 that some libraries accept.
///
/// Source: libsodium, `ge25519_has_small_order`, which has the same seven entries.
const SMALL_ORDER: [[u8; 32]; 7] = [
    little_endian(0x00, 0x00, 0x00),
    little_endian(0x01, 0x00, 0x00),
    *b"\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05",
    *b"\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a",
    little_endian(0xec, 0xff, 0x7f),
    P,
    little_endian(0xee, 0xff, 0x7f),
];

/// Returns 32 bytes: `first`, thirty times `middle`, `last`.
const fn little_endian(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

/// A public key. It has no variant for a symmetric key, so none can be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// The encoded point (RFC 8032 §5.1.2).
    Ed25519([u8; 32]),
    /// The uncompressed point: 4, x, y (SEC 1 §2.3.3).
    P256([u8; 65]),
}

impl PublicKey {
    /// The SubjectPublicKeyInfo of an Ed25519 key, up to the point (RFC 8410 §4).
    const ED25519_DER: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
    /// The SubjectPublicKeyInfo of an uncompressed P-256 key, up to the point (RFC 5480 §2).
    const P256_DER: &[u8] =
        b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";

    pub(super) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed25519(_) => Algorithm::EdDsa,
            Self::P256(_) => Algorithm::Es256,
        }
    }

    /// Returns `None` for an invalid encoding (RFC 8032 §5.1.2). Does not check that the point is on the curve: no
    /// signature verifies with one that is not.
    ///
    /// # Errors
    /// [`KeyError::SmallOrder`]. Anyone can make a signature that verifies with such a key for one in eight messages
    /// or more, and with the identity for every message.
    pub(super) fn ed25519(bytes: &[u8]) -> Result<Option<Self>, KeyError> {
        let Ok(point) = <[u8; 32]>::try_from(bytes) else { return Ok(None) };
        let mut y = point;
        // The highest bit is the sign of x.
        y[31] &= 0x7f;
        if SMALL_ORDER.contains(&y) {
            return Err(KeyError::SmallOrder);
        }
        let is_canonical = y.iter().rev().lt(P.iter().rev());
        Ok(is_canonical.then_some(Self::Ed25519(point)))
    }

    /// Returns `None` unless the point is on the curve (RFC 8725 §3.4).
    pub(super) fn p256(point: &[u8]) -> Option<Self> {
        let point: [u8; 65] = point.try_into().ok()?;
        if point[0] != 4 {
            return None;
        }
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok()?;
        Some(Self::P256(point))
    }

    /// Reads a PEM text that contains one public key.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let pem = str::from_utf8(pem).map_err(|_| KeyError::PemInvalid)?;
        if pem.contains("PRIVATE KEY-----") {
            return Err(KeyError::PrivateKey);
        }
        let der = only_block(pem).ok_or(KeyError::PemInvalid)?;
        Self::from_der(&der)?.ok_or(KeyError::PemInvalid)
    }

    /// Each of the two types has exactly one encoding, so a comparison replaces an ASN.1 parser.
    fn from_der(der: &[u8]) -> Result<Option<Self>, KeyError> {
        match (der.strip_prefix(Self::ED25519_DER), der.strip_prefix(Self::P256_DER)) {
            (Some(point), _) => Self::ed25519(point),
            (_, Some(point)) => Ok(Self::p256(point)),
            (None, None) => Ok(None),
        }
    }

    /// Returns the SHA-256 thumbprint in base64url (RFC 7638 §3, RFC 8037 §2).
    pub(super) fn thumbprint(&self) -> String {
        let members = serde_json::to_vec(&PublicMembers::from(self)).expect("a struct of strings is JSON");
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &members))
    }
}

/// Returns the bytes of the only block of a PEM text (RFC 7468 §3).
fn only_block(pem: &str) -> Option<Vec<u8>> {
    let (_, rest) = pem.split_once("-----BEGIN PUBLIC KEY-----")?;
    let (body, rest) = rest.split_once("-----END PUBLIC KEY-----")?;
    if rest.contains("-----BEGIN") {
        return None;
    }
    let body: String = body.split_ascii_whitespace().collect();
    STANDARD.decode(body).ok()
}

/// The required members of a JWK in lexicographic order. Their JSON is the input of the thumbprint (RFC 7638 §3.2).
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
            PublicKey::Ed25519(point) => {
                Self { crv: "Ed25519", kty: "OKP", x: URL_SAFE_NO_PAD.encode(point), y: None }
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
    use jsonwebtoken::DecodingKey;

    use super::super::fixtures::RFC_8037_PRIVATE;
    use super::*;

    #[test]
    fn a_pem_text_that_is_not_one_supported_public_key_is_refused() {
        fn pem(label: &str, body: &str) -> String {
            format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
        }
        const ED25519: &str = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        const SMALL_ORDER: &str = "MCowBQYDK2VwAyEAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
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
            ("a point of small order", public(SMALL_ORDER), Err(KeyError::SmallOrder)),
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

    fn either_sign(y: [u8; 32]) -> [[u8; 32]; 2] {
        [0, 0x80].map(|sign| {
            let mut point = y;
            point[31] |= sign;
            point
        })
    }

    /// The eight points of small order as `x` of a JWK, with either sign of x, and the invalid encodings of 0 and 1.
    /// They were computed by multiplying points of the curve by the order of its large subgroup.
    const SMALL_ORDER_X: [&str; 14] = [
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIA",
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIA",
        "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU",
        "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_IU",
        "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA3o",
        "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA_o",
        "7P_______________________________________38",
        "7P________________________________________8",
        "7f_______________________________________38",
        "7f________________________________________8",
        "7v_______________________________________38",
        "7v________________________________________8",
    ];

    #[test]
    fn a_point_of_small_order_is_refused_in_every_encoding() {
        for x in SMALL_ORDER_X {
            let point = URL_SAFE_NO_PAD.decode(x).unwrap();
            assert_eq!(PublicKey::ed25519(&point), Err(KeyError::SmallOrder), "{x}");
        }
    }

    /// The reason for the table, and a check of its entries: no forged signature verifies with another point.
    #[test]
    fn a_signature_made_without_a_key_verifies_with_a_point_of_small_order() {
        jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default().ok();
        // With S = 0 and R = the identity it verifies if the order of the point divides the hash.
        let signature = URL_SAFE_NO_PAD.encode([SMALL_ORDER[1], [0; 32]].concat());
        for y in SMALL_ORDER.into_iter().filter(|y| y.iter().rev().lt(P.iter().rev())) {
            let key = DecodingKey::from_ed_der(&y);
            let verifies = |message: &u8| {
                let algorithm = jsonwebtoken::Algorithm::EdDSA;
                jsonwebtoken::crypto::verify(&signature, &[*message], &key, algorithm).unwrap()
            };
            let forged = (0..=u8::MAX).filter(verifies).count();
            assert!(forged >= 16, "{forged} of 256 messages under {y:02x?}");
        }
    }

    #[test]
    fn a_y_of_p_or_more_is_refused() {
        let greatest = little_endian(0xeb, 0xff, 0x7f);
        for point in either_sign(greatest) {
            assert_eq!(PublicKey::ed25519(&point), Ok(Some(PublicKey::Ed25519(point))));
        }
        // P + 2 to 2^255 - 1 would be further encodings of 2 to 18.
        for point in (0xef..=0xff).flat_map(|first| either_sign(little_endian(first, 0xff, 0x7f))) {
            assert_eq!(PublicKey::ed25519(&point), Ok(None), "{point:02x?}");
        }
    }
}
