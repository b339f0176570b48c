//! DPA3 interatomic potentials: model files, structures, neighbour graph, the plain f64 reference, step plans and molecular dynamics.
//!
//! Units everywhere: A, eV, eV/A, ps, g/mol. Section numbers refer to `docs/dpa3.md`, the mathematics in full.

pub mod activation;
pub mod backend;
pub mod element;
pub mod exchange;
pub mod graph;
pub mod md;
pub mod minimize;
pub mod model;
pub mod plan;
pub mod reference;
pub mod structure;
