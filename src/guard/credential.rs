//! Reads the token from the request headers (RFC 9110 §11, RFC 6750 §2.1). Plain functions, without the framework.

use super::refusal::Refusal;
use crate::token::TokenError;

/// The part of the header value that is the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// The token follows a scheme: `Bearer <token>`, in any case. With `bare`, a compact JWS without a scheme is
    /// accepted too.
    Named { name: String, bare: bool },
    /// The whole value is the token, as in `X-API-Key: <token>`.
    Whole,
}

/// Finds the credential in `values`, all values of the header in the request. It may be no token at all: [`text`]
/// tells.
///
/// # Errors
/// [`Refusal::TokenMissing`] if there is no credential of the scheme; a refusal with the code `token_invalid` if there
/// are several.
pub(crate) fn find<'h>(
    mut values: impl Iterator<Item = &'h [u8]>,
    scheme: &Scheme,
) -> Result<&'h [u8], Refusal> {
    let value = values.next().ok_or(Refusal::TokenMissing)?;
    if values.next().is_some() {
        return Err(Refusal::CredentialAmbiguous);
    }
    let value = value.trim_ascii();
    if value.is_empty() {
        return Err(Refusal::TokenMissing);
    }
    match scheme {
        Scheme::Whole => Ok(value),
        Scheme::Named { name, bare } => match value.iter().position(|byte| *byte == b' ') {
            Some(end) if value[..end].eq_ignore_ascii_case(name.as_bytes()) => Ok(value[end..].trim_ascii()),
            None if *bare && is_compact_jws(value) => Ok(value),
            _ => Err(Refusal::TokenMissing),
        },
    }
}

/// Returns the credential as text, if it is one `token68` (RFC 9110 §11.2).
///
/// # Errors
/// A refusal with the code `token_invalid`.
pub(crate) fn text(word: &[u8]) -> Result<&str, Refusal> {
    let body_end = word.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    // To the end in any case: the compiler unrolls a loop that does not stop early.
    let kinds = word[..body_end].iter().fold(TOKEN68, |kinds, byte| kinds & KINDS[usize::from(*byte)]);
    let is_token68 = !word.is_empty() && kinds != 0;
    std::str::from_utf8(word).ok().filter(|_| is_token68).ok_or(Refusal::TokenInvalid(TokenError::Malformed))
}

/// Returns whether `word` is base64url with exactly two dots (RFC 7515 §7.1).
fn is_compact_jws(word: &[u8]) -> bool {
    let mut dots = 0;
    for byte in word {
        match byte {
            b'.' => dots += 1,
            byte if is(BASE64URL, *byte) => {}
            _ => return false,
        }
    }
    dots == 2
}

const BASE64URL: u8 = 1;
const TOKEN68: u8 = 2;

/// The kinds of each byte: a look-up costs less than a search for each byte of a token.
const KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte: u8 = 0;
    loop {
        kinds[byte as usize] = match byte {
            b'-' | b'_' => BASE64URL | TOKEN68,
            b'.' | b'~' | b'+' | b'/' => TOKEN68,
            other if other.is_ascii_alphanumeric() => BASE64URL | TOKEN68,
            _ => 0,
        };
        if byte == u8::MAX {
            break kinds;
        }
        byte += 1;
    }
};

fn is(kind: u8, byte: u8) -> bool {
    KINDS[usize::from(byte)] & kind != 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INVALID: Refusal = Refusal::TokenInvalid(TokenError::Malformed);
    const MISSING: Refusal = Refusal::TokenMissing;

    fn bearer(bare: bool) -> Scheme {
        Scheme::Named { name: "Bearer".into(), bare }
    }

    fn read<'h>(values: &[&'h [u8]], scheme: &Scheme) -> Result<&'h str, Refusal> {
        find(values.iter().copied(), scheme).and_then(text)
    }

    #[test]
    fn the_bearer_scheme_is_read_in_any_case_and_with_any_number_of_spaces() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c", "bEaReR a.b.c ", " Bearer a.b.c"] {
            assert_eq!(read(&[value.as_bytes()], &bearer(false)), Ok("a.b.c"), "{value:?}");
        }
    }

    #[test]
    fn another_scheme_is_a_missing_credential_and_a_malformed_token_an_invalid_one() {
        let table: &[(&str, &[u8], Refusal)] = &[
            ("empty value", b"", MISSING),
            ("only spaces", b"   ", MISSING),
            ("scheme alone", b"Bearer", MISSING),
            ("scheme and spaces", b"Bearer   ", MISSING),
            ("another scheme", b"Basic dXNlcjpwYXNz", MISSING),
            ("another scheme with a token", b"Token a.b.c", MISSING),
            ("a single word", b"abcdef", MISSING),
            ("a word with one dot", b"a.b", MISSING),
            ("a word with three dots", b"a.b.c.d", MISSING),
            ("a word with a character outside base64url", b"a.b.c=", MISSING),
            ("a tab after the scheme", b"Bearer\ta.b.c", MISSING),
            ("two words after the scheme", b"Bearer a.b.c d", INVALID),
            ("two credentials in one line", b"Bearer a.b.c, Bearer a.b.c", INVALID),
            ("quoted", b"Bearer \"a.b.c\"", INVALID),
            ("not ASCII", "Bearer a.b.\u{e9}".as_bytes(), INVALID),
            ("not UTF-8", b"Bearer \xff\xfe", INVALID),
            ("a NUL byte", b"Bearer a.b\0.c", INVALID),
            ("padding in the middle", b"Bearer a=b.c", INVALID),
        ];
        for (name, value, refusal) in table {
            assert_eq!(read(&[value], &bearer(true)), Err(*refusal), "{name}");
        }
        assert_eq!(read(&[], &bearer(true)), Err(MISSING), "no header at all");
    }

    #[test]
    fn a_bare_token_is_read_where_bare_is_on_and_missing_where_it_is_off() {
        assert_eq!(read(&[b"a.b.c"], &bearer(true)), Ok("a.b.c"));
        assert_eq!(read(&[b"a.b.c"], &bearer(false)), Err(MISSING));
    }

    #[test]
    fn two_headers_are_a_bad_credential_even_when_one_alone_would_pass() {
        for pair in
            [[&b"Bearer a.b.c"[..], b"Bearer a.b.c"], [b"Bearer a.b.c", b""], [b"Basic x", b"Basic x"]]
        {
            assert_eq!(read(&pair, &bearer(true)), Err(Refusal::CredentialAmbiguous));
        }
    }

    #[test]
    fn without_a_scheme_the_whole_value_is_the_token() {
        assert_eq!(read(&[b" a.b.c "], &Scheme::Whole), Ok("a.b.c"));
        assert_eq!(read(&[b"Bearer a.b.c"], &Scheme::Whole), Err(INVALID));
    }

    proptest! {
        #[test]
        fn no_header_value_makes_it_panic_and_what_passes_is_one_word(value in proptest::collection::vec(any::<u8>(), 0..64)) {
            for scheme in [bearer(true), bearer(false), Scheme::Whole] {
                if let Ok(token) = read(&[&value], &scheme) {
                    prop_assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
                }
            }
        }

        #[test]
        fn whatever_follows_the_scheme_comes_back_unchanged(token in "[A-Za-z0-9._~+/-]{1,40}={0,2}") {
            let value = format!("bearer {token}");
            prop_assert_eq!(read(&[value.as_bytes()], &bearer(false)), Ok(token.as_str()));
        }
    }
}
