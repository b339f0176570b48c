//! Placement: which state of which tile is kept in which tier, which is rebuilt, and the program that does it.
//!
//! `State(l)` are the edge and angle features that enter layer `l`. State(0) is made from geometry and never stored; node features are
//! always kept (they are part of the fixed bytes). Layers run in *phases*: phase `l` is layer `l` forward, phase `2 L - 1 - l` is layer
//! `l` backward; each goes through all tiles in order.

mod problem;
mod program;

pub use problem::{Checkpoint, Permission, Problem, Rates, TierSpec, TileSize, Work};
pub use program::{Op, Place, Program, Slot, SlotId, State, Ticket};

/// Alignment of every slot, bytes.
pub const ALIGN: u64 = 256;
