//! Neighbour lists that an MD code made: pairs as they come, images as lattice multiples or as plain translations.

use super::list::Pair;
use super::{Cell, GraphError, NeighbourList};

/// Neighbours found by somebody else, in the order in which positions are given.
///
/// Every pair within the edge cutoff must be there, in both directions; farther ones are allowed and passed over at every step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GivenList {
    /// Start of each centre's pairs, N + 1 entries.
    pub first: Vec<u32>,
    /// Pairs, centre-major; [`Pair::owner`] is an index into the positions here. What [`Pair::image`] means is told with every step by
    /// [`Images`].
    pub pairs: Vec<Pair>,
}

/// What the image numbers of pairs mean.
#[derive(Clone, Copy, Debug)]
pub enum Images<'a> {
    /// There are none: an isolated system.
    None,
    /// Multiples of lattice vectors.
    Lattice(&'a Cell),
    /// The first number is a row of this table of translations, A; row 0 is zero.
    Table(&'a [[f64; 3]]),
}

impl<'a> From<Option<&'a Cell>> for Images<'a> {
    fn from(cell: Option<&'a Cell>) -> Self {
        cell.map_or(Images::None, Images::Lattice)
    }
}

impl Images<'_> {
    /// What is added to the owner's position, A.
    pub fn translation(&self, image: [i32; 3]) -> [f64; 3] {
        match self {
            Images::None => [0.0; 3],
            Images::Lattice(cell) => cell.translation(image),
            Images::Table(rows) => rows[image[0] as usize],
        }
    }
}

impl NeighbourList {
    /// Takes a list over. `order` is the summation order (see [`summation_order`](super::summation_order)).
    ///
    /// # Errors
    /// [`GraphError::Count`] when list, order and positions are not of one length; [`GraphError::TooMany`] for a pair of an atom that is
    /// not there.
    pub fn given(
        given: &GivenList,
        positions: &[[f64; 3]],
        order: &[u32],
        cutoff: f64,
    ) -> Result<NeighbourList, GraphError> {
        let atoms = positions.len();
        for got in [given.first.len().wrapping_sub(1), order.len()] {
            if got != atoms {
                return Err(GraphError::Count { got, expected: atoms });
            }
        }
        let mut images = [0i32; 2];
        let mut place = vec![0u32; atoms];
        for (sorted, &input) in order.iter().enumerate() {
            place[input as usize] = sorted as u32;
        }
        let mut first = Vec::with_capacity(atoms + 1);
        let mut pairs = Vec::with_capacity(given.pairs.len());
        first.push(0);
        for &input in order {
            let range = given.first[input as usize] as usize..given.first[input as usize + 1] as usize;
            for pair in &given.pairs[range] {
                let Some(&owner) = place.get(pair.owner as usize) else {
                    return Err(GraphError::TooMany { what: "atoms", count: u64::from(pair.owner) + 1 });
                };
                images = [images[0].min(pair.image[0]), images[1].max(pair.image[0])];
                pairs.push(Pair { owner, image: pair.image });
            }
            first.push(pairs.len() as u32);
        }
        let mut list = NeighbourList::with_parts(order.to_vec(), first, pairs, cutoff, positions.to_vec());
        list.images = images;
        Ok(list)
    }

    /// Refuses a table of translations that lacks some of this list's images.
    ///
    /// # Errors
    /// [`GraphError::Image`].
    pub fn check_images(&self, images: Images) -> Result<(), GraphError> {
        let Images::Table(rows) = images else { return Ok(()) };
        let beyond = self.images.into_iter().find(|&i| i < 0 || i as usize >= rows.len().max(1));
        beyond.map_or(Ok(()), |image| Err(GraphError::Image { image, rows: rows.len() }))
    }
}
