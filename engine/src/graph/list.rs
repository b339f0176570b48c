//! The skin list: all pairs within cutoff + skin, found in linear time by bins, rebuilt rarely.

use super::grid::{fold, Grid, Space};
use super::{check_positions, curve_order, GraphError, Reach};
use rayon::prelude::*;
use std::ops::Range;

/// A candidate neighbour of a centre.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// Sorted index of the neighbour's owner.
    pub owner: u32,
    /// Image of the owner, relative to the positions as given (not wrapped).
    pub image: [i32; 3],
}

/// All pairs within `reach = cutoff + skin` at the positions the list was built for.
#[derive(Clone, Debug, Default)]
pub struct NeighbourList {
    /// Input index of each sorted atom.
    pub order: Vec<u32>,
    /// Start of each sorted centre's pairs; N + 1 entries.
    pub first: Vec<u32>,
    /// Pairs, centre-major.
    pub pairs: Vec<Pair>,
    /// What it was built for; none: somebody else answers for it.
    reach: Option<Reach>,
    /// Positions at the build, input order; those of a given list are not kept.
    reference: Vec<[f64; 3]>,
    /// Lowest and highest first number of an image, of a given list.
    pub(super) images: [i32; 2],
}

/// The order in which atoms are stored and summed: the curve through these positions.
///
/// # Errors
/// Those of [`check_positions`] and [`Cell::new`](super::Cell::new).
pub fn summation_order(positions: &[[f64; 3]], cell: Option<&[[f64; 3]; 3]>) -> Result<Vec<u32>, GraphError> {
    check_positions(positions)?;
    let space = Space::new(positions, cell)?;
    Ok(curve_order(&positions.iter().map(|&x| space.fraction(x)).collect::<Vec<_>>()))
}

/// Atoms by bin: those of a bin, and of bins that follow each other along the third direction, stand together.
struct Bins {
    count: [usize; 3],
    /// Start of each bin's atoms.
    start: Vec<u32>,
    /// Wrapped positions, A.
    x: Vec<[f64; 3]>,
    /// Sorted index and image.
    member: Vec<(u32, [i32; 3])>,
}

/// A sorted atom's wrapped position, image and bin.
type Placed = ([f64; 3], [i32; 3], [usize; 3]);

impl Bins {
    /// Atoms that `seen` picks.
    fn new(count: [usize; 3], placed: &[Placed], seen: impl Fn(usize) -> bool) -> Self {
        let flat = |b: [usize; 3]| (b[0] * count[1] + b[1]) * count[2] + b[2];
        let mut start = vec![0u32; count[0] * count[1] * count[2] + 1];
        for (_, &(_, _, bin)) in placed.iter().enumerate().filter(|(s, _)| seen(*s)) {
            start[flat(bin) + 1] += 1;
        }
        for b in 1..start.len() {
            start[b] += start[b - 1];
        }
        let atoms = start[start.len() - 1] as usize;
        let (mut x, mut member) = (vec![[0.0; 3]; atoms], vec![(0, [0; 3]); atoms]);
        let mut cursor = start.clone();
        for (s, &(wrapped, image, bin)) in placed.iter().enumerate().filter(|(s, _)| seen(*s)) {
            let c = &mut cursor[flat(bin)];
            x[*c as usize] = wrapped;
            member[*c as usize] = (s as u32, image);
            *c += 1;
        }
        Self { count, start, x, member }
    }

    /// Atoms of the bins `b2` of a column.
    fn range(&self, b0: usize, b1: usize, b2: Range<usize>) -> Range<usize> {
        let column = (b0 * self.count[1] + b1) * self.count[2];
        self.start[column + b2.start] as usize..self.start[column + b2.end] as usize
    }
}

/// Refuses an order of summation that does not have every one of so many atoms once.
///
/// # Errors
/// [`GraphError::Order`]; [`GraphError::Count`].
pub fn check_order(order: &[u32], atoms: usize) -> Result<(), GraphError> {
    if order.len() != atoms {
        return Err(GraphError::Count { got: atoms, expected: order.len() });
    }
    misplaced(order, atoms).map_or(Ok(()), |atom| Err(GraphError::Order { atom }))
}

/// The first index of an order of so many atoms that comes twice or belongs to none of them; none: no atom comes twice.
pub(crate) fn misplaced(order: &[u32], atoms: usize) -> Option<u32> {
    let mut seen = vec![false; atoms];
    order.iter().copied().find(|&i| seen.get_mut(i as usize).is_none_or(|mark| std::mem::replace(mark, true)))
}

/// An array with an entry for every pair, cut into the entries of each centre. `first` is the start of each centre's pairs, N + 1 entries.
pub fn by_centre<'a, T>(first: &[u32], mut all: &'a mut [T]) -> Vec<&'a mut [T]> {
    let cut = |ends: &[u32]| {
        let (own, rest) = std::mem::take(&mut all).split_at_mut((ends[1] - ends[0]) as usize);
        all = rest;
        own
    };
    first.windows(2).map(cut).collect()
}

