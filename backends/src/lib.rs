//! Backends: execution of DPA3 steps. `cpu` computes with fused, checkpointed kernels on the host's SIMD units; `gpu` with kernels of one
//! text on CUDA, HIP or an emulated device; `session` turns settings into calculators.

pub mod cpu;
mod given;
pub mod gpu;
mod network;
pub mod session;
