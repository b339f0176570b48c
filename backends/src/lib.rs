//! Backends: execution of DPA3 steps. `cpu` computes with fused, checkpointed kernels on the host's SIMD units; `session` turns
//! settings into calculators.

pub mod cpu;
pub mod session;
