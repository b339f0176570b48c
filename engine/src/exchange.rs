//! The seam for several processes: node features of ghost atoms after every layer, and their adjoints on the way back.
//!
//! Messages pass through nodes only, so a domain needs of its neighbours' atoms nothing but positions, types and, layer by layer, node
//! features. A ghost is an atom of the graph without edges of its own. Forward: before layer l > 0 reads its input, every ghost's row of it
//! is replaced by its owner's. Backward: once layer l > 0 has been left, a ghost's row holds what the edges of this domain owe to it; it is added to
//! its owner's row and cleared. Layer 0 needs neither: its rows follow from types. Forces on ghosts go to their owners after the step,
//! like those of any force field.
//!
//! [`Alone`] is the only implementation outside tests: ghosts of one process are images of its own atoms, folded to their owners before the
//! graph is made, so that an exchange with itself has nothing to move.

use crate::backend::ComputeError;

/// Node rows of a layer, one an atom, in the graph's order.
#[derive(Debug)]
pub struct NodeRows<'a> {
    /// Atoms x `stride` numbers.
    pub values: Numbers<'a>,
    /// From one row to the next.
    pub stride: usize,
    /// Numbers of a row that mean something, its first ones; the others are zero and stay zero.
    pub width: usize,
    /// Index of each row's atom in the caller's order.
    pub order: &'a [u32],
}

/// Numbers of the compute type.
#[derive(Debug)]
pub enum Numbers<'a> {
    /// Single precision.
    F32(&'a mut [f32]),
    /// Double precision.
    F64(&'a mut [f64]),
}

/// What a domain exchanges with the others. Every domain makes the same calls in the same order, whatever its plan: once a layer above the
/// first in each direction, in every pass of a step (atomic virials take three more passes).
pub trait GhostExchange: Send {
    /// Number of atoms that this domain owns; they come first in the caller's order, ghosts after them. Ghosts have no energy here.
    fn owned(&self, atoms: usize) -> usize;

    /// Puts the owners' features into the ghosts' rows of the input of `layer`.
    ///
    /// # Errors
    /// [`ComputeError::Exchange`]: another domain is gone, or does not agree.
    fn features(&mut self, layer: usize, rows: NodeRows) -> Result<(), ComputeError>;

    /// Adds the ghosts' rows of the adjoint of the input of `layer` to their owners' rows, in an order that does not depend on time, and
    /// clears them.
    ///
    /// # Errors
    /// As [`GhostExchange::features`].
    fn adjoints(&mut self, layer: usize, rows: NodeRows) -> Result<(), ComputeError>;
}

/// One process: all atoms are its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl GhostExchange for Alone {
    fn owned(&self, atoms: usize) -> usize {
        atoms
    }

    fn features(&mut self, _: usize, _: NodeRows) -> Result<(), ComputeError> {
        Ok(())
    }

    fn adjoints(&mut self, _: usize, _: NodeRows) -> Result<(), ComputeError> {
        Ok(())
    }
}
