//! Libraries of GPU vendors for machines without a GPU: `libcuda`, `libamdhip64` and `libnvrtc` in one file, which tests load by those names.
//! Whatever program opens them believes in a device. What it loads is machine code of that device; what runs is the form that the vendor's
//! compiler had before it (`weir_kernels::compiled`), on the emulated device, so the compilers have to be those of this machine.
//!
//! The emulated driver stands where our own trait is; this stands behind it, where the vendors' functions are: names, types, contexts of threads,
//! handles, limits of launches, kinds of memory, the rules of recording, as strict as the vendors' manuals are. (`backends/tests/stub` answers to the
//! same names for tests of single calls: it keeps a record, fails when it is told to, and computes nothing.) Not seen: whether kernels of several
//! streams are in order (tests of the emulated driver see that; here `STAND_IN_EAGER` changes the order), accesses that leave an array and stay in
//! its allocation, host code that reads memory of the device, calls of two threads at once while one records, or of a
//! thread that a function of the host waits for, and what a driver does of its own
//! (clocks, page faults, copies of memory that is not page-locked). The devices claim the memory of real ones; what is taken is this machine's.
//!
//! - `STAND_IN_FOLDER`: where compiled forms of images are kept, by digest.
//! - `STAND_IN_CALLS`: a file for how often each function was called, written when CUDA's context goes.
//! - `STAND_IN_NVRTC`: the NVRTC that compiles.
//! - `STAND_IN_EAGER=1`: other streams run as early as they can instead of as late.
//!
//! AMD's compiler is a program; a script in its place keeps its intermediate form (tests/gpu_commands/clang.sh).
#![cfg(feature = "emulated")]
#![allow(non_snake_case)]

mod amd;
mod cuda;
mod image;
mod machine;
mod memory;
mod names;
mod nvrtc;
mod record;
mod work;
