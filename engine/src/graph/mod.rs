//! Neighbour graph (specification section 2).

use thiserror::Error;

/// Why a configuration has no neighbour graph.
#[derive(Debug, Error, PartialEq)]
pub enum GraphError {
    /// A coordinate is NaN or infinite.
    #[error("coordinate {axis} of atom {atom} is {value}")]
    Coordinate {
        /// Input index.
        atom: usize,
        /// x, y or z.
        axis: char,
        /// The value.
        value: f64,
    },
}
