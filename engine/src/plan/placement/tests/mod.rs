//! Promises of the planner.

mod best;
mod insides;
mod large;
mod priced;
mod problems;
mod sound;
