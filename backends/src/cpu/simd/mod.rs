//! SIMD building blocks: the number type, activations, matrix products with packed weights, short vector loops.

mod activate;
mod gemm;
mod real;

pub use activate::{ActivationKernel, Activator, Function, WithFunction};
pub use gemm::PackedMatrix;
pub use real::{Real, PAD};
