//! What the libraries for MD codes share. The libraries themselves (`weir-c`, `deepmd-c`) only turn pointers into slices and back.

pub mod affinity;
pub mod catch;
pub mod error;
pub mod ghosts;
pub mod missing;
pub mod options;
pub mod potential;
pub mod text;
pub mod units;

pub use error::Error;
pub use potential::{Potential, Source};
