//! What can be wrong with a structure file, said with file, place, expectation and the option that helps.

use std::path::Path;

/// Errors of the structure readers and writers. Frames, lines and atoms count from 1, as editors and viewers do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StructureError {
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// File.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Neither the name nor the content tells the format.
    #[error(
        "{path}: cannot tell the structure format from name or content; known: {known} (choose one with --format)"
    )]
    UnknownFormat {
        /// File.
        path: String,
        /// Names of the formats.
        known: String,
    },
    /// A line does not say what it should.
    #[error("{path}, line {line} (frame {frame}): expected {expected}, found {found}")]
    Syntax {
        /// File.
        path: String,
        /// Line number.
        line: u64,
        /// Frame number.
        frame: u64,
        /// What should stand there.
        expected: String,
        /// What does.
        found: String,
    },
    /// Binary content that does not say what it should.
    #[error("{path}, frame {frame}: expected {expected}, found {found}")]
    Content {
        /// File.
        path: String,
        /// Frame number.
        frame: u64,
        /// What should stand there.
        expected: String,
        /// What does.
        found: String,
    },
    /// The file ends inside a frame.
    #[error("{path}: ends inside frame {frame}: expected {expected}")]
    Truncated {
        /// File.
        path: String,
        /// Frame number.
        frame: u64,
        /// What should follow.
        expected: String,
    },
    /// The file has no frame, or a frame no atom.
    #[error("{path}: {what}")]
    Empty {
        /// File.
        path: String,
        /// What is missing.
        what: String,
    },
    /// NaN or infinity.
    #[error("{path}, frame {frame}: {what} of atom {atom} is not finite ({value})")]
    NotFinite {
        /// File.
        path: String,
        /// Frame number.
        frame: u64,
        /// Position, velocity, force or mass.
        what: &'static str,
        /// Atom number.
        atom: usize,
        /// The value.
        value: f64,
    },
    /// A cell whose vectors span no volume, or that is not finite.
    #[error("{path}, frame {frame}: the cell has volume {volume} A^3; give three independent lattice vectors, or no periodicity (extxyz: pbc=\"F F F\")")]
    ZeroVolume {
        /// File.
        path: String,
        /// Frame number.
        frame: u64,
        /// Volume, A^3.
        volume: f64,
    },
    /// Periodic along some directions only.
    #[error("{path}, frame {frame}: periodic along some directions only (pbc=\"{pbc}\"), which is not supported; make it periodic along all three and leave a vacuum gap wider than the cutoff along the open directions")]
    MixedPeriodicity {
        /// File.
        path: String,
        /// Frame number.
        frame: u64,
        /// The three flags.
        pbc: String,
    },
    /// A name that is no element.
    #[error("{path}, frame {frame}: atom {atom}: \"{seen}\" is not an element symbol{hint}")]
    UnknownElement {
        /// File.
        path: String,
        /// Frame number.
        frame: u64,
        /// Atom number.
        atom: usize,
        /// What the file says.
        seen: String,
        /// The way out (begins with "; " where there is one).
        hint: String,
    },
    /// An atom name that could be several elements.
    #[error("{path}: atom {atom} \"{name}\" of residue \"{residue}\" may be {choices}: give --elements FILE (lines \"[residue] atom-name element\") or --topology FILE.top")]
    AmbiguousElement {
        /// File.
        path: String,
        /// Atom number.
        atom: usize,
        /// Atom name.
        name: String,
        /// Residue name.
        residue: String,
        /// The candidates.
        choices: String,
    },
    /// Counts of two things that belong together differ.
    #[error("{path}, frame {frame}: {what}: expected {expected}, found {found}")]
    Count {
        /// File.
        path: String,
        /// Frame number.
        frame: u64,
        /// What is counted.
        what: String,
        /// Expected number.
        expected: u64,
        /// Number found.
        found: u64,
    },
    /// The format needs something that the options do not give.
    #[error("{path}: {what}; {advice}")]
    Needs {
        /// File.
        path: String,
        /// What is missing.
        what: String,
        /// How to give it.
        advice: String,
    },
    /// A selection that cannot be read or means nothing here.
    #[error("selection \"{expression}\": {reason}")]
    Selection {
        /// The expression.
        expression: String,
        /// What is wrong.
        reason: String,
    },
    /// A frame that the format written to cannot hold.
    #[error("{path}: cannot write this frame: {reason}")]
    Unwritable {
        /// File.
        path: String,
        /// What does not fit.
        reason: String,
    },
}

impl StructureError {
    pub(crate) fn io(path: &str, source: std::io::Error) -> Self {
        Self::Io { path: path.to_string(), source }
    }

    pub(crate) fn io_path(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.display().to_string(), source }
    }
}

/// `text` cut to a length that fits into an error message.
pub(crate) fn shorten(text: &str) -> String {
    let text = text.trim_end();
    if text.chars().count() > 60 {
        format!("\"{}...\"", text.chars().take(60).collect::<String>())
    } else {
        format!("\"{text}\"")
    }
}
