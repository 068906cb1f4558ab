//! The search terms of a user: the beginnings of the words of the address and the name, and the roles.
//!
//! A term runs from the beginning of a word to the end of the text. So a search finds the user by the beginning of any
//! word and by several words in a row, with one range of an index.

/// The most characters of a term, and of a search. Longer ones are compared by their beginnings.
const MAX_CHARS: usize = 60;

/// Returns the terms of a user with these fields.
pub(crate) fn terms_of(email: &str, name: Option<&str>, roles: &[String]) -> Vec<String> {
    let words = std::iter::once(email).chain(name).flat_map(|text| {
        let text = text.to_lowercase();
        word_starts(&text).into_iter().map(|start| beginning(&text[start..])).collect::<Vec<_>>()
    });
    let mut terms: Vec<_> = words.chain(roles.iter().map(|role| role_term(role))).collect();
    terms.sort();
    terms.dedup();
    terms
}

/// Returns the term of a role. No word begins with its `=`.
pub(crate) fn role_term(role: &str) -> String {
    format!("={role}")
}

/// Returns the range of terms that begin with what was typed: from the first to before the second. `None` if no term
/// can.
pub(crate) fn range_of(typed: &str) -> Option<(String, String)> {
    let typed = typed.to_lowercase();
    let from = beginning(typed.trim_start_matches(is_separator).trim_end());
    // The end is the same text with its last character raised; one that cannot be raised is left out.
    let mut end = from.clone();
    while let Some(last) = end.pop() {
        if let Some(next) = successor(last) {
            end.push(next);
            return Some((from, end));
        }
    }
    None
}

/// Returns the character after `character`; the surrogates between U+D7FF and U+E000 are none.
fn successor(character: char) -> Option<char> {
    (u32::from(character) + 1..=u32::from(char::MAX)).find_map(char::from_u32)
}

fn beginning(text: &str) -> String {
    text.chars().take(MAX_CHARS).collect()
}

fn word_starts(text: &str) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut is_inside = false;
    for (place, character) in text.char_indices() {
        let is_word = !is_separator(character);
        if is_word && !is_inside {
            starts.push(place);
        }
        is_inside = is_word;
    }
    starts
}

fn is_separator(character: char) -> bool {
    character.is_whitespace() || character.is_ascii_punctuation()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn finds(typed: &str, email: &str, name: &str) -> bool {
        let Some((from, end)) = range_of(typed) else { return false };
        terms_of(email, Some(name), &[]).iter().any(|term| *term >= from && *term < end)
    }

    #[test]
    fn a_user_is_found_by_the_beginning_of_any_word_in_any_case() {
        let (email, name) = ("ada.king@mail.example.com", "Augusta Ada LOVELACE, Ärztin 😀x");
        for typed in [
            "ada",
            "AD",
            "king",
            "king@m",
            "example",
            "com",
            "aug",
            "lovelace",
            "Lovelace, ä",
            "ärz",
            "😀",
            "ada love",
            " ada ",
            "@mail",
        ] {
            assert!(finds(typed, email, name), "{typed}");
        }
        for typed in
            ["da", "ing", "%", "_", "a%", "ada_king", "'", "\"", "=", "", " ", "lovelace ada", "\u{10ffff}"]
        {
            assert!(!finds(typed, email, name), "{typed}");
        }
    }

    #[test]
    fn a_role_is_a_term_that_no_search_reaches() {
        let terms = terms_of("a@b", None, &["admin".into()]);
        assert_eq!(terms, ["=admin", "a@b", "b"]);
        assert_eq!(range_of("=admin"), range_of("admin"));
    }

    #[test]
    fn a_long_name_costs_at_most_60_characters_a_word() {
        let name = "word ".repeat(40);
        let terms = terms_of("a@b", Some(&name), &[]);
        assert!(terms.iter().all(|term| term.chars().count() <= 60));
        assert!(finds(&"word ".repeat(20), "a@b", &name), "a search is cut at the same place");
    }

    proptest! {
        #[test]
        fn every_beginning_of_every_word_finds_its_user_on_every_plane(name in "\\PC{1,40}", cut in 1usize..12) {
            for word in name.split(is_separator).filter(|word| !word.is_empty()) {
                let typed: String = word.chars().take(cut).collect();
                // A final sigma and its like: lower case depends on what follows.
                let is_stable = name.to_lowercase().contains(&typed.to_lowercase());
                prop_assert!(!is_stable || finds(&typed, "a@b", &name), "{typed:?} of {name:?}");
            }
        }
    }
}
