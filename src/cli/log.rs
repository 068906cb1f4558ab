//! The log on standard error: one line a record, as text or JSON. A record written while a request is
//! served names it. No line can be forged from inside another: control characters are escaped.

use std::fmt::Write as _;
use std::io::{self, Write};

use env_logger::fmt::Formatter;
use log::kv::{Error, Key, Value, VisitSource};
use log::{LevelFilter, Record};
use serde_json::Map;

use crate::http::RequestId;
use crate::server::config::LogFormat;

/// Starts the log. `RUST_LOG` says what is written; without it, our own lines from `info` on and other
/// crates' from `warn` on.
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
    // Only a test's process could have started one before; then that one serves.
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

/// The record's own fields, and the request that is being served.
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
        match character.is_control() {
            true => {
                write!(escaped, "{}", character.escape_default()).expect("a String takes all that is written")
            }
            false => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cannot_be_forged_from_inside_another() {
        assert_eq!(escaped("a\r\nINFO forged\u{1b}[2J\u{85}ä"), "a\\r\\nINFO forged\\u{1b}[2J\\u{85}ä");
    }
}
