//! Fuzz targets: the credential in a request's headers.

use super::credential::{Scheme, find, text};
use super::refusal::Refusal;

/// A credential is one word of its header, behind its scheme, and two headers are none.
///
/// The input is the values of the header, with a line feed between them, which no value can have.
pub fn credential(bytes: &[u8]) {
    let values: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
    for bare in [true, false] {
        let scheme = Scheme::Named { name: "Bearer".into(), bare };
        let found = find(values.iter().copied(), &scheme).and_then(text);
        assert!(values.len() == 1 || found == Err(Refusal::CredentialAmbiguous));
        let Ok(token) = found else { continue };
        assert!(is_word(token), "{token:?}");
        let value = values[0].trim_ascii();
        assert!(value.ends_with(token.as_bytes()));
        let before = value[..value.len() - token.len()].trim_ascii_end();
        assert!(before.eq_ignore_ascii_case(b"bearer") || bare && before.is_empty(), "{before:?}");
        let again = format!("Bearer {token}");
        assert_eq!(find([again.as_bytes()].into_iter(), &scheme).and_then(text), Ok(token));
    }
    if let Ok(token) = find(values.iter().copied(), &Scheme::Whole).and_then(text) {
        assert!(is_word(token) && values.len() == 1 && values[0].trim_ascii() == token.as_bytes());
    }
}

fn is_word(token: &str) -> bool {
    !token.is_empty()
        && token.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"(),:;<>[\\]{}".contains(&byte))
}
