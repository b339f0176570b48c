//! One kernel text for CUDA and HIP, its preludes, run-time compilation, and resource tables.

pub mod cache;
mod chip;
pub mod compile;
#[cfg(feature = "emulated")]
pub mod compiled;
#[cfg(feature = "emulated")]
pub mod host;
pub mod resources;
mod source;

pub use chip::{Chip, UnknownChip};
pub use source::{
    Products, Room, Rows, Shape, SharedNumbers, Source, BLOCKS, BLOCKS_OF_TENSOR_CORES, PAD, ROW_LANES, THREADS,
};
