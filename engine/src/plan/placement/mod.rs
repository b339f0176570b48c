//! Placement: which state of which tile is kept in which tier, which is rebuilt, and the program that does it.
//!
//! `State(l)` are the edge and angle features that enter layer `l`. State(0) is made from geometry and never stored; node features are
//! always kept (they are part of the fixed bytes). Layers run in *phases*: phase `l` is layer `l` forward, phase `2 L - 1 - l` is layer
//! `l` backward; each goes through all tiles in order.

mod emit;
mod error;
mod inside;
mod layout;
mod master;
mod model;
mod optimise;
mod price;
mod problem;
mod program;
mod replay;
mod report;
mod rounding;
mod schedule;
mod simplex;
mod solve;

pub use error::{Help, PlanError};
pub use inside::{Inside, InsideSlot, INSIDE};
pub use problem::{BadCheckpoint, Checkpoint, Permission, Problem, Rates, TierSpec, TileSize, Work};
pub use program::{Op, Place, Program, Slot, SlotId, State, Ticket};
pub use replay::{replay, ReplayError, Replayed};
pub use report::{GroupPlan, LayerRow, Plan, Prediction};
pub use schedule::{Schedule, Segment};
pub use solve::{plan, smallest_feasible};

/// Alignment of every slot, bytes: what copies past the page cache ask of a file.
pub const ALIGN: u64 = 4096;

#[cfg(test)]
mod tests;
