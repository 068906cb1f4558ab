//! Paths for path patterns: what a stranger would put where a pattern leaves something open.

use std::fmt::Write;

use actix_web::dev::ResourceDef;

/// What no handler can make sense of: as it is sent, and as it reaches the pattern. The bytes are no UTF-8, and
/// in no way a number, a UUID or a date.
const MALFORMED: [(&str, &str); 2] = [("%FF", "\u{FFFD}"), ("not-a-number", "not-a-number")];

/// What usual patterns ask for.
const WELL_FORMED: [&str; 9] =
    ["1", "a", "A", "aa", "10", "2000", "2000-01-01", "00000000-0000-0000-0000-000000000000", "1.0"];

/// Paths that match `pattern`: a malformed one first, and one that is well-formed, so that a route whose
/// pattern or guards let no nonsense through is reached too. A pattern that leaves nothing open has one path.
/// `None` when a regular expression in it matches nothing that is known here.
pub(super) fn paths(pattern: &str) -> Option<Vec<String>> {
    let (mut malformed, mut well_formed) = (String::new(), String::new());
    let mut rest = pattern;
    while let Some((plain, segment, after)) = next_segment(rest) {
        for path in [&mut malformed, &mut well_formed] {
            encode(plain, path);
        }
        let (bad, good) = fill(segment, after == "*")?;
        malformed += &bad;
        well_formed += &good;
        rest = after;
    }
    if rest != "*" {
        for path in [&mut malformed, &mut well_formed] {
            encode(rest, path);
        }
    }
    let mut paths = vec![malformed, well_formed];
    paths.dedup();
    Some(paths)
}

/// Splits at the first segment in braces, which may have braces in it: `/a/{id:\d{2}}/b` is `/a/`,
/// `id:\d{2}`, `/b`.
fn next_segment(pattern: &str) -> Option<(&str, &str, &str)> {
    let start = pattern.find('{')?;
    let mut depth = 0;
    let end = pattern[start..].find(|letter| {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        depth == 0
    })?;
    Some((&pattern[..start], &pattern[start + 1..start + end], &pattern[start + end + 1..]))
}

/// What may stand for a segment, malformed and well-formed, encoded; twice the same where there is no choice.
fn fill(segment: &str, is_tail: bool) -> Option<(String, String)> {
    let matches =
        |text: &str| is_tail || ResourceDef::new(format!("/{{{segment}}}")).is_match(&format!("/{text}"));
    let expression = segment.split_once(':').map_or("", |(_, expression)| expression);
    // `{kind:cats|dogs}`, the one kind of expression that says itself what it matches.
    let named = expression.trim_matches(['(', ')']).split('|').filter(|name| !name.is_empty());
    let good = WELL_FORMED.into_iter().chain(named).find(|text| matches(text)).map(|text| {
        let mut path = String::new();
        encode(text, &mut path);
        path
    });
    let bad = MALFORMED.into_iter().find(|(_, text)| matches(text)).map(|(sent, _)| sent.to_owned());
    match (bad, good) {
        (Some(bad), Some(good)) => Some((bad, good)),
        (only, None) | (None, only) => only.map(|only| (only.clone(), only)),
    }
}

/// Appends `text` as it may stand in a path (RFC 3986 §3.3).
fn encode(text: &str, path: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte) {
            path.push(char::from(byte));
        } else {
            write!(path, "%{byte:02X}").expect("a string takes all that is written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_filled_with_nonsense_first_and_then_with_what_it_asks_for() {
        let uuid = "/00000000-0000-0000-0000-000000000000";
        let cases: &[(&str, &[&str])] = &[
            ("/", &["/"]),
            ("/notes", &["/notes"]),
            ("/a b/ü%", &["/a%20b/%C3%BC%25"]),
            ("/notes/{id}", &["/notes/%FF", "/notes/1"]),
            ("/{a}/x/{b}/", &["/%FF/x/%FF/", "/1/x/1/"]),
            (r"/notes/{id:\d+}", &["/notes/1"]),
            (r"/{year:\d{4}}/{name}", &["/2000/%FF", "/2000/1"]),
            ("/{word:[a-z-]+}", &["/not-a-number", "/a"]),
            ("/{language:[a-z]{2}}", &["/aa"]),
            (r"/{day:\d{4}-\d{2}-\d{2}}", &["/2000-01-01"]),
            ("/{id:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}}", &[uuid]),
            ("/{kind:cats|dogs}", &["/cats"]),
            ("/files/{tail:.*}", &["/files/%FF", "/files/1"]),
            ("/files/{tail}*", &["/files/%FF", "/files/1"]),
        ];
        for (pattern, expected) in cases {
            let found = paths(pattern).unwrap();
            assert_eq!(found, *expected, "{pattern}");
        }
        assert_eq!(paths("/{order:[A-Z]{3}-[0-9]{5}}"), None);
    }
}
