//! Bins that a search for neighbours looks through, on the host and on a device.

use super::{Cell, GraphError, Reach};

/// The region that bins divide: the periodic cell, or the bounding box of an isolated system.
#[derive(Clone, Debug)]
pub struct Space {
    /// The periodic cell.
    pub cell: Option<Cell>,
    /// Lowest coordinates of an isolated system, A.
    pub low: [f64; 3],
    /// Distances between opposite walls, A.
    pub extent: [f64; 3],
}

impl Space {
    /// Of finite positions, A.
    ///
    /// # Errors
    /// Those of [`Cell::new`].
    pub fn new(positions: &[[f64; 3]], cell: Option<&[[f64; 3]; 3]>) -> Result<Self, GraphError> {
        if let Some(rows) = cell {
            let cell = Cell::new(rows)?;
            return Ok(Self { extent: cell.heights, cell: Some(cell), low: [0.0; 3] });
        }
        let mut low = [f64::INFINITY; 3];
        let mut high = [f64::NEG_INFINITY; 3];
        for p in positions {
            for k in 0..3 {
                low[k] = low[k].min(p[k]);
                high[k] = high[k].max(p[k]);
            }
        }
        let extent = std::array::from_fn(|k| (high[k] - low[k]).max(1e-3) * (1.0 + 1e-9));
        Ok(Self { cell: None, low: low.map(|v| if v.is_finite() { v } else { 0.0 }), extent })
    }

    /// Fractional coordinates in [0, 1).
    pub fn fraction(&self, x: [f64; 3]) -> [f64; 3] {
        match &self.cell {
            Some(cell) => cell.fractional(x).map(|f| f - f.floor()),
            None => std::array::from_fn(|k| (x[k] - self.low[k]) / self.extent[k]),
        }
    }

    /// The bin of a position where there are so many along each direction.
    pub fn bin(&self, x: [f64; 3], count: [usize; 3]) -> [usize; 3] {
        let f = self.fraction(x);
        std::array::from_fn(|k| ((f[k] * count[k] as f64) as usize).min(count[k] - 1))
    }
}

/// Stretches along one direction in which an isolated system has no atom, as far as they are longer than what lies within reach: no pair spans
/// them, so bins need not divide them. A molecule that has left a droplet would otherwise have the whole droplet in one bin.
#[derive(Clone, Debug, Default)]
pub struct Gaps(Vec<(f64, f64)>);

impl Gaps {
    /// Of coordinates, A.
    fn new(mut x: Vec<f64>, far: f64) -> Self {
        x.sort_unstable_by(f64::total_cmp);
        let (mut gaps, mut without) = (Vec::new(), 0.0);
        for two in x.windows(2) {
            if two[1] - two[0] > far {
                without += two[1] - two[0] - far;
                gaps.push((two[1], without));
            }
        }
        Self(gaps)
    }

    /// What is left out below a coordinate, A. Coordinates without it are never further apart than with it.
    fn below(&self, x: f64) -> f64 {
        let passed = self.0.partition_point(|&(end, _)| end <= x);
        if passed == 0 {
            0.0
        } else {
            self.0[passed - 1].1
        }
    }
}

/// A division of space, and how far to look from a bin.
#[derive(Clone, Debug)]
pub struct Grid {
    /// What is divided; of an isolated system its extent is without the gaps.
    pub space: Space,
    /// Of an isolated system along each direction, where bins would be too wide with them.
    pub gaps: [Gaps; 3],
    /// Bins along each direction.
    pub count: [usize; 3],
    /// Bins to look through on each side.
    pub look: [i64; 3],
    /// Square of the reach, A^2: a hair more than asked, because rounding must not lose a pair that the exact cutoff keeps.
    pub reach2: f64,
}

impl Grid {
    /// For all pairs within the reach. Bins are half as wide as that where there is room: 125 of them hold half of what 27 bins of the
    /// reach's width hold.
    ///
    /// # Errors
    /// Those of [`Cell::new`]; [`GraphError::TooManyImages`].
    pub fn new(positions: &[[f64; 3]], reach: &Reach) -> Result<Self, GraphError> {
        Self::in_bins(positions, reach, usize::MAX)
    }

