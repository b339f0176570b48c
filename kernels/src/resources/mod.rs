//! What kernels need of a chip, read out of what compilers say, and compared with a committed table.

mod read;
mod table;

pub use read::read;
pub use table::{Fault, Table, TableError};

use serde::{Deserialize, Serialize};

/// What one kernel needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// Vector registers of a thread.
    pub registers: u32,
    /// AMD: accumulation registers of a thread, out of the same file as vector registers from gfx90a on.
    pub accumulation: u32,
    /// AMD: scalar registers of a wave.
    pub scalar: u32,
    /// Static shared memory of a block, bytes.
    pub shared: u32,
    /// Stack of a thread, bytes; spills lie in it too.
    pub stack: u32,
    /// Registers that did not fit: bytes stored (CUDA), vector and scalar registers (AMD).
    pub spills: u32,
    /// AMD: waves of a SIMD that fit at once.
    pub occupancy: u32,
    /// Why a spill or a stack is accepted; without it none is.
    pub reason: String,
}

/// A log that does not tell what kernels need.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Not one kernel, as with an image that was not compiled here.
    #[error("the log of {compiler} for {chip} names no kernel")]
    Nothing {
        /// Of the image.
        chip: String,
        /// Of the image.
        compiler: String,
    },
    /// A kernel without some number.
    #[error("the log of {compiler} does not tell the {what} of {kernel}")]
    Lacking {
        /// Of the image.
        compiler: String,
        /// Name.
        kernel: String,
        /// Number.
        what: &'static str,
    },
}
