//! Neighbour graph (specification section 2): skin list, per-step filter, edges by centre, angle prefix, incoming edges.
//!
//! Atoms are renumbered along a space-filling curve ("sorted" indices); the edges of a centre are contiguous and nearest first, so
//! the edges that carry angles are a prefix, and the angles of atom i are an implicit `m_i x m_i` block.

mod cell;
mod curve;
mod filter;
mod given;
mod grid;
mod list;
mod reach;

pub use cell::{cross, dot, Cell};
pub use curve::curve_order;
pub use filter::Graph;
pub use given::{GivenList, Images};
pub use grid::{Grid, Space};
pub(crate) use list::misplaced;
pub use list::{by_centre, check_order, summation_order, NeighbourList, Pair};
pub use reach::{Drift, Reach};

use crate::model::Model;
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
    /// A coordinate is so large that its image number or its digits are lost.
    #[error("coordinate {axis} of atom {atom} is {value:e} A: too far from the origin to keep its digits; wrap or recentre the structure")]
    Far {
        /// Input index.
        atom: usize,
        /// x, y or z.
        axis: char,
        /// The value.
        value: f64,
    },
    /// The cell has no volume or is not finite.
    #[error("the cell has volume {volume:e} A^3 with edges of {lengths:?} A: three independent lattice vectors are needed (or no cell at all)")]
    Cell {
        /// Signed volume.
        volume: f64,
        /// Lengths of the lattice vectors.
        lengths: [f64; 3],
    },
    /// The cell is so small that a centre would have an absurd number of images.
    #[error("the cell is only {height:e} A high along lattice vector {vector}: a cutoff of {cutoff} A would need {images} images")]
    TooManyImages {
        /// 0, 1 or 2.
        vector: usize,
        /// Height, A.
        height: f64,
        /// Search radius, A.
        cutoff: f64,
        /// Images on one side.
        images: f64,
    },
    /// An image of a given list without a translation.
    #[error("a pair of the neighbour list has image {image}, but the table of translations has {rows} rows")]
    Image {
        /// Number of the image.
        image: i32,
        /// Rows of the table.
        rows: usize,
    },
    /// Rows of a given list that do not follow each other, or end behind its pairs.
    #[error("the rows of a neighbour list end at {end} and do not follow each other within its {pairs} pairs")]
    Rows {
        /// End of the last row.
        end: u32,
        /// Pairs.
        pairs: usize,
    },
    /// A translation of a given list that is no number.
    #[error("row {row} of the table of translations is {value:?} A")]
    Translation {
        /// Row of the table.
        row: usize,
        /// Its numbers.
        value: [f64; 3],
    },
    /// A given list with an atom that the model does not see.
    #[error("the neighbour list has a pair of atom {atom}, which the model does not see (type {kind})")]
    Unseen {
        /// Input index.
        atom: usize,
        /// Its type.
        kind: i32,
    },
    /// Two atoms at one place.
    #[error("atoms {first} and {second} coincide (distance {distance:e} A): the energy is not defined; minimise or repair the structure")]
    Coincident {
        /// Input index.
        first: usize,
        /// Input index (equal to `first` for an atom on top of its own image).
        second: usize,
        /// Distance, A.
        distance: f64,
    },
    /// More atoms or edges than 32-bit indices hold.
    #[error("{count} {what} do not fit 32-bit indices")]
    TooMany {
        /// "atoms" or "pairs".
        what: &'static str,
        /// How many.
        count: u64,
    },
    /// An order of summation that is no permutation.
    #[error("the order of summation has atom {atom} twice, or there is none of that number")]
    Order {
        /// Input index.
        atom: u32,
    },
    /// The number of positions changed.
    #[error("{got} positions for {expected} atoms")]
    Count {
        /// Positions given.
        got: usize,
        /// Atoms of the system.
        expected: usize,
    },
}

/// What the graph of a model needs to know: cutoffs, caps, exclusions.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphOptions {
    /// Edge cutoff, A, inclusive.
    pub edge_cutoff: f64,
    /// Largest number of slots of a centre.
    pub edge_slots: usize,
    /// Angle cutoff, A, exclusive.
    pub angle_cutoff: f64,
    /// Leading slots that may carry angles (0: the model has no angles).
    pub angle_slots: usize,
    /// Number of types.
    pub types: usize,
    /// `types x types`, true where a pair has no edge.
    pub excluded: Vec<bool>,
}

impl GraphOptions {
    /// The options of a model.
    pub fn of(model: &Model) -> Self {
        let o = &model.descriptor.options;
        Self {
            edge_cutoff: o.e_rcut,
            edge_slots: o.e_sel,
            angle_cutoff: o.a_rcut,
            angle_slots: if o.update_angle { o.a_sel } else { 0 },
            types: model.types(),
            excluded: model.excluded_pairs(),
        }
    }
}

/// Checks that every coordinate is finite and near enough to the origin.
///
/// # Errors
/// [`GraphError::Coordinate`] or [`GraphError::Far`] naming the first offender.
pub fn check_positions(positions: &[[f64; 3]]) -> Result<(), GraphError> {
    for (atom, p) in positions.iter().enumerate() {
        for (k, axis) in ['x', 'y', 'z'].into_iter().enumerate() {
            let value = p[k];
            if !value.is_finite() {
                return Err(GraphError::Coordinate { atom, axis, value });
            }
            // At 1e8 A a double still resolves 1.5e-8 A; image numbers stay far inside 32 bits for cells above 0.1 A.
            if value.abs() > 1e8 {
                return Err(GraphError::Far { atom, axis, value });
            }
        }
    }
    Ok(())
}
