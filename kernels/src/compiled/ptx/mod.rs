//! PTX as C++ text.

mod instruction;
mod operand;
mod parse;
mod value;
mod write;

pub(super) use write::kernels;

use super::{preludes, CompiledError};
use crate::Source;

/// What the emulated device's compiler takes, made of PTX; macros are those of `prelude` ([`Source::prelude`]).
///
/// # Errors
/// [`CompiledError`].
pub fn host_text(prelude: &Source, ptx: &str) -> Result<String, CompiledError> {
    Ok(format!("{}{}", preludes(prelude), kernels(ptx)?))
}
