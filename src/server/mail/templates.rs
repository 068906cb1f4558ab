//! The texts of mails. Each kind has one template a language, from which both the plain text and the HTML are made:
//! `layout.txt` and `layout.html` arrange its blocks. A folder of the operator's replaces any of them and may add
//! languages. Everything is rendered once at start, so a mistake is found there, with its file and line.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};

use super::error::MailError;
use crate::server::model::MailKind;

macro_rules! built_in {
    ($($name:literal,)*) => {
        &[$(($name, include_str!(concat!("templates/", $name)))),*]
    };
}

const BUILT_IN: &[(&str, &str)] = built_in![
    "layout.txt",
    "layout.html",
    "en/base.jinja",
    "en/verify.jinja",
    "en/reset.jinja",
    "en/invite.jinja",
    "en/taken.jinja",
    "en/change.jinja",
    "en/change_asked.jinja",
    "en/changed.jinja",
    "en/password_changed.jinja",
    "en/second_factors.jinja",
    "en/link.jinja",
    "de/base.jinja",
    "de/verify.jinja",
    "de/reset.jinja",
    "de/invite.jinja",
    "de/taken.jinja",
    "de/change.jinja",
    "de/change_asked.jinja",
    "de/changed.jinja",
    "de/password_changed.jinja",
    "de/second_factors.jinja",
    "de/link.jinja",
];

/// The longest subject, in characters.
const MAX_SUBJECT: usize = 200;

/// The most files that an error names.
const FILES_NAMED: usize = 3;

/// The texts of every kind and language.
#[derive(Debug)]
pub(super) struct Templates {
    plain: Environment<'static>,
    html: Environment<'static>,
    languages: BTreeSet<String>,
    /// The language of everybody whose own is not there.
    fallback: String,
    /// The files of the operator, for messages.
    files: BTreeMap<String, PathBuf>,
}

/// The variables of a template.
#[derive(Debug, Clone)]
pub(super) struct Variables<'a> {
    /// The link; `None` in a mail without one.
    pub(super) link: Option<String>,
    /// The time until which the link works.
    pub(super) until: Option<String>,
    /// The code beside a sign-in link.
    pub(super) code: Option<&'a str>,
    /// The link works only in one browser.
    pub(super) bound: bool,
    /// The host of the front end.
    pub(super) host: &'a str,
    /// The time of the request.
    pub(super) at: String,
    /// The client's address.
    pub(super) address: Option<&'a str>,
    /// The client's browser and system.
    pub(super) program: Option<&'a str>,
    /// The kind of the event that a notice is about.
    pub(super) change: Option<&'a str>,
    /// An admin asked.
    pub(super) by_admin: bool,
}

/// A mail's text in both forms.
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

impl Templates {
    /// Reads the built-in texts and those of the folder, and renders each once.
    ///
    /// # Errors
    /// [`MailError::Template`] with the file and the line.
    pub(super) fn open(folder: Option<&Path>, fallback: &str) -> Result<Self, MailError> {
        let mut texts = Vec::new();
        if let Some(folder) = folder {
            for (name, path) in files_in(folder)? {
                let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
                texts.push((name, path, text));
            }
        }
        Self::with(texts, folder, fallback)
    }

