//! Arenas: one region, many slots, and the layout that lets slots with disjoint lifetimes share bytes.
//!
//! The layout is made offline: every slot's length, first and last step are known before the step runs. It lies between
//! the largest load (the sum of lengths alive at one step, which no layout can beat) and a small factor above it; see
//! [`lay_out`].

mod colour;
mod hold;
mod layout;
mod poison;
mod rank;
mod sweep;

pub use hold::{Arena, ArenaError};
pub use layout::{lay_out, Layout, Request};
pub use poison::{poison, unwritten, POISON};
