//! One kernel text for CUDA and HIP, its preludes, run-time compilation, and resource tables.

mod chip;
pub mod compile;
mod source;

pub use chip::{Chip, UnknownChip};
pub use source::Source;