    /// Returns the built-in texts and these: their names, files and texts.
    pub(super) fn with(
        texts: Vec<(String, PathBuf, String)>,
        folder: Option<&Path>,
        fallback: &str,
    ) -> Result<Self, MailError> {
        let mut sources: BTreeMap<String, String> =
            BUILT_IN.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let mut files = BTreeMap::new();
        for (name, path, text) in texts {
            sources.insert(name.clone(), text);
            files.insert(name, path);
        }
        let languages: BTreeSet<String> =
            sources.keys().filter_map(|name| Some(name.split_once('/')?.0.to_owned())).collect();
        for language in &languages {
            let kinds = MailKind::ALL.iter().map(|kind| kind.name()).chain(["base"]);
            for name in kinds.map(|kind| format!("{language}/{kind}.jinja")) {
                if !sources.contains_key(&name) {
                    let place = folder.unwrap_or(Path::new("")).join(&name);
                    return Err(MailError::Template(format!("{} is missing", place.display())));
                }
            }
        }
        if !languages.contains(fallback) {
            return Err(MailError::Template(format!(
                "mail.language is {fallback}, and there are texts in {}; choose one of these, or add them to mail.templates",
                languages.iter().cloned().collect::<Vec<_>>().join(", ")
            )));
        }
        let place_of = |error: &minijinja::Error| place(&files, "a template", error);
        let plain =
            environment(&sources, "layout.txt", AutoEscape::None).map_err(|error| place_of(&error))?;
        let html =
            environment(&sources, "layout.html", AutoEscape::Html).map_err(|error| place_of(&error))?;
        let templates = Self { plain, html, languages, fallback: fallback.to_owned(), files };
        templates.check()?;
        Ok(templates)
    }

    /// Renders every text once.
    fn check(&self) -> Result<(), MailError> {
        let all = Variables {
            link: Some("https://example.com/#/x?token=x".into()),
            until: Some("2026-01-31 10:30 UTC".into()),
            code: Some("123456"),
            bound: true,
            host: "example.com",
            at: "2026-01-31 09:30 UTC".into(),
            address: Some("192.0.2.1"),
            program: Some("Firefox, Linux"),
            change: Some("second_factor_added"),
            by_admin: false,
        };
        let few = Variables { bound: false, address: None, program: None, by_admin: true, ..all.clone() };
        for language in &self.languages {
            for kind in MailKind::ALL {
                for variables in [&all, &few] {
                    self.render(*kind, std::slice::from_ref(language), variables)?;
                }
            }
        }
        Ok(())
    }

    /// Renders the text of a kind in the first of these languages that there is.
    ///
    /// # Errors
    /// [`MailError::Template`].
    pub(super) fn render(
        &self,
        kind: MailKind,
        languages: &[String],
        variables: &Variables<'_>,
    ) -> Result<Rendered, MailError> {
        let language = self.language(languages);
        let name = format!("{language}/{}.jinja", kind.name());
        let Variables { link, until, code, bound, host, at, address, program, change, by_admin } =
            variables.clone();
        let values = |html: bool| {
            let link = link.clone();
            let (until, at) = (until.as_deref().map(|until| whole(until, html)), whole(&at, html));
            context! { language, html, link, until, code, bound, host, at, address, program, change, by_admin }
        };
        let place_of = |error: minijinja::Error| place(&self.files, &name, &error);
        let render = |environment: &Environment<'static>, values: Value| {
            environment.get_template(&name)?.render(values)
        };
        let subject = || {
            let template = self.plain.get_template(&name)?;
            template.render_captured(values(false))?.with_state_mut(|state| state.render_block("subject"))
        };
        let subject = one_line(&subject().map_err(place_of)?);
        if subject.is_empty() {
            let file = self.files.get(&name).map_or(name.clone(), |path| path.display().to_string());
            return Err(MailError::Template(format!("{file}: the block subject is empty")));
        }
        let text = render(&self.plain, values(false)).map_err(place_of)?;
        let html = render(&self.html, values(true)).map_err(place_of)?;
        Ok(Rendered { subject, text: tidy(&text), html })
    }

    /// Returns the first of the languages that there is, itself or without its region.
    fn language(&self, languages: &[String]) -> &str {
        let find = |tag: &str| self.languages.get(tag).map(String::as_str);
        let of = |tag: &String| find(tag).or_else(|| find(tag.split('-').next()?));
        languages.iter().find_map(of).unwrap_or(&self.fallback)
    }
}

fn environment(
    sources: &BTreeMap<String, String>,
    layout: &'static str,
    escape: AutoEscape,
) -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(move |_| escape.clone());
    environment.add_global("layout", layout);
    for (name, text) in sources {
        environment.add_template_owned(name.clone(), text.clone())?;
    }
    Ok(environment)
}

