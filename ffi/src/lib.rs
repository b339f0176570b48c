//! `libweir.so` with `weir.h`, the drop-in `libdeepmd_c.so`, GROMACS and PLUMED entry points and the Python package.
//!
//! Nothing lives here yet (docs/architecture.md, "What is not there yet").
