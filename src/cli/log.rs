//! The log on standard error: one line a record, as text or JSON. A record that is written during a request has the
//! request's id. Control characters are escaped, so that no text can add a line of its own.

use std::io::{self, Write};

use env_logger::fmt::Formatter;
use log::kv::{Error, Key, Value, VisitSource};
use log::{LevelFilter, Record};
use serde_json::Map;

use crate::http::RequestId;
use crate::server::config::LogFormat;

/// Starts the log. `RUST_LOG` sets the levels; the default is `info` for our own lines and `warn` for other crates.
pub(super) fn start(format: LogFormat) {
    let mut builder = env_logger::Builder::new();
    match std::env::var("RUST_LOG") {
        Ok(filters) => builder.parse_filters(&filters),
        Err(_) => builder.filter_level(LevelFilter::Warn).filter_module("hallpass", LevelFilter::Info),
    };
    builder.format(match format {
        LogFormat::Text => text,
        LogFormat::Json => json,
    });
    // Fails only in a test, if another test of the process has started a log.
    let _ = builder.try_init();
}

fn text(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let style = out.default_level_style(record.level());
    let time = out.timestamp_millis();
    write!(out, "{time} {style}{:<5}{style:#} {}", record.level(), escaped(&record.args().to_string()))?;
    for (key, value) in fields(record) {
        write!(out, " {key}={}", escaped(&value))?;
    }
    writeln!(out)
}

fn json(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let mut line = Map::new();
    line.insert("time".into(), out.timestamp_millis().to_string().into());
    line.insert("level".into(), record.level().as_str().into());
    line.insert("target".into(), record.target().into());
    line.insert("message".into(), record.args().to_string().into());
    for (key, value) in fields(record) {
        line.insert(key, value.into());
    }
    serde_json::to_writer(&mut *out, &line)?;
    writeln!(out)
}

/// Returns the record's own fields and the id of the current request.
fn fields(record: &Record<'_>) -> Vec<(String, String)> {
    struct Collect(Vec<(String, String)>);

    impl<'kvs> VisitSource<'kvs> for Collect {
        fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
            self.0.push((key.to_string(), value.to_string()));
            Ok(())
        }
    }

    let mut collect = Collect(Vec::new());
    // Collecting cannot fail.
    let _ = record.key_values().visit(&mut collect);
    if let Some(id) = RequestId::current() {
        collect.0.push(("request_id".into(), id.as_str().to_owned()));
    }
    collect.0
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_with_line_ends_stays_on_its_line() {
        assert_eq!(escaped("a\r\nINFO forged\u{1b}[2J\u{85}ä"), "a\\r\\nINFO forged\\u{1b}[2J\\u{85}ä");
    }
}