/// Returns the error of a template with its file and line. It names `rendered` if it names no template itself. An error
/// in a template of ours comes from one of the operator's `files`, which are named then.
fn place(files: &BTreeMap<String, PathBuf>, rendered: &str, error: &minijinja::Error) -> MailError {
    let name = error.name().unwrap_or(rendered);
    let line = error.line().map(|line| format!(":{line}")).unwrap_or_default();
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    if let Some(path) = files.get(name) {
        return MailError::Template(format!("{}{line}: {detail}", path.display()));
    }
    let named: Vec<_> = files.values().take(FILES_NAMED).map(|path| path.display().to_string()).collect();
    let more = match files.len().saturating_sub(FILES_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    MailError::Template(format!("the built-in {name}{line}, with {}{more}: {detail}", named.join(", ")))
}

/// Returns the templates of the operator's folder, by name.
fn files_in(folder: &Path) -> Result<Vec<(String, PathBuf)>, MailError> {
    let mut found = Vec::new();
    for (name, path) in entries(folder)? {
        if path.is_dir() {
            let language = name;
            for (name, path) in entries(&path)? {
                found.push((format!("{language}/{name}"), path));
            }
        } else {
            found.push((name, path));
        }
    }
    for (name, path) in &found {
        let (_, last) = name.split_once('/').unwrap_or(("", name));
        let stem = last.strip_suffix(".jinja");
        let is_known = if name.contains('/') {
            stem.is_some_and(|stem| stem == "base" || MailKind::named(stem).is_some())
        } else {
            matches!(last, "layout.txt" | "layout.html")
        };
        if !is_known {
            return Err(MailError::Template(format!(
                "{} is no template: layout.txt, layout.html, and in a folder a language base.jinja and one file a kind of \
                 mail are accepted",
                path.display()
            )));
        }
    }
    Ok(found)
}

/// Returns the entries of a folder whose names are not hidden.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, MailError> {
    let read = || {
        std::fs::read_dir(folder)?
            .map(|entry| {
                let entry = entry?;
                let name = entry.file_name().into_string().map_err(|_| ErrorKind::InvalidData)?;
                Ok((name, entry.path()))
            })
            .collect::<std::io::Result<Vec<_>>>()
    };
    let mut all = read().map_err(|error| unreadable(folder, &error))?;
    all.retain(|(name, _)| !name.starts_with('.'));
    all.sort();
    Ok(all)
}

fn unreadable(path: &Path, error: &std::io::Error) -> MailError {
    MailError::Template(format!("{} cannot be read: {error}", path.display()))
}

/// Returns a time that is not broken into two lines at its hyphens.
fn whole(time: &str, html: bool) -> Value {
    if html && !time.is_empty() {
        Value::from_safe_string(format!("<span style=\"white-space: nowrap\">{time}</span>"))
    } else {
        time.into()
    }
}

/// Returns a text as one line, for a header.
fn one_line(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|character: char| character.is_whitespace() || character.is_control()).collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    line.chars().take(MAX_SUBJECT).collect()
}

/// Leaves at most one empty line in a row, and none at the end.
fn tidy(text: &str) -> String {
    let mut tidied = String::with_capacity(text.len());
    let mut is_after_empty = true;
    for line in text.lines() {
        // Two hyphens and a space begin a signature.
        let line = if line.starts_with("-- ") { line } else { line.trim_end() };
        if !line.is_empty() || !is_after_empty {
            tidied.push_str(line);
            tidied.push('\n');
        }
        is_after_empty = line.is_empty();
    }
    tidied.truncate(tidied.trim_end_matches('\n').len());
    tidied.push('\n');
    tidied
}

#[cfg(test)]
mod tests {
    use super::super::fuzzing::reset_variables as variables;
    use super::*;

