//! Fuzz targets: settings files.

#![allow(clippy::unwrap_used, reason = "a panic is what a fuzz target reports")]

use super::load::Loaded;

/// A settings file is refused in one line, or its settings are acceptable and read the same when they are written again.
pub fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let loaded = match Loaded::of_file(text) {
        Ok(loaded) => loaded,
        Err(error) => {
            let line = error.to_string();
            assert!(!line.chars().any(char::is_control) && line.contains("fuzz.toml"), "{line:?}");
            return;
        }
    };
    let report: Vec<_> = loaded.report().map(|(field, text, _)| (field.name, text)).collect();
    loaded.clone().into_settings().check().unwrap();
    let line = |(name, text): &(&str, String)| format!("{name} = {}\n", toml::Value::String(text.clone()));
    let written: String = report.iter().filter(|(_, text)| !text.is_empty()).map(line).collect();
    let again = Loaded::of_file(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
    assert_eq!(again.report().map(|(field, text, _)| (field.name, text)).collect::<Vec<_>>(), report);
}
