//! Settings that cannot be followed.

use crate::kind::show_bytes;
use std::path::PathBuf;

/// Why there is no policy. Every variant names the setting.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PolicyError {
    /// Nothing has that name.
    #[error("unknown {what} {name}; did you mean {near}?")]
    Unknown {
        /// `environment variable`, or the key of a file.
        what: String,
        /// As written.
        name: String,
        /// What looks most like it.
        near: String,
    },
    /// Something has that name, but not that value.
    #[error("{origin}: {why}")]
    Value {
        /// Flag, variable or file.
        origin: String,
        /// What is wrong and what may be written.
        why: String,
    },
    /// The configuration file cannot be read.
    #[error("{origin}: {why}")]
    File {
        /// Variable and path.
        origin: String,
        /// What the system or the parser said.
        why: String,
    },
    /// Two settings exclude each other.
    #[error("{first} and {second} contradict each other: {why}")]
    Contradiction {
        /// One, with its value.
        first: String,
        /// The other.
        second: String,
        /// What to change.
        why: String,
    },
    /// More is asked for than there is.
    #[error("{origin} asks for {} of {what}, of which {} are to be had: lower it", show_bytes(*need), show_bytes(*have))]
    TooMuch {
        /// Flag, variable or file.
        origin: String,
        /// Which memory.
        what: String,
        /// Asked for, bytes.
        need: u64,
        /// There, bytes.
        have: u64,
    },
    /// The scratch folder is memory.
    #[error("{origin}: scratch folder {} is on {file_system}, which is memory, not disk: name a folder on a disk with WEIR_SCRATCH_DIR", folder.display())]
    ScratchInMemory {
        /// Who chose the folder.
        origin: String,
        /// The folder.
        folder: PathBuf,
        /// What it is.
        file_system: String,
    },
    /// The scratch folder is not there.
    #[error("{origin}: scratch folder {} cannot be used: {why}; name another with WEIR_SCRATCH_DIR", folder.display())]
    Scratch {
        /// Who chose the folder.
        origin: String,
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The node cannot give host memory.
    #[error("{origin}: NUMA node {node} {why}; choose one of {choices:?}")]
    Node {
        /// Who asked.
        origin: String,
        /// The node.
        node: usize,
        /// What is wrong with it.
        why: String,
        /// Nodes that can.
        choices: Vec<usize>,
    },
    /// The tier needs what is not here.
    #[error("{origin}: {tier} memory needs a GPU backend: use system instead")]
    NeedsDevice {
        /// Who asked.
        origin: String,
        /// Which tier.
        tier: &'static str,
    },
}
