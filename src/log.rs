//! Log lines on standard error, for people or as JSON.
//!
//! Written by hand (and not with a logging crate) because a line is either a sentence or the whole structured event: headers and summaries
//! differ in both forms, and nothing else here logs.

use crate::cli::LogFormat;
use crate::problem::Usage;
use serde_json::{json, Map, Value};
use std::io::{IsTerminal, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The run fails.
    Error,
    /// Something the user should know.
    Warn,
    /// What the run does.
    Info,
    /// More.
    Debug,
}

impl Level {
    const NAMES: [(&'static str, Level); 4] =
        [("error", Level::Error), ("warn", Level::Warn), ("info", Level::Info), ("debug", Level::Debug)];

    /// Reads a level.
    ///
    /// # Errors
    /// Names that are none.
    pub fn parse(origin: &str, text: &str) -> Result<Self, Usage> {
        Self::NAMES
            .iter()
            .find(|(n, _)| *n == text.to_lowercase())
            .map(|(_, l)| *l)
            .ok_or_else(|| Usage(format!("{origin}: \"{text}\" is not a log level: choose error, warn, info or debug")))
    }

    fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }
}

/// Where log lines go.
#[derive(Clone, Debug)]
pub struct Log {
    level: Level,
    format: LogFormat,
}

impl Log {
    /// A log that shows lines up to `level`.
    pub fn new(level: Level, format: LogFormat) -> Self {
        Log { level, format }
    }

    /// Whether a progress bar may be drawn.
    pub fn draws(&self) -> bool {
        self.level >= Level::Info && self.format == LogFormat::Text && std::io::stderr().is_terminal()
    }

    /// Whether lines of this level are shown.
    pub fn shows(&self, level: Level) -> bool {
        self.level >= level
    }

    /// An event: `text` for people, `fields` as JSON.
    pub fn event(&self, level: Level, event: &str, fields: Value, text: &str) {
        if level > self.level {
            return;
        }
        let line = match self.format {
            LogFormat::Text => match level {
                Level::Error | Level::Warn => {
                    format!("{}: {text}", if level == Level::Error { "error" } else { "warning" })
                }
                _ => text.to_string(),
            },
            LogFormat::Json => {
                let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
                let mut object = Map::new();
                object.insert("time".into(), json!(time));
                object.insert("level".into(), json!(level.name()));
                object.insert("event".into(), json!(event));
                match fields {
                    Value::Object(map) => object.extend(map),
                    _ => {
                        object.insert("message".into(), json!(text));
                    }
                }
                Value::Object(object).to_string()
            }
        };
        // A closed standard error must not end a run.
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }

    /// A sentence.
    pub fn say(&self, level: Level, text: &str) {
        self.event(level, "message", Value::Null, text);
    }

    /// A sentence of level info.
    pub fn info(&self, text: &str) {
        self.say(Level::Info, text);
    }

    /// A sentence of level warn.
    pub fn warn(&self, text: &str) {
        self.say(Level::Warn, text);
    }
}