impl NeighbourList {
    /// Finds all pairs within `cutoff + skin`.
    ///
    /// `types` are input-order type indices; atoms with a negative type have no pairs. `order` is the summation order, see
    /// [`summation_order`].
    ///
    /// # Errors
    /// [`GraphError`] for bad coordinates, a bad cell, or more pairs than 32 bits count.
    pub fn build(
        positions: &[[f64; 3]],
        cell: Option<&[[f64; 3]; 3]>,
        types: &[i32],
        order: &[u32],
        cutoff: f64,
        skin: f64,
    ) -> Result<Self, GraphError> {
        check_positions(positions)?;
        let atoms = positions.len();
        if types.len() != atoms {
            return Err(GraphError::Count { got: atoms, expected: types.len() });
        }
        check_order(order, atoms)?;
        if atoms >= u32::MAX as usize {
            return Err(GraphError::TooMany { what: "atoms", count: atoms as u64 });
        }
        let reach = Reach { cutoff, skin, cell: cell.copied() };
        let grid = Grid::new(positions, &reach)?;
        let Grid { space, count, look, reach2, .. } = &grid;
        let (count, look, reach2) = (*count, *look, *reach2);
        // Wrapped position, image and bin of each sorted atom.
        let place = |&input: &u32| {
            let x = positions[input as usize];
            let (wrapped, image) = match &space.cell {
                Some(c) => c.wrap(x),
                None => (x, [0; 3]),
            };
            (wrapped, image, grid.bin(x))
        };
        let placed: Vec<_> = order.par_iter().map(place).collect();
        let seen = |s: usize| types[order[s] as usize] >= 0;
        let bins = Bins::new(count, &placed, seen);
        let periodic = space.cell.is_some();
        let pairs_of = |s: usize, near: &mut Vec<u32>, out: &mut Vec<Pair>| {
            if !seen(s) {
                return;
            }
            let (x, image_i, bin) = placed[s];
            for o0 in -look[0]..=look[0] {
                let Some((b0, i0)) = fold(bin[0] as i64 + o0, count[0], periodic) else { continue };
                for o1 in -look[1]..=look[1] {
                    let Some((b1, i1)) = fold(bin[1] as i64 + o1, count[1], periodic) else { continue };
                    // Along the third direction bins follow each other in memory, up to the wall of the cell.
                    let (mut next, last) = (bin[2] as i64 - look[2], bin[2] as i64 + look[2]);
                    while next <= last {
                        let Some((b2, i2)) = fold(next, count[2], periodic) else {
                            next += 1;
                            continue;
                        };
                        let some = (count[2] - b2).min((last - next) as usize + 1);
                        next += some as i64;
                        let shift = [i0, i1, i2];
                        let t = space.cell.as_ref().map_or([0.0; 3], |c| c.translation(shift));
                        let from: [f64; 3] = std::array::from_fn(|k| x[k] - t[k]);
                        let range = bins.range(b0, b1, b2..b2 + some);
                        // Without a branch: one atom in four is near, in no order.
                        if near.len() < range.len() {
                            near.resize(range.len(), 0);
                        }
                        let mut found = 0;
                        for (j, y) in bins.x[range.clone()].iter().enumerate() {
                            let d: [f64; 3] = std::array::from_fn(|k| y[k] - from[k]);
                            near[found] = j as u32;
                            found += usize::from(d[0] * d[0] + d[1] * d[1] + d[2] * d[2] <= reach2);
                        }
                        out.extend(near[..found].iter().map(|&j| {
                            let (owner, image_j) = bins.member[range.start + j as usize];
                            Pair { owner, image: std::array::from_fn(|k| shift[k] - image_j[k] + image_i[k]) }
                        }));
                    }
                }
            }
        };
        // An atom is its own neighbour only in another image.
        let own = |s: usize, pairs: &mut Vec<Pair>, from: usize| {
            let at = pairs[from..].iter().position(|p| p.owner as usize == s && p.image == [0; 3]);
            if let Some(at) = at {
                pairs.remove(from + at);
            }
        };
        // A fixed chunk: the result is the concatenation in centre order whatever the number of threads.
        let chunks: Vec<(Vec<u32>, Vec<Pair>)> = (0..atoms.div_ceil(256))
            .into_par_iter()
            .map(|c| {
                let mut pairs = Vec::new();
                let mut counts = Vec::with_capacity(256);
                let mut near = Vec::new();
                for s in c * 256..((c + 1) * 256).min(atoms) {
                    let before = pairs.len();
                    pairs_of(s, &mut near, &mut pairs);
                    own(s, &mut pairs, before);
                    counts.push((pairs.len() - before) as u32);
                }
                (counts, pairs)
            })
            .collect();
        let total: u64 = chunks.iter().map(|c| c.1.len() as u64).sum();
        if total >= u64::from(u32::MAX) {
            return Err(GraphError::TooMany { what: "pairs", count: total });
        }
        let mut first = Vec::with_capacity(atoms + 1);
        let mut pairs = Vec::with_capacity(total as usize);
        first.push(0u32);
        for (counts, chunk) in chunks {
            for c in counts {
                first.push(first[first.len() - 1] + c);
            }
            pairs.extend_from_slice(&chunk);
        }
        let (order, reference) = (order.to_vec(), positions.to_vec());
        Ok(Self { order, first, pairs, reach: Some(reach), reference, images: [0; 2] })
    }

    /// A list that somebody else answers for, with the lowest and highest first number of an image.
    pub(super) fn given(order: Vec<u32>, first: Vec<u32>, pairs: Vec<Pair>, images: [i32; 2]) -> Self {
        Self { order, first, pairs, images, ..Self::default() }
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        let pairs = self.pairs.capacity() * std::mem::size_of::<Pair>();
        (pairs + (self.order.capacity() + self.first.capacity()) * 4 + self.reference.capacity() * 24) as u64
    }

    /// True when a pair within the cutoff could be missing: an atom moved too far ([`Reach::under`]), or the cell changed too much. Of a list
    /// that was given nobody here can tell: true.
    pub fn is_stale(&self, positions: &[[f64; 3]], cell: Option<&[[f64; 3]; 3]>) -> bool {
        if positions.len() != self.reference.len() || self.order.is_empty() {
            return true;
        }
        match self.reach.as_ref().and_then(|reach| reach.under(cell)) {
            Some(drift) => positions.iter().zip(&self.reference).any(|(&x, &from)| drift.too_far(from, x)),
            None => true,
        }
    }
}
