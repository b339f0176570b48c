//! What a step does, in order: where each tile's edge and angle features are kept or from which layer they are rebuilt, and the program
//! that every backend interprets.

pub mod placement;
pub mod profile;