    #[test]
    fn a_text_has_the_reason_the_link_its_end_the_place_and_what_to_do_otherwise() {
        let templates = Templates::open(None, "en").unwrap();
        let rendered = templates.render(MailKind::Reset, &[], &variables()).unwrap();
        assert_eq!(rendered.subject, "Choose another password for app.example");
        assert_eq!(
            rendered.text,
            "Somebody asked to choose another password for your account at app.example.\n\n\
             Choose another password:\nhttps://app.example/#/reset?token=abc&x=1\n\n\
             The link works once, until 2026-01-31 10:30 UTC.\n\n\
             This was asked for on 2026-01-31 09:30 UTC from 192.0.2.1 (<b>Firefox</b>).\n\n\
             If it was not you, ignore this mail: your password stays as it is.\n\n\
             -- \nSent by app.example. Nobody reads replies to this mail.\n"
        );
        assert!(rendered.html.contains("&lt;b&gt;Firefox&lt;"), "{}", rendered.html);
        assert!(rendered.html.contains("token=abc&amp;x=1"), "{}", rendered.html);
        assert!(rendered.html.contains("nowrap\">2026-01-31 10:30 UTC</span>."), "{}", rendered.html);
        for outside in ["src=", "url(", "@import", "<link", "<script"] {
            assert!(!rendered.html.contains(outside), "{outside}");
        }
    }

    #[test]
    fn the_first_language_that_there_is_is_chosen() {
        let templates = Templates::open(None, "en").unwrap();
        let subject = |languages: &[&str]| {
            let languages: Vec<_> = languages.iter().map(|tag| (*tag).to_owned()).collect();
            templates.render(MailKind::Link, &languages, &variables()).unwrap().subject
        };
        assert_eq!(subject(&["de-ch", "en"]), "Anmelden bei app.example");
        assert_eq!(subject(&["fr", "de"]), "Anmelden bei app.example");
        assert_eq!(subject(&["fr"]), "Sign in to app.example");
        assert_eq!(subject(&["../en"]), "Sign in to app.example");
    }

    #[test]
    fn a_template_with_a_mistake_is_refused_with_its_file_and_line() {
        let table = [
            (
                "en/reset.jinja",
                "{% extends \"en/base.jinja\" %}\n{% block subject %}Hi\n",
                "en/reset.jinja:2: ",
            ),
            (
                "en/reset.jinja",
                "{% extends \"en/base.jinja\" %}\n\n{% block subject %}{{ nmae }}{% endblock %}",
                "en/reset.jinja:3: ",
            ),
            (
                "en/reset.jinja",
                "{% extends \"en/base.jinja\" %}",
                "en/reset.jinja: block 'subject' not found",
            ),
            (
                "en/reset.jinja",
                "{% extends \"en/base.jinja\" %}{% block subject %} {% endblock %}",
                "the block subject is empty",
            ),
            ("layout.txt", "{% include \"nothing\" %}", "layout.txt:1: "),
            ("en/base.jinja", "{% extends \"en/reset.jinja\" %}", "en/base.jinja: "),
            ("en/rset.jinja", "", "en/rset.jinja is no template"),
            ("notes.txt", "", "notes.txt is no template"),
            ("fr/base.jinja", "", "fr/verify.jinja is missing"),
        ];
        for (name, text, expected) in table {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            let error = Templates::open(Some(folder.path()), "en").unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains('\n'), "{name}: {error}");
        }
        let error = Templates::open(Some(Path::new("/nowhere")), "en").unwrap_err().to_string();
        assert!(error.contains("/nowhere cannot be read"), "{error}");
        let error = Templates::open(None, "fr").unwrap_err().to_string();
        assert!(error.contains("de, en"), "{error}");
    }

    #[test]
    fn a_subject_is_one_line_whatever_its_template_says() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("en")).unwrap();
        let text =
            "{% extends \"en/base.jinja\" %}{% block subject %}Reset\r\nBcc: eve@example.com{% endblock %}";
        std::fs::write(folder.path().join("en/reset.jinja"), text).unwrap();
        let templates = Templates::open(Some(folder.path()), "en").unwrap();
        let rendered = templates.render(MailKind::Reset, &[], &variables()).unwrap();
        assert_eq!(rendered.subject, "Reset Bcc: eve@example.com");
    }
}
