//! What can be wrong with a model file.

use thiserror::Error;

/// Why a model could not be read, checked or written.
#[derive(Debug, Error)]
pub enum ModelError {
    /// Any of the others, with the file it concerns.
    #[error("{file}: {source}")]
    File {
        /// Path or name hint as given.
        file: String,
        /// What is wrong with it.
        #[source]
        source: Box<ModelError>,
    },
    /// The operating system refused to read or write.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The container (HDF5, zip, pickle, JSON, YAML, safetensors) is broken.
    #[error("not a readable {container} file: {problem}")]
    Container {
        /// Which container.
        container: &'static str,
        /// What was expected and what was found.
        problem: String,
    },
    /// An entry is missing, has the wrong kind, shape or value.
    #[error("entry {entry}: {problem}")]
    Entry {
        /// Path of the entry inside the model tree.
        entry: String,
        /// What was expected and what was found.
        problem: String,
    },
    /// A key that this program does not know and that could change energies.
    #[error("entry {entry}: unknown key \"{key}\" (value {value}) could change energies; --allow-unknown reads the model without it")]
    UnknownKey {
        /// Path of the map that holds the key.
        entry: String,
        /// The key.
        key: String,
        /// Its value, shortened.
        value: String,
    },
    /// A kind of file or model that is recognised and not supported.
    #[error("{what}; {advice}")]
    Unsupported {
        /// What it is.
        what: String,
        /// What to do instead.
        advice: String,
    },
    /// A head is needed, or the one asked for does not exist.
    #[error("{}; heads of this file: {}", match asked { Some(a) => format!("there is no head \"{a}\""), None => "this multi-task model needs --head NAME, or WEIR_HEAD=NAME".to_string() }, heads.join(", "))]
    Head {
        /// The head asked for.
        asked: Option<String>,
        /// Names (with aliases) that exist.
        heads: Vec<String>,
    },
}

impl ModelError {
    /// An [`ModelError::Entry`].
    pub(crate) fn entry(entry: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Entry { entry: entry.into(), problem: problem.into() }
    }

    /// A [`ModelError::Container`].
    pub(crate) fn container(container: &'static str, problem: impl ToString) -> Self {
        Self::Container { container, problem: problem.to_string() }
    }

    /// A [`ModelError::Unsupported`].
    pub(crate) fn unsupported(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into(), advice: advice.into() }
    }

    /// Names the file an error concerns.
    pub(crate) fn of_file(self, file: &str) -> Self {
        match self {
            Self::File { .. } => self,
            other => Self::File { file: file.to_string(), source: Box::new(other) },
        }
    }
}
