//! `libweir.so`: the C API of `ffi/include/weir.h`, which documents every function, and the entry points of a PLUMED kernel (`plumed`), through
//! which an unmodified GROMACS calls.

mod compute;
mod handle;
mod list;
pub mod plumed;
mod report;

pub use compute::*;
pub use handle::*;
pub use list::Neighbours;
pub use report::*;
