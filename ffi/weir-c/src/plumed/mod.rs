//! The entry points of a PLUMED kernel: how an unmodified GROMACS (2025 or later) calls Weir.
//!
//! `PLUMED_KERNEL=libweir.so gmx mdrun -plumed weir.dat`: GROMACS opens the library, makes an object ([`entry`]) and talks to it in commands, a
//! word with a pointer each ([`kernel`]). The file that it hands on is ours ([`config`]). A real kernel behind us may get every command as well
//! ([`forward`]).

mod config;
mod elements;
mod entry;
mod forward;
mod kernel;
mod log;
mod ranges;

pub use config::Config;
pub use entry::*;
pub use kernel::Kernel;
