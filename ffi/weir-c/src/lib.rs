//! `libweir.so`: the C API of `ffi/include/weir.h`, which documents every function.

mod compute;
mod handle;
mod report;

pub use compute::*;
pub use handle::*;
pub use report::*;
