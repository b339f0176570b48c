//! One kernel text for CUDA and HIP, its preludes, run-time compilation, and resource tables.

mod chip;
#[cfg(feature = "emulated")]
pub mod host;
mod source;

pub use chip::Chip;
pub use source::{Shape, SharedNumbers, Source, ROW_LANES, THREADS};
