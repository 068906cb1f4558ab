//! Paths that match a path pattern, with malformed and well-formed values for its parameters.

use std::fmt::Write;

use actix_web::dev::ResourceDef;

/// Malformed values: as sent, and as matched against the pattern. They are no number, UUID or date; the first is not
/// even UTF-8.
const MALFORMED: [(&str, &str); 2] = [("%FF", "\u{FFFD}"), ("not-a-number", "not-a-number")];

/// Values that usual patterns accept.
const WELL_FORMED: [&str; 9] =
    ["1", "a", "A", "aa", "10", "2000", "2000-01-01", "00000000-0000-0000-0000-000000000000", "1.0"];

/// Returns paths that match `pattern`: first one with malformed values, then one with well-formed values, for routes
/// whose pattern or guards accept only those. There is one path if both are the same, as for a pattern without
/// parameters. Returns `None` if a regular expression in the pattern matches none of the values above.
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

/// Splits at the first parameter in braces, which may itself contain braces: `/a/{id:\d{2}}/b` is `/a/`,
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

/// Returns a malformed and a well-formed value for a parameter, encoded; the same one twice if there is only one.
fn fill(segment: &str, is_tail: bool) -> Option<(String, String)> {
    let matches =
        |text: &str| is_tail || ResourceDef::new(format!("/{{{segment}}}")).is_match(&format!("/{text}"));
    let expression = segment.split_once(':').map_or("", |(_, expression)| expression);
    // `{kind:cats|dogs}`: the alternatives themselves match.
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

/// Appends `text` to `path`, percent-encoded (RFC 3986 §3.3).
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
    fn a_pattern_is_filled_first_with_malformed_and_then_with_well_formed_values() {
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
