//! One kernel text for CUDA and HIP, its preludes, run-time compilation and resource tables.
//!
//! Nothing lives here yet: the first release computes on the CPU (docs/architecture.md, "What is not there yet").
