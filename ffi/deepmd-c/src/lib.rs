//! `libdeepmd_c.so`: the C API of DeePMD-kit, version 30 (166 functions), answered by Weir.
//!
//! Potentials, neighbour lists, base models and model deviation compute; spin, tensor and dipole models are refused through their
//! `CheckOK`. Functions have the names, arguments and meaning of DeePMD-kit's header; see `docs/lammps.md`.
#![allow(non_snake_case)]

mod compute;
mod handle;
mod list;
mod pot;
mod refused;
mod util;

pub use handle::Handle;
pub use list::*;
pub use pot::*;
pub use refused::*;
pub use util::*;
