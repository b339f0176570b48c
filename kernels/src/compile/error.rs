//! What can go wrong while kernels are compiled.

use std::path::PathBuf;
use thiserror::Error;

/// Why there is no image.
#[derive(Debug, Error)]
pub enum CompileError {
    /// No usable compiler on this machine.
    #[error("no compiler of kernels for {chip}; looked for {}; {remedy}", looked.join(", "))]
    Missing {
        /// Wanted.
        chip: String,
        /// Each place, with the reason where something was there.
        looked: Vec<String>,
        /// What to install or set.
        remedy: String,
    },
    /// The text was refused.
    #[error("{compiler} refuses {name} for {chip}{}:\n{}", hint.map(|h| format!(" ({h})")).unwrap_or_default(), last_lines(log, 40))]
    Refused {
        /// Of the source.
        name: String,
        /// Wanted.
        chip: String,
        /// With its version.
        compiler: String,
        /// What helps, where the log shows it.
        hint: Option<&'static str>,
        /// All of it.
        log: String,
    },
    /// A call into a compiler's library that failed for another reason than the text.
    #[error("{call} of {}: {cause}", path.display())]
    Library {
        /// The library.
        path: PathBuf,
        /// Function.
        call: String,
        /// Its word.
        cause: String,
    },
    /// Several compilers, of which none made an image.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Failed(Vec<CompileError>),
    /// A file or a program that could not be used.
    #[error("{}: {cause}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// A text or an option that a C interface cannot take.
    #[error("{0} holds a null byte")]
    Null(String),
}

impl CompileError {
    /// On one line, for those to whom the compiler's name and the first fault are enough.
    pub(crate) fn brief(&self) -> String {
        match self {
            CompileError::Refused { name, compiler, log, .. } => {
                let mut lines = log.lines();
                let line = lines.clone().find(|l| l.contains("error")).or_else(|| lines.next());
                format!("{compiler} refuses {name}: {}", line.unwrap_or_default().trim())
            }
            CompileError::Library { call, cause, .. } => format!("{call}: {cause}"),
            other => other.to_string(),
        }
    }
}

/// The end of a log: that is where compilers say what is wrong.
pub(crate) fn last_lines(log: &str, lines: usize) -> String {
    let all: Vec<&str> = log.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
