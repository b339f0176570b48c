//! Promises of the planner.

mod best;
mod large;
mod priced;
mod problems;
mod sound;
