//! DPA3 on GPUs: one executor over three drivers (CUDA, HIP, emulated), kernels from one text.

pub mod driver;
