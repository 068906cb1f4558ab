//! The log on standard error: one line a record, as text or JSON. A record that is written during a request has the
//! request's id, and its `traceparent` if it has one. Control characters are escaped, so that no text can add a line of
//! its own. Warnings and errors of other crates are a line a second each: actix writes one for every malformed request.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use env_logger::fmt::Formatter;
use log::kv::{Error, Key, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};
use serde_json::Map;

use crate::http::RequestId;
use crate::log_limit::LogLimit;
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
    let lines = builder.build();
    let level = lines.filter();
    // Fails only in a test, if another test of the process has started a log.
    if ::log::set_boxed_logger(Box::new(Limited { lines, targets: Mutex::default() })).is_ok() {
        ::log::set_max_level(level);
    }
}

/// The log, with a limit for the warnings and errors of each target of other crates.
struct Limited {
    lines: env_logger::Logger,
    targets: Mutex<HashMap<String, &'static LogLimit>>,
}

impl Limited {
    /// Returns the limit of a record; `None` for our own, which are limited where a stranger can repeat them, and for
    /// the levels that an operator has asked for.
    fn limit_of(&self, record: &Record<'_>) -> Option<&'static LogLimit> {
        let target = record.target();
        if record.level() > Level::Warn || target.starts_with("hallpass") {
            return None;
        }
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(limit) = targets.get(target) {
            return Some(*limit);
        }
        // Kept for good: there is one for each module that writes.
        let limit = Box::leak(Box::new(LogLimit::new(target.to_owned().leak())));
        targets.insert(target.to_owned(), limit);
        Some(limit)
    }
}

impl Log for Limited {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.lines.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        match self.limit_of(record).filter(|_| self.lines.matches(record)) {
            Some(limit) => limit.log(record.level(), record.args()),
            None => self.lines.log(record),
        }
    }

    fn flush(&self) {
        self.lines.flush();
    }
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
        collect.0.extend(id.traceparent().map(|trace| ("traceparent".into(), trace.to_owned())));
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
