//! SIMD building blocks: the number type, activations, matrix products with packed weights, short vector loops.

mod activate;
mod gemm;
mod groups;
mod real;
mod set;

pub use activate::{ActivationKernel, Activator, Function, Pairs, WithFunction};
pub use gemm::{Old, PackedMatrix};
pub use groups::{add_group, load_group, store_group, stream_group};
pub(crate) use groups::{each, entered, in_groups, in_wide_groups};
pub use real::{fence, fetch_ahead, Real};
pub use set::{InstructionSet, NoKernels};
