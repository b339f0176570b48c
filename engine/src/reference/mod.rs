//! The plain double-precision reference: DPA3 as the specification writes it, differentiated by a tape. Slow, and the judge of
//! every backend. Every option of the specification is here.

mod descriptor;
mod evaluate;
mod fitting;
mod geometry;
mod inputs;
mod tape;

pub use evaluate::{evaluate, Evaluation, Intermediate};
pub use fitting::{output_rule, output_slope};
pub use geometry::switch;
pub use inputs::{initial_node_features, ParameterError, ResolvedParameters};
pub use tape::{Adjoints, Tape, Var};
