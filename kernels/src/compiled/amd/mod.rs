mod ir;

pub use ir::host_ir;
pub(super) use ir::kernels;
