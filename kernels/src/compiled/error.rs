use crate::compile::CompileError;
use thiserror::Error;

/// Why there is nothing to run.
#[derive(Debug, Error)]
pub enum CompiledError {
    /// An instruction, or a form of one, that nobody has written down here.
    #[error("line {line}: {instruction} is not known to the emulated device")]
    Unknown {
        /// Of what was compiled, from 1.
        line: usize,
        /// Opcode with its types, or the line.
        instruction: String,
    },
    /// What is neither PTX nor LLVM's intermediate form.
    #[error("line {line}: {what}: {text}")]
    Malformed {
        /// Of what was compiled, from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
        /// The statement.
        text: String,
    },
    /// Without one there is nothing to run.
    #[error("no kernel was compiled")]
    Empty,
    /// A compiler: missing, or against the text.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Only that of another CUDA was found first.
    #[error("no compiler of CUDA {wanted}: the first that is not newer is {found}")]
    Toolkit {
        /// Major version.
        wanted: u32,
        /// With its version.
        found: String,
    },
}

/// [`CompiledError::Malformed`], with the beginning of a text.
pub(super) fn malformed(line: usize, what: &'static str, text: &str) -> CompiledError {
    CompiledError::Malformed { line, what, text: text.chars().take(120).collect() }
}