    /// The same in at most so many bins, wider ones where need be.
    ///
    /// # Errors
    /// Those of [`Grid::new`].
    pub fn in_bins(positions: &[[f64; 3]], reach: &Reach, most: usize) -> Result<Self, GraphError> {
        // More bins than atoms only cost memory: the cap keeps a huge empty box from asking for billions of them.
        let cap = (positions.len() as f64).cbrt().ceil().max(1.0) * 4.0;
        let (mut space, far) = (Space::new(positions, reach.cell.as_ref())?, reach.far());
        let mut gaps: [Gaps; 3] = Default::default();
        for k in 0..3 {
            if space.cell.is_none() && 2.0 * space.extent[k] / far > cap {
                gaps[k] = Gaps::new(positions.iter().map(|p| p[k]).collect(), far);
                space.extent[k] -= gaps[k].below(f64::INFINITY);
            }
        }
        let mut count: [usize; 3] =
            std::array::from_fn(|k| (2.0 * space.extent[k] / far).floor().clamp(1.0, cap) as usize);
        while count.iter().product::<usize>() > most.max(1) {
            let widest = (0..3).max_by_key(|&k| count[k]).expect("three directions");
            count[widest] -= 1;
        }
        let mut look = [1; 3];
        for k in 0..3 {
            let height = space.extent[k];
            let images = (far / (height / count[k] as f64)).ceil();
            if images > 1000.0 && space.cell.is_some() {
                return Err(GraphError::TooManyImages { vector: k, height, cutoff: far, images });
            }
            // An isolated system never needs to look beyond its own bins.
            look[k] = if space.cell.is_some() { images as i64 } else { (images as i64).min(count[k] as i64) };
        }
        Ok(Self { space, gaps, count, look, reach2: far * far * (1.0 + 1e-12) })
    }

    /// Whether bins divide space evenly, as a search on a device has them.
    pub fn is_even(&self) -> bool {
        self.gaps.iter().all(|g| g.0.is_empty())
    }

    /// The bin of a position.
    pub fn bin(&self, x: [f64; 3]) -> [usize; 3] {
        self.space.bin(std::array::from_fn(|k| x[k] - self.gaps[k].below(x[k])), self.count)
    }
}

/// Bin number and image of an unfolded bin number; `None` outside an isolated system.
pub fn fold(bin: i64, count: usize, periodic: bool) -> Option<(usize, i32)> {
    let n = count as i64;
    if periodic {
        Some((bin.rem_euclid(n) as usize, bin.div_euclid(n) as i32))
    } else {
        (0..n).contains(&bin).then_some((bin as usize, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{summation_order, NeighbourList, Pair};
    use super::*;

    /// Two droplets of a cubic lattice far from each other, and an atom further still.
    fn scattered() -> Vec<[f64; 3]> {
        let droplet = |at: [f64; 3]| {
            (0..1000).map(move |i| std::array::from_fn(|k| at[k] + 2.1 * f64::from(i / 10i32.pow(k as u32) % 10)))
        };
        droplet([0.0; 3]).chain(droplet([9e4, -3e5, 17.0])).chain([[5e6, 12.0, -40.0]]).collect()
    }

    #[test]
    fn atoms_that_have_gone_far_do_not_crowd_the_others_into_a_bin() {
        let positions = scattered();
        let reach = Reach { cutoff: 6.0, skin: 1.0, cell: None };
        let grid = Grid::new(&positions, &reach).unwrap();
        assert!(!grid.is_even());
        let mut atoms = std::collections::BTreeMap::new();
        positions.iter().for_each(|&x| *atoms.entry(grid.bin(x)).or_insert(0) += 1);
        assert!(atoms.values().all(|&n| n <= 27), "{:?}", atoms.values().max());
        // Close together nothing is left out.
        assert!(Grid::new(&positions[..1000], &reach).unwrap().is_even());
    }

    #[test]
    fn lists_across_gaps_have_all_pairs() {
        let positions = scattered();
        let order = summation_order(&positions, None).unwrap();
        let list = NeighbourList::build(&positions, None, &vec![0; positions.len()], &order, 6.0, 1.0).unwrap();
        for s in (0..positions.len()).step_by(7) {
            let x = positions[order[s] as usize];
            let near = |&t: &usize| {
                let y = positions[order[t] as usize];
                t != s && (0..3).map(|k| (x[k] - y[k]).powi(2)).sum::<f64>() <= 49.0
            };
            let expected: Vec<Pair> =
                (0..positions.len()).filter(near).map(|t| Pair { owner: t as u32, image: [0; 3] }).collect();
            let mut got = list.pairs[list.first[s] as usize..list.first[s + 1] as usize].to_vec();
            got.sort_unstable();
            assert_eq!(got, expected, "atom {s}");
        }
    }
}
