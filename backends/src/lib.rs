//! Backends: execution of DPA3 steps. `cpu` computes with fused, checkpointed kernels on the host's SIMD units.

pub mod cpu;
pub mod gpu;
mod network;
