//! Promises of the planner.

mod best;
mod large;
mod problems;
mod sound;
