//! Neighbour lists that an MD code made: pairs as they come, images as lattice multiples or as plain translations.

use super::list::Pair;
use super::{by_centre, Cell, GraphError, NeighbourList};
use rayon::prelude::*;

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

impl GivenList {
    /// Refuses rows that do not follow each other, or end behind the pairs.
    ///
    /// # Errors
    /// [`GraphError::Rows`].
    pub fn check_rows(&self) -> Result<(), GraphError> {
        let (end, pairs) = (self.first.last().copied().unwrap_or(0), self.pairs.len());
        match self.first.is_sorted() && end as usize <= pairs {
            true => Ok(()),
            false => Err(GraphError::Rows { end, pairs }),
        }
    }
}

impl NeighbourList {
    /// Takes a list over, in the memory of this one where that suffices. `order` is the summation order (see
    /// [`summation_order`](super::summation_order)).
    ///
    /// # Errors
    /// [`GraphError::Count`] when list, types, order and positions are not of one length; those of [`GivenList::check_rows`];
    /// [`GraphError::TooMany`] for a pair of an atom that is not there, [`GraphError::Unseen`] for one of an atom with a negative type. This
    /// list is as it was then.
    pub fn take_over(
        &mut self,
        given: &GivenList,
        positions: &[[f64; 3]],
        types: &[i32],
        order: &[u32],
    ) -> Result<(), GraphError> {
        let atoms = positions.len();
        for got in [given.first.len().wrapping_sub(1), order.len(), types.len()] {
            if got != atoms {
                return Err(GraphError::Count { got, expected: atoms });
            }
        }
        given.check_rows()?;
        let beyond = |pairs: &[Pair]| pairs.iter().find(|p| p.owner as usize >= atoms).copied();
        if let Some(pair) = given.pairs.par_chunks(4096).find_map_first(beyond) {
            return Err(GraphError::TooMany { what: "atoms", count: u64::from(pair.owner) + 1 });
        }
        let range_of = |input: u32| given.first[input as usize] as usize..given.first[input as usize + 1] as usize;
        if types.iter().any(|t| *t < 0) {
            let unseen = |atom: u32| types[atom as usize] < 0;
            let pairs = (0..atoms as u32).flat_map(|i| given.pairs[range_of(i)].iter().map(move |p| [i, p.owner]));
            if let Some(atom) = pairs.flatten().find(|&atom| unseen(atom)) {
                return Err(GraphError::Unseen { atom: atom as usize, kind: types[atom as usize] });
            }
        }
        let mut place = vec![0u32; atoms];
        self.first.clear();
        self.first.push(0);
        for (sorted, &input) in order.iter().enumerate() {
            place[input as usize] = sorted as u32;
            self.first.push(self.first[sorted] + range_of(input).len() as u32);
        }
        let wanted = self.first[atoms] as usize;
        if self.pairs.capacity() < wanted {
            // The next one may be a little longer. Pages that nobody has touched take longer than what is written to them.
            let more = if self.pairs.capacity() > 0 { wanted / 16 } else { 0 };
            self.pairs = Vec::with_capacity(wanted + more);
        }
        self.pairs.resize(wanted, Pair { owner: 0, image: [0; 3] });
        let sorted = |(row, &input): (&mut [Pair], &u32)| {
            let mut images = [0i32; 2];
            for (to, pair) in row.iter_mut().zip(&given.pairs[range_of(input)]) {
                images = [images[0].min(pair.image[0]), images[1].max(pair.image[0])];
                *to = Pair { owner: place[pair.owner as usize], image: pair.image };
            }
            images
        };
        let both = |a: [i32; 2], b: [i32; 2]| [a[0].min(b[0]), a[1].max(b[1])];
        let rows = by_centre(&self.first, &mut self.pairs).into_par_iter().zip(order).with_min_len(256);
        let images = rows.map(sorted).reduce(|| [0; 2], both);
        let (first, pairs) = (std::mem::take(&mut self.first), std::mem::take(&mut self.pairs));
        *self = NeighbourList::given(order.to_vec(), first, pairs, images);
        Ok(())
    }

    /// Refuses a table of translations that lacks some of this list's images, or has rows that are no numbers.
    ///
    /// # Errors
    /// [`GraphError::Image`], [`GraphError::Translation`].
    pub fn check_images(&self, images: Images) -> Result<(), GraphError> {
        let Images::Table(rows) = images else { return Ok(()) };
        if let Some(row) = rows.iter().position(|r| r.iter().any(|v| !v.is_finite())) {
            return Err(GraphError::Translation { row, value: rows[row] });
        }
        let beyond = self.images.into_iter().find(|&i| i < 0 || i as usize >= rows.len().max(1));
        beyond.map_or(Ok(()), |image| Err(GraphError::Image { image, rows: rows.len() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_refused_leaves_the_old_one() {
        let pair = |owner| Pair { owner, image: [0; 3] };
        let good = GivenList { first: vec![0, 1, 2, 2], pairs: vec![pair(1), pair(0)] };
        let (x, order) = ([[0.0; 3], [1.0, 0.0, 0.0], [5.0, 0.0, 0.0]], [2, 0, 1]);
        let mut list = NeighbourList::default();
        list.take_over(&good, &x, &[0, 0, -1], &order).unwrap();
        assert_eq!((&list.first[..], &list.pairs[..]), (&[0, 0, 1, 2][..], &[pair(2), pair(1)][..]));
        let mut refused = |first: &[u32], owners: &[u32], types: &[i32]| {
            let given = GivenList { first: first.to_vec(), pairs: owners.iter().map(|&o| pair(o)).collect() };
            let error = list.take_over(&given, &x, types, &order).unwrap_err();
            assert_eq!((&list.first[..], &list.pairs[..]), (&[0, 0, 1, 2][..], &[pair(2), pair(1)][..]), "{error}");
            error
        };
        let seen = [0; 3];
        assert_eq!(refused(&[0, 1, 2], &[1, 0], &seen), GraphError::Count { got: 2, expected: 3 });
        assert_eq!(refused(&[0, 1, 3, 3], &[1, 0], &seen), GraphError::Rows { end: 3, pairs: 2 });
        assert_eq!(refused(&[0, 2, 1, 2], &[1, 0], &seen), GraphError::Rows { end: 2, pairs: 2 });
        assert_eq!(refused(&[0, 1, 2, 2], &[1, 7], &seen), GraphError::TooMany { what: "atoms", count: 8 });
        assert_eq!(refused(&[0, 1, 2, 2], &[2, 0], &[0, 0, -1]), GraphError::Unseen { atom: 2, kind: -1 });
        let table = [[0.0; 3], [f64::NAN, 0.0, 0.0]];
        let row = list.check_images(Images::Table(&table)).unwrap_err();
        assert!(matches!(row, GraphError::Translation { row: 1, .. }), "{row}");
    }
}
